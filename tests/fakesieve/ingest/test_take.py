"""What becomes of an object that an event or a sweep has shown."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fakesieve.errors import SourceRefused, Unavailable
from fakesieve.ingest.events import EventKind, ObjectEvent
from fakesieve.ingest.sweep import ObjectWatermarks, Sweep, sweep_prefix
from fakesieve.ingest.take import Seen, Taken, Watch, take_event, take_listed, take_object
from fakesieve.jobs.rows import JobDraft
from fakesieve.jobs.states import Lane
from fakesieve.object_stores.folder import FolderObjects
from fakesieve.objects import ObjectFacts, VideoRef
from fakesieve.reasons import Reason
from fakesieve.values.videos import SourceKind
from tests.fakes import MemoryJobStore

NEW, KNOWN, GONE, OUTSIDE = Taken(n_new=1), Taken(n_known=1), Taken(n_gone=1), Taken(n_outside=1)
DAY = timedelta(days=1)


def watch_clips(**fields: object) -> Watch:
    return Watch("ten_a", "clips", fleet_bucket="fleet", **fields)


class WatchedObjects(FolderObjects):
    """A folder store whose answers to HEAD and to lists can be made to fail."""

    error: Exception | None = None
    list_error: Exception | None = None
    breaks_off: bool = False

    def list_objects(
        self, bucket: str, prefix: str = "", *, start_after: str | None = None
    ) -> Iterator[ObjectFacts]:
        if self.list_error:
            raise self.list_error
        yield from super().list_objects(bucket, prefix, start_after=start_after)
        if self.breaks_off:
            raise Unavailable(Reason.OBJECT_STORE_UNAVAILABLE, "made up")

    def head(self, ref: VideoRef) -> ObjectFacts:
        if self.error:
            raise self.error
        return super().head(ref)


@dataclass
class Place:
    """A watched bucket and a job store, both empty."""

    objects: WatchedObjects
    store: MemoryJobStore
    folder: Path
    watch: Watch

    def put(self, key: str, body: str = "body", age: timedelta = timedelta()) -> VideoRef:
        source = self.folder / "source"
        source.write_text(body)
        self.objects.upload(source, "clips", key)
        path = self.folder / "objects" / "clips" / key
        stamp = datetime.now(UTC).timestamp() - age.total_seconds()
        os.utime(path, (stamp, stamp))
        return self.objects.head(VideoRef("clips", key)).ref

    def take(self, event: ObjectEvent, *watches: Watch) -> Taken:
        return take_event(self.store, self.objects, watches or (self.watch,), event)

    def sweep(self, **options: object) -> Taken:
        marks = ObjectWatermarks(self.objects, "fleet")
        return sweep_prefix(Sweep(self.store, self.objects, marks, self.watch, **options))

    @property
    def jobs(self) -> list[JobDraft]:
        return [job.draft for job in self.store.jobs.values()]

    def list_jobs(self) -> list[tuple[str, str, str | None]]:
        return sorted((job.tenant_id, job.source.key, job.source.etag) for job in self.jobs)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    objects = WatchedObjects(tmp_path / "objects")
    objects.make_bucket("clips")
    objects.make_bucket("fleet")
    return Place(objects, MemoryJobStore(lambda: 1_000_000.0), tmp_path, watch_clips())


def created(ref: VideoRef, order: str | None = None) -> ObjectEvent:
    return ObjectEvent(EventKind.CREATED, ref, order)


def test_an_event_becomes_a_job_for_what_lies_there(place: Place) -> None:
    ref = place.put("a.mp4")
    assert place.take(created(VideoRef("clips", "a.mp4"))) == NEW
    assert place.list_jobs() == [("ten_a", "a.mp4", ref.etag)]
    (job,) = place.jobs
    assert job.source == ref
    assert job.lane is Lane.STANDARD
    assert job.source_kind is SourceKind.S3_EVENT


def test_the_same_event_twice_is_one_job(place: Place) -> None:
    event = created(place.put("a.mp4"))
    assert [place.take(event), place.take(event)] == [NEW, KNOWN]
    assert len(place.store.jobs) == 1


def test_a_late_event_of_a_replaced_object_takes_the_new_one_once(place: Place) -> None:
    old = place.put("a.mp4", "old")
    new = place.put("a.mp4", "newer")
    assert place.take(created(new, "02")) == NEW
    assert place.take(created(old, "01")) == KNOWN
    assert place.list_jobs() == [("ten_a", "a.mp4", new.etag)]


def test_an_object_that_is_gone_makes_no_job(place: Place) -> None:
    ref = place.put("a.mp4")
    place.objects.delete(ref)
    assert place.take(created(ref)) == GONE
    assert place.take(ObjectEvent(EventKind.REMOVED, ref)) == GONE
    assert place.list_jobs() == []


@pytest.mark.parametrize(
    "ref", [VideoRef("other", "in/a.mp4"), VideoRef("clips", "out/a.mp4"), VideoRef("clips", "in/a.txt")]
)
def test_events_from_elsewhere_are_not_acted_upon(place: Place, ref: VideoRef) -> None:
    place.objects.error = AssertionError("the store must not be asked")
    watch = watch_clips(prefix="in/", extensions=frozenset({".mp4"}))
    assert place.take(created(ref), watch) == OUTSIDE


def test_the_fleets_own_objects_are_no_videos(place: Place) -> None:
    assert not place.watch.covers(VideoRef("clips", ".fakesieve/sweeps/x.json"))
    assert place.watch.covers(VideoRef("clips", "sweeps/x.json"))


@pytest.mark.parametrize("key", ["uploads/ten_b/upl_1", "uploads/ten_a/upl_1", "exports/ten_b/exp_1.csv"])
def test_folders_of_tenants_in_the_fleets_bucket_are_passed_over(place: Place, key: str) -> None:
    place.watch = replace(place.watch, fleet_bucket="clips")
    ref = place.put(key)
    assert (place.take(created(ref)), place.sweep()) == (OUTSIDE, OUTSIDE)
    assert place.list_jobs() == []
    place.watch = replace(place.watch, fleet_bucket="fleet")  # elsewhere it is a name like any other
    assert place.take(created(ref)) == NEW


def test_extensions_are_compared_without_case() -> None:
    watch = watch_clips(extensions=frozenset({".mp4"}))
    assert watch.covers(VideoRef("clips", "A.MP4"))
    assert not watch.covers(VideoRef("clips", "mp4"))


@pytest.mark.parametrize(
    "changes",
    [
        {"tenant_id": ""},
        {"bucket": "../x"},
        {"prefix": "\0"},
        {"extensions": frozenset({"mp4"})},
        {"extensions": frozenset({".MP4"})},
    ],
)
def test_a_watch_that_cannot_be_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        replace(watch_clips(), **changes)


def test_two_tenants_may_watch_one_bucket(place: Place) -> None:
    ref = place.put("a.mp4")
    other = replace(place.watch, tenant_id="ten_b")
    assert place.take(created(ref), place.watch, other) == Taken(n_new=2)
    assert [tenant for tenant, *_ in place.list_jobs()] == ["ten_a", "ten_b"]


def test_a_refusal_is_left_to_the_job_to_record_which_a_sweep_then_knows(place: Place) -> None:
    ref = place.put("a.mp4")
    place.put("a.mp4.json")
    place.objects.error = SourceRefused(Reason.SOURCE_ACCESS_DENIED, "made up")
    assert [place.take(created(VideoRef("clips", "a.mp4", etag=told))) for told in ("e1", None)] == [
        NEW,
        KNOWN,
    ]
    assert place.list_jobs() == [("ten_a", "a.mp4", ref.etag)]
    place.objects.error = None
    place.watch = replace(place.watch, extensions=frozenset({".mp4"}))
    assert place.sweep() == KNOWN + OUTSIDE
    assert place.take(created(ref)) == KNOWN


def test_what_is_refused_and_not_listed_is_gone(place: Place) -> None:
    place.put("a.mp4.json")
    place.objects.error = SourceRefused(Reason.SOURCE_ACCESS_DENIED, "made up")
    assert place.take(created(VideoRef("clips", "a.mp4"))) == GONE


def test_where_nothing_may_be_looked_at_the_job_records_what_the_event_said(place: Place) -> None:
    place.objects.error = place.objects.list_error = SourceRefused(Reason.SOURCE_ACCESS_DENIED, "made up")
    assert place.take(created(VideoRef("clips", "a.mp4", etag="e1"))) == NEW
    assert place.list_jobs() == [("ten_a", "a.mp4", "e1")]


def test_an_outage_is_raised_so_that_the_event_comes_again(place: Place) -> None:
    place.objects.error = Unavailable(Reason.OBJECT_STORE_UNAVAILABLE, "made up")
    with pytest.raises(Unavailable):
        place.take(created(VideoRef("clips", "a.mp4")))
    assert place.list_jobs() == []


def test_the_same_object_with_and_without_its_version_is_known(place: Place) -> None:
    pinned, now = VideoRef("clips", "a.mp4", "v1", "e1", 5), datetime(2026, 5, 4, 3, 2, 1, 999_000, UTC)
    seen = Seen(pinned, now.replace(microsecond=0))  # as HEAD tells it
    assert take_object(place.store, place.watch, seen, SourceKind.S3_EVENT) == NEW
    listed = ObjectFacts(replace(pinned, version_id=None), now)
    assert take_listed(place.store, place.watch, listed) == KNOWN


@pytest.mark.parametrize("does_event_see_it", [True, False])
def test_the_same_bytes_uploaded_again_are_a_new_job(place: Place, does_event_see_it: bool) -> None:
    # The first job may have failed for a reason that has gone since.
    first = place.put("a.mp4", age=timedelta(hours=2))
    assert place.take(created(first)) == NEW
    second = place.put("a.mp4", age=timedelta(hours=1))
    if does_event_see_it:
        assert [place.take(created(second)), place.take(created(first))] == [NEW, KNOWN]
    assert place.sweep() == (KNOWN if does_event_see_it else NEW)
    assert len(place.store.jobs) == 2
    assert {job.source.key for job in place.jobs} == {"a.mp4"}


def test_a_first_sweep_takes_all_and_a_second_nothing(place: Place) -> None:
    for key in ("a.mp4", "b/c.mp4", "old.mp4"):
        place.put(key, age=400 * DAY if key == "old.mp4" else DAY)
    assert place.sweep() == Taken(n_new=3)
    assert {job.source_kind for job in place.jobs} == {SourceKind.S3_SWEEP}
    assert place.sweep() == Taken(n_known=2)


def test_a_sweep_finds_what_events_missed_and_only_that(place: Place) -> None:
    seen, missed = place.put("seen.mp4"), place.put("missed.mp4")
    place.take(created(seen))
    assert place.sweep() == Taken(n_new=1, n_known=1)
    assert place.take(created(missed)) == KNOWN


def test_objects_dated_before_the_mark_are_found_within_the_overlap(place: Place) -> None:
    place.put("a.mp4")
    place.sweep()
    place.put("slow-upload.mp4", age=timedelta(hours=20))
    assert place.sweep() == Taken(n_new=1, n_known=1)
    place.put("copied-with-its-date.mp4", age=3 * DAY)
    assert place.sweep() == Taken(n_known=2)
    assert place.sweep(is_full=True) == Taken(n_new=1, n_known=2)


def test_the_mark_stays_where_a_sweep_breaks_off(place: Place) -> None:
    place.put("a.mp4", age=5 * DAY)
    assert place.sweep() == Taken(n_new=1)
    place.put("b.mp4")
    place.objects.breaks_off = True
    with pytest.raises(Unavailable):
        place.sweep()
    place.objects.breaks_off = False
    place.put("c.mp4", age=3 * DAY)
    assert place.sweep() == Taken(n_new=1, n_known=2), "c is newer than the mark that stayed"


@pytest.mark.parametrize("is_full", [False, True])
def test_a_file_of_the_future_hides_nothing_from_later_sweeps(place: Place, is_full: bool) -> None:
    place.put("future.mp4", age=-3000 * DAY)
    assert place.sweep(is_full=is_full) == NEW
    place.put("a.mp4")
    place.put("slow-upload.mp4", age=timedelta(hours=20))
    assert place.sweep() == Taken(n_new=2, n_known=1)


def test_a_mark_of_the_future_counts_as_lost(place: Place) -> None:
    marks = ObjectWatermarks(place.objects, "fleet")
    marks.write(place.watch, datetime.now(UTC) + 3000 * DAY)
    place.put("old.mp4", age=400 * DAY)
    assert place.sweep() == NEW
    assert marks.read(place.watch) < datetime.now(UTC)


def test_what_a_watch_does_not_cover_moves_no_mark(place: Place) -> None:
    place.watch = replace(place.watch, extensions=frozenset({".mp4"}))
    place.put("a.mp4", age=5 * DAY)
    place.put("readme.txt")
    assert place.sweep() == NEW + OUTSIDE
    place.put("moved-in.mp4", age=4 * DAY)
    assert place.sweep() == Taken(n_new=1, n_known=1, n_outside=1)


def test_a_path_that_is_no_key_stops_no_sweep(place: Place) -> None:
    place.put("b.mp4")
    deep = (place.folder / "objects" / "clips").joinpath(*["a" * 250] * 4, "x" * 30)
    deep.parent.mkdir(parents=True)
    deep.write_text("x")
    assert place.sweep() == NEW
    assert [key for _, key, _ in place.list_jobs()] == ["b.mp4"]


def test_marks_are_kept_for_each_watch_apart(place: Place) -> None:
    marks = ObjectWatermarks(place.objects, "fleet")
    moment = datetime(2026, 11, 21, 8, tzinfo=UTC)
    marks.write(place.watch, moment)
    assert marks.read(place.watch) == moment
    assert marks.read(replace(place.watch, prefix="b/")) is None
    assert marks.read(replace(place.watch, tenant_id="ten_b")) is None


@pytest.mark.parametrize("text", ["", "nonsense", "{}", '{"newest": 7}', '{"newest": "2026-11-21T08:00:00"}'])
def test_a_mark_that_cannot_be_read_counts_as_lost(place: Place, text: str) -> None:
    marks = ObjectWatermarks(place.objects, "fleet")
    marks.write(place.watch, datetime.now(UTC))
    (facts,) = place.objects.list_objects("fleet")
    (place.folder / "bad").write_text(text)
    place.objects.upload(place.folder / "bad", "fleet", facts.ref.key)
    assert marks.read(place.watch) is None
