"""After an erasure no store holds a trace of the video but the receipt that says so."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from fakesieve.erasure.erase import (
    begin_erasure,
    erase_video,
    hash_receipt,
    list_erasures,
    load_erasure,
    take_unfinished,
)
from fakesieve.errors import RequestRefused, SourceRefused, Unavailable
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.objects import ObjectFacts, VideoRef
from fakesieve.reasons import Reason
from fakesieve.records.audit import AuditSearch, check_chain, list_audit
from fakesieve.records.idempotency import KeptAnswer, keep_answer
from fakesieve.records.videos import record_source
from fakesieve.values.erasure import ErasureState
from fakesieve.values.videos import SourceKind
from tests.databases import opened
from tests.factories import make_tenant, make_video
from tests.fakesieve.erasure.conftest import BUCKET, JOB, Case, find_in_database, find_in_objects, put
from workers.erase import Eraser

FOREIGN = "foreign"


def test_before_an_erasure_the_scan_finds_the_video_everywhere(case: Case) -> None:
    found = find_in_database(case, *case.traces)
    assert {"video", "video_tag", "job", "review_decision", "upload"} <= set(found)
    assert "idempotent_answer" in find_in_database(case, case.job_id)
    assert len(find_in_objects(case)) == 2


def test_after_an_erasure_no_store_holds_a_trace(case: Case) -> None:
    erasure = case.erase(case.begin())
    assert erasure.state is ErasureState.COMPLETED
    assert find_in_objects(case) == []
    # The tenant of this test is named after the mark; nothing else is left of it.
    assert set(find_in_database(case, *case.traces)) == {"tenant", "usage"}
    assert set(find_in_database(case, case.video_id)) == {"audit_log", "erasure", "event"}
    assert set(find_in_database(case, case.analysis_id)) == {"usage"}
    assert set(find_in_database(case, case.job_id)) == {"usage"}
    assert set(find_in_database(case, case.key)) == set()


def test_the_receipt_says_what_was_cleared_and_what_stays(case: Case) -> None:
    stores = case.erase(case.begin()).stores
    assert stores["objects"] == {"state": "cleared", "objects": 1}
    assert stores["exports"] == {"state": "cleared", "objects": 1}
    assert stores["scratch"] == {"state": "cleared", "hosts": 0}
    rows = stores["database"]["rows"]
    assert {name: rows[name] for name in ("video", "analysis", "job", "upload", "source", "frame_score")} == {
        "video": 1,
        "analysis": 1,
        "job": 1,
        "upload": 1,
        "source": 1,
        "frame_score": 3,
    }
    assert rows["review_decision"] == 2
    assert set(stores["kept"]) == {"usage"}


def test_the_receipt_verifies_and_the_audit_log_holds_its_hash(case: Case) -> None:
    _, erasure_id = begun = case.begin()
    case.erase(begun)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        receipt = load_erasure(session, erasure_id)
        assert hash_receipt(receipt) == receipt.sha256
        (line,) = [
            line for line in list_audit(session, AuditSearch(case.video_id)) if line.action == "video.erased"
        ]
        assert line.details["sha256"] == receipt.sha256
        assert check_chain(session, case.tenant_id).broken_at is None
        assert [each.id for each in list_erasures(session, video_id=case.video_id)] == [erasure_id]
        receipt.stores = {**receipt.stores, "objects": {"state": "cleared", "objects": 7}}
        assert hash_receipt(receipt) != receipt.sha256
        session.rollback()


def test_the_api_may_erase_with_the_rights_that_it_has(
    case: Case, postgres: object, module_database_name: str
) -> None:
    with opened(postgres, module_database_name, "fakesieve_app") as database:
        erasure = erase_video(database, case.objects, BUCKET, case.begin())
    assert erasure.state is ErasureState.COMPLETED


def test_an_erasure_is_told_to_receivers(case: Case) -> None:
    case.erase(case.begin())
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        data = session.scalar(text("SELECT data FROM event WHERE type = 'video.purged'"))
    assert data is not None
    assert (data["video_id"], data["cause"]) == (case.video_id, "request")


def test_a46_a_running_job_goes_too_and_its_worker_writes_nothing_more(case: Case) -> None:
    case.run(
        "UPDATE job SET state = 'running', end_time = NULL, analysis_id = NULL WHERE id = :id", id=case.job_id
    )
    case.erase(case.begin())
    assert find_in_database(case, case.job_id).keys() == {"usage"}


def test_an_erasure_that_was_cut_off_is_finished_by_a_sweep(case: Case) -> None:
    _, erasure_id = case.begin()
    eraser = Eraser(case.database, case.objects, BUCKET, sweep_s=0)
    with case.database.transaction(tenant_id=None) as session:
        assert take_unfinished(session, 10) == []  # somebody works on it
    case.run("UPDATE erasure SET try_time = now() - interval '2 min' WHERE id = :id", id=erasure_id)
    eraser.take_turn()
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        assert load_erasure(session, erasure_id).state is ErasureState.COMPLETED


def test_an_eraser_that_is_told_to_end_begins_no_further_erasure(case: Case) -> None:
    _, erasure_id = case.begin()
    case.run("UPDATE erasure SET try_time = now() - interval '2 min' WHERE id = :id", id=erasure_id)
    stop = threading.Event()
    stop.set()
    Eraser(case.database, case.objects, BUCKET, stop=stop, sweep_s=0).take_turn()
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        assert load_erasure(session, erasure_id).state is ErasureState.RUNNING


def test_erasing_twice_is_one_erasure(case: Case) -> None:
    first, second = case.begin(), case.begin()
    assert first == second
    receipt = case.erase(first)
    assert case.erase(second).sha256 == receipt.sha256


class Overtaken(S3Objects):
    """A store in which somebody asks for more just when an erasure has begun to remove objects."""

    def __init__(self, case: Case) -> None:
        self.__dict__.update(case.objects.__dict__)
        self.case: Case | None = case

    def head(self, ref: VideoRef) -> ObjectFacts:
        if self.case is not None:
            case, self.case = self.case, None
            case.begin(with_sources=True)
        return super().head(ref)


@pytest.mark.parametrize("is_at_it", [False, True])
def test_a_running_erasure_takes_sources_in_when_that_is_asked_later(
    case: Case, tmp_path: Path, *, is_at_it: bool
) -> None:
    theirs = put(case.objects, tmp_path, f"incoming/{case.job_id}.mp4", case.content)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        record_source(session, tenant_id=case.tenant_id, video_id=case.video_id, ref=theirs)
    begun = case.begin()
    if is_at_it:
        receipt = erase_video(case.database, Overtaken(case), BUCKET, begun)
        assert receipt.state is ErasureState.RUNNING
    else:
        assert case.begin(with_sources=True) == begun
    done = case.erase(begun)
    assert (done.state, "sources" in done.stores["kept"]) == (ErasureState.COMPLETED, False)
    assert find_in_objects(case) == []


def test_sources_outside_the_places_of_the_tenant_are_left(case: Case, tmp_path: Path) -> None:
    case.run("UPDATE tenant SET places = :places", places=[f"s3://{BUCKET}/elsewhere/"])
    theirs = put(case.objects, tmp_path, f"incoming/{case.job_id}.mp4", case.content)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        record_source(session, tenant_id=case.tenant_id, video_id=case.video_id, ref=theirs)
    assert case.erase(case.begin(with_sources=True)).stores["kept"]["sources"]["objects"] == 1
    assert case.objects.head(theirs).size_bytes == len(case.content)


@pytest.mark.parametrize("role", ["fakesieve_fleet", "fakesieve_app"])
def test_what_another_tenant_keeps_for_a_legal_hold_stays(
    case: Case, tmp_path: Path, postgres: object, module_database_name: str, role: str
) -> None:
    shared, free = (put(case.objects, tmp_path, f"shared/{case.job_id}-{n}", case.content) for n in range(2))
    other = make_tenant(case.database, f"another {case.traces[0][::-1]}")
    with case.database.transaction(tenant_id=other) as session:
        held = make_video(session, other)
        record_source(session, tenant_id=other, video_id=held, ref=shared.loosen())
        session.execute(text("UPDATE video SET hold_time = now() WHERE id = :id"), {"id": held})
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        for ref in (shared, free):
            record_source(session, tenant_id=case.tenant_id, video_id=case.video_id, ref=ref)
    with opened(postgres, module_database_name, role) as database:
        begun = replace(case, database=database).begin(with_sources=True)
    stores = case.erase(begun).stores
    assert (stores["kept"]["held"]["objects"], "sources" in stores["kept"]) == (1, False)
    assert case.objects.head(shared).size_bytes == len(case.content)
    with pytest.raises(SourceRefused, match="SOURCE_NOT_FOUND"):
        case.objects.head(free)
    case.objects.delete(shared)
    with case.database.transaction(tenant_id=other) as session:
        session.execute(text("DELETE FROM video"))


def test_a_job_that_came_for_the_video_meanwhile_leaves_no_answer_behind(case: Case) -> None:
    begun = case.begin()
    late = f"{case.job_id}late"
    values = {"tenant": case.tenant_id, "video": case.video_id, "analysis": case.analysis_id}
    case.run(JOB, id=late, bucket=BUCKET, key="x", external=None, **values)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        keep_answer(session, case.tenant_id, "late", KeptAnswer("0" * 64, 202, {}, late.encode()))
    case.erase(begun)
    assert find_in_database(case, late) == {}


def test_bytes_in_the_callers_own_bucket_are_left_unless_asked_for(case: Case, tmp_path: Path) -> None:
    theirs = put(case.objects, tmp_path, f"incoming/{case.job_id}.mp4", case.content)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        record_source(session, tenant_id=case.tenant_id, video_id=case.video_id, ref=theirs)
    erasure = case.erase(case.begin())
    assert erasure.stores["kept"]["sources"]["objects"] == 1
    assert case.objects.head(theirs).size_bytes == len(case.content)


def test_with_its_sources_a_video_is_gone_from_there_too(case: Case, tmp_path: Path) -> None:
    theirs = put(case.objects, tmp_path, f"incoming/{case.job_id}.mp4", case.content)
    other = put(case.objects, tmp_path, f"incoming/{case.job_id}-2.mp4", case.content)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        for ref in (theirs, other):
            record_source(session, tenant_id=case.tenant_id, video_id=case.video_id, ref=ref)
    put(case.objects, tmp_path, other.key, b"somebody has put something else there")
    erasure = case.erase(case.begin(with_sources=True))
    assert erasure.stores["objects"] == {"state": "cleared", "objects": 2}
    assert find_in_objects(case) == [other.key]  # its name alone, which holds the mark of this test
    assert case.objects.head(other.loosen()).size_bytes == 37


class ReadOnly(S3Objects):
    """A store that lets nobody remove what lies under some prefix."""

    def __init__(self, objects: S3Objects, prefix: str) -> None:
        self.__dict__.update(objects.__dict__)
        self.prefix = prefix

    def delete(self, ref: VideoRef) -> None:
        if f"{ref.bucket}/{ref.key}".startswith(self.prefix):
            raise SourceRefused(Reason.SOURCE_ACCESS_DENIED, f"{ref.uri} may not be removed")
        super().delete(ref)


def test_a_source_that_may_not_be_removed_is_named_and_holds_nothing_up(case: Case, tmp_path: Path) -> None:
    case.objects.make_bucket(FOREIGN)
    path = tmp_path / "theirs"
    path.write_bytes(case.content)
    theirs = case.objects.upload(path, FOREIGN, "incoming/clip.mp4").ref
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        record_source(session, tenant_id=case.tenant_id, video_id=case.video_id, ref=theirs)
    store = ReadOnly(case.objects, f"{FOREIGN}/")
    erasure = erase_video(case.database, store, BUCKET, case.begin(with_sources=True))
    assert erasure.state is ErasureState.COMPLETED
    assert erasure.stores["kept"]["refused"]["reasons"] == {"SOURCE_ACCESS_DENIED": 1}
    assert erasure.stores["objects"] == {"state": "cleared", "objects": 1}
    assert find_in_objects(case) == []
    assert set(find_in_database(case, *case.traces)) == {"tenant", "usage"}
    assert case.objects.head(theirs).size_bytes == len(case.content)


class Blind(S3Objects):
    """A store that does not say which versions it keeps."""

    def __init__(self, objects: S3Objects) -> None:
        self.__dict__.update(objects.__dict__)

    def list_versions(self, ref: VideoRef) -> Iterator[VideoRef]:
        raise SourceRefused(Reason.SOURCE_ACCESS_DENIED, f"{ref.uri}: versions may not be listed")


def test_receipt_says_that_hidden_versions_were_not_looked_for(case: Case) -> None:
    erasure = erase_video(case.database, Blind(case.objects), BUCKET, case.begin())
    assert erasure.state is ErasureState.COMPLETED
    assert erasure.stores["objects"] == {"state": "cleared", "objects": 1}
    hidden = erasure.stores["kept"]["versions"]
    assert (hidden["state"], hidden["objects"]) == ("refused", 1)


class Silent(S3Objects):
    """A store that answers some calls and then falls silent."""

    def __init__(self, objects: S3Objects, deletions: int, lists: int) -> None:
        self.__dict__.update(objects.__dict__)
        self.deletions, self.lists = deletions, lists

    def delete(self, ref: VideoRef) -> None:
        self.deletions -= 1
        if self.deletions < 0:
            raise Unavailable(Reason.OBJECT_STORE_UNAVAILABLE, "nobody answers")
        super().delete(ref)

    def list_versions(self, ref: VideoRef) -> Iterator[VideoRef]:
        self.lists -= 1
        if self.lists < 0:
            raise Unavailable(Reason.OBJECT_STORE_UNAVAILABLE, "nobody answers")
        return super().list_versions(ref)

    def list_objects(
        self, bucket: str, prefix: str = "", *, start_after: str | None = None
    ) -> Iterator[ObjectFacts]:
        raise Unavailable(Reason.OBJECT_STORE_UNAVAILABLE, "nobody answers")


@pytest.mark.parametrize(("deletions", "lists"), [(1, 9), (9, 0), (9, 1), (9, 9)])
def test_the_receipt_counts_what_tries_removed_that_the_store_cut_off(
    case: Case, tmp_path: Path, deletions: int, lists: int
) -> None:
    theirs = put(case.objects, tmp_path, f"incoming/{case.job_id}.mp4", case.content)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        record_source(session, tenant_id=case.tenant_id, video_id=case.video_id, ref=theirs)
    begun = case.begin(with_sources=True)
    with pytest.raises(Unavailable):
        erase_video(case.database, Silent(case.objects, deletions, lists), BUCKET, begun)
    erasure = case.erase(begun)
    assert erasure.state is ErasureState.COMPLETED
    assert erasure.stores["objects"] == {"state": "cleared", "objects": 2}


def test_what_of_our_own_cannot_be_removed_now_is_tried_again_while_the_rows_are_gone(case: Case) -> None:
    begun = case.begin()
    store = ReadOnly(case.objects, f"{BUCKET}/uploads/")
    erasure = erase_video(case.database, store, BUCKET, begun)
    assert erasure.state is ErasureState.RUNNING
    assert "video" not in find_in_database(case, *case.traces)
    erasure = case.erase(begun)
    assert (erasure.state, erasure.stores["objects"]["objects"]) == (ErasureState.COMPLETED, 1)
    assert find_in_objects(case) == []


@pytest.mark.parametrize("kind", SourceKind)
def test_an_upload_goes_however_its_job_named_it(case: Case, kind: SourceKind) -> None:
    case.run("UPDATE source SET kind = :kind WHERE video_id = :id", kind=kind.value, id=case.video_id)
    assert "sources" not in case.erase(case.begin()).stores["kept"]
    assert find_in_objects(case) == []


def test_what_was_answered_about_the_upload_goes_too(case: Case) -> None:
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        upload_id = session.scalar(text("SELECT id FROM upload"))
        answer = {"id": upload_id, "name": f"{case.traces[0]}.mp4", "sha256": case.traces[1]}
        keep_answer(session, case.tenant_id, "up", KeptAnswer("0" * 64, 201, {}, json.dumps(answer).encode()))
    case.erase(case.begin())
    assert "idempotent_answer" not in find_in_database(case, *case.traces)


def test_another_tenants_video_cannot_be_erased(case: Case) -> None:
    other = make_tenant(case.database, f"other {case.traces[0][::-1]}")
    with (
        pytest.raises(RequestRefused) as refused,
        case.database.transaction(tenant_id=other) as session,
    ):
        begin_erasure(session, case.video_id, "key_b", bucket=BUCKET)
    assert refused.value.reason is Reason.NOT_FOUND
