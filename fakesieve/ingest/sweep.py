"""A walk through a watched prefix that finds what events missed, and a mark of how far it has come."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Protocol, cast

from fakesieve.errors import SourceRefused
from fakesieve.ingest.take import Seen, Taken, Watch, make_key, take_listed
from fakesieve.jobs.store import JobStore
from fakesieve.objects import ObjectFacts, ObjectStore, VideoRef
from fakesieve.places import FLEET_FOLDER
from fakesieve.reasons import Reason

# S3 dates an object by the beginning of its upload, and an upload in parts may take hours.
OVERLAP = timedelta(hours=24)
_MARK_BYTES_MAX = 1000
_LOOKED_UP = 1000  # keys in one question of a preview


class Watermarks(Protocol):
    """Where marks are kept between sweeps. One that is lost costs a long sweep and nothing else."""

    def read(self, watch: Watch) -> datetime | None:
        """Return the newest date that a complete sweep has seen."""
        ...

    def write(self, watch: Watch, mark: datetime) -> None:
        """Keep it."""
        ...


@dataclass(frozen=True)
class ObjectWatermarks:
    """Marks as small objects in the fleet's own bucket."""

    objects: ObjectStore
    bucket: str

    def read(self, watch: Watch) -> datetime | None:
        try:
            text = self.objects.read_range(self._place(watch), 0, _MARK_BYTES_MAX)
        except SourceRefused as fault:
            if fault.reason is Reason.SOURCE_NOT_FOUND:
                return None
            raise
        return _read_mark(text)

    def write(self, watch: Watch, mark: datetime) -> None:
        place = self._place(watch)
        with tempfile.TemporaryDirectory(prefix="fakesieve-mark-") as folder:
            source = Path(folder, "mark.json")
            source.write_text(json.dumps({"newest": mark.isoformat()}))
            self.objects.upload(source, place.bucket, place.key, content_type="application/json")

    def _place(self, watch: Watch) -> VideoRef:
        identity = "\0".join((watch.tenant_id, watch.bucket, watch.prefix, *sorted(watch.extensions)))
        name = sha256(identity.encode()).hexdigest()[:32]
        return VideoRef(self.bucket, f"{FLEET_FOLDER}sweeps/{name}.json")


@dataclass(frozen=True)
class Sweep:
    """A walk through what a watch covers: where jobs, objects and marks are kept, and how far back it goes.

    Objects older than the mark less the overlap are passed over, unless ``is_full``.
    """

    store: JobStore
    objects: ObjectStore
    marks: Watermarks
    watch: Watch
    overlap: timedelta = OVERLAP
    is_full: bool = False

    def read_mark(self) -> datetime | None:
        """Return the date where the sweep begins; None for the beginning of time.

        A mark in the future, further than clocks differ, is none: nothing would be new for it.
        """
        mark = None if self.is_full else self.marks.read(self.watch)
        return mark if mark is None or mark <= datetime.now(UTC) + self.overlap else None

    def list_since(self, mark: datetime | None) -> Iterator[ObjectFacts]:
        """Yield the objects under the watch's prefix but those older than the mark less the overlap."""
        since = mark - self.overlap if mark else datetime.min.replace(tzinfo=UTC)
        listed = self.objects.list_objects(self.watch.bucket, self.watch.prefix)
        return (facts for facts in listed if facts.modified_time >= since)


def sweep_prefix(sweep: Sweep) -> Taken:
    """Submit what lies under the watch's prefix and is not known yet.

    The mark moves when the walk has come to its end, to the newest date that it saw of what the watch covers:
    of the clock of the objects' store. It moves to the beginning of the walk at most, by the clock of this
    machine, because a file in a folder may have any date, such as one of a camera whose clock is years ahead.
    Raises ``Unavailable`` where a store does not answer; the next one begins at the old mark.
    """
    mark, begun = sweep.read_mark(), datetime.now(UTC)
    newest, taken = mark, Taken()
    for facts in sweep.list_since(mark):
        taken += take_listed(sweep.store, sweep.watch, facts)
        if sweep.watch.covers(facts.ref):
            dated = min(facts.modified_time, begun)
            newest = max(newest or dated, dated)
    if newest and newest != mark:
        sweep.marks.write(sweep.watch, newest)
    return taken


def preview_sweep(sweep: Sweep) -> Taken:
    """Say what ``sweep_prefix`` would take, and take nothing. Raises ``Unavailable`` as it does."""
    taken, keys = Taken(), list[str]()
    for facts in sweep.list_since(sweep.read_mark()):
        if not sweep.watch.covers(facts.ref):
            taken += Taken(n_outside=1)
            continue
        keys.append(make_key(Seen(facts.ref, facts.modified_time)))
        if len(keys) == _LOOKED_UP:
            taken += _count_known(sweep, keys)
            keys = []
    return taken + _count_known(sweep, keys)


def _count_known(sweep: Sweep, keys: list[str]) -> Taken:
    tenant_id = sweep.watch.tenant_id
    known = sweep.store.run(lambda tx: tx.count_known_jobs(tenant_id, keys)) if keys else 0
    return Taken(n_new=len(keys) - known, n_known=known)


def _read_mark(text: bytes) -> datetime | None:
    """Return the date in a mark; one that cannot be read counts as lost."""
    try:
        fields = cast("Mapping[str, str]", json.loads(text))
        mark = datetime.fromisoformat(fields["newest"])
    except (ValueError, KeyError, TypeError):
        return None
    return mark if mark.tzinfo else None
