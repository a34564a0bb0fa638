"""After an erasure no store holds a trace of the video but the receipt that says so."""

import hashlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from fakesieve.database import Database
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.erasure.erase import (
    begin_erasure,
    erase_video,
    hash_receipt,
    list_erasures,
    load_erasure,
    take_unfinished,
)
from fakesieve.erasure.hosts import confirm_lettings, list_lettings
from fakesieve.erasure.objects import EXPORTS_PREFIX
from fakesieve.erasure.retention import (
    classify_video,
    delete_video,
    find_due,
    hold_video,
    remove_class,
    set_class,
    undelete_video,
)
from fakesieve.errors import RequestRefused
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.object_stores.s3_client import S3Options
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from fakesieve.records.analyses import store_analysis
from fakesieve.records.audit import check_chain, list_audit
from fakesieve.records.erasure import Erasure, ErasureCause, ErasureState
from fakesieve.records.idempotency import KeptAnswer, keep_answer
from fakesieve.records.reviews import Disposition, FeedbackCategory, ReasonCode
from fakesieve.records.tags import set_tags
from fakesieve.records.uploads import UploadDraft, complete_upload, create_upload
from fakesieve.records.videos import SourceKind, record_source, upsert_video
from fakesieve.records.webhooks import EventType
from fakesieve.reviews.claim import claim_next
from fakesieve.reviews.decide import decide_item
from fakesieve.reviews.entries import give_feedback
from fakesieve.reviews.values import DecisionDraft
from fakesieve.webhooks.addresses import AddressRules
from fakesieve.webhooks.endpoints import EndpointDraft, create_endpoint
from fakesieve.webhooks.events import record_event
from fakesieve.webhooks.publish import publish_events
from tests.databases import opened
from tests.factories import MEDIA, make_record, make_tenant
from tests.fakesieve.reviews.conftest import make_queue
from workers.erase import Eraser
from workers.let_go import let_go
from workers.scratch import Scratch

BUCKET = "erasures"


@dataclass(frozen=True)
class Case:
    """A video that has left its mark everywhere. ``traces`` are words that must be nowhere afterwards."""

    database: Database
    objects: S3Objects
    tenant_id: str
    video_id: str
    analysis_id: str
    job_id: str
    key: str
    content: bytes
    traces: tuple[str, ...]

    def begin(self, **options: object) -> tuple[str, str]:
        with self.database.transaction(tenant_id=self.tenant_id) as session:
            return self.tenant_id, begin_erasure(session, self.video_id, "key_a", **options)  # type: ignore[arg-type]

    def erase(self, begun: tuple[str, str]) -> Erasure:
        return erase_video(self.database, self.objects, BUCKET, begun)

    def run(self, statement: str, **values: object) -> None:
        with self.database.transaction(tenant_id=self.tenant_id) as session:
            session.execute(text(statement), values)


@pytest.fixture(scope="module")
def objects(s3: SeaweedServer) -> S3Objects:
    store = S3Objects(S3Options(s3.endpoint, s3.access_key, s3.secret_key))
    store.make_bucket(BUCKET)
    return store


JOB = """
INSERT INTO job (id, tenant_id, lane, state, source_kind, source_bucket, source_key, request_hash,
                 time_limit_ms, deadline, end_time, video_id, analysis_id, external_id)
VALUES (:id, :tenant, 'bulk', 'succeeded', 'upload', :bucket, :key, 'x', 1000, now(), now(), :video,
        :analysis, :external)
"""
USAGE = """
INSERT INTO usage (tenant_id, job_id, analysis_id, n_shards, duration_ms)
VALUES (:tenant, :job, :analysis, 1, 1)
"""


def put(objects: S3Objects, folder: Path, key: str, content: bytes) -> VideoRef:
    path = folder / "file"
    path.write_bytes(content)
    return objects.upload(path, BUCKET, key).ref


def make_case(database: Database, objects: S3Objects, folder: Path) -> Case:
    mark = secrets.token_hex(8)
    content = b"the bytes of a face " + mark.encode() + b"\0" * 4000
    sha256 = hashlib.sha256(content).hexdigest()
    tenant_id = make_tenant(database, f"tenant {mark}")
    external, job_id = f"holiday-{mark}", f"job_{mark}"
    with database.transaction(tenant_id=tenant_id) as session:
        upload = create_upload(
            session,
            tenant_id,
            UploadDraft(BUCKET, "video/mp4", 10_000, datetime.now(UTC) + timedelta(hours=1), f"{mark}.mp4"),
        )
        ref = put(objects, folder, upload.key, content)
        complete_upload(session, upload.id, ref)
        media = {**MEDIA, "title": f"a film called {mark}"}
        video_id = upsert_video(
            session,
            tenant_id=tenant_id,
            sha256=sha256,
            size_bytes=len(content),
            media=media,
            external_id=external,
        )
        record_source(session, tenant_id=tenant_id, video_id=video_id, ref=ref, kind=SourceKind.UPLOAD)
        analysis_id, _ = store_analysis(session, make_record(tenant_id, video_id))
        set_tags(session, tenant_id, video_id, {"person": f"somebody {mark}"})
        names = {"tenant": tenant_id, "video": video_id, "analysis": analysis_id, "external": external}
        session.execute(text(JOB), {"id": job_id, "bucket": BUCKET, "key": upload.key, **names})
        session.execute(text(USAGE), {"tenant": tenant_id, "job": job_id, "analysis": analysis_id})
        answer = KeptAnswer("0" * 64, 202, {}, json.dumps({"id": job_id}).encode())
        keep_answer(session, tenant_id, "once", answer)
        create_endpoint(session, tenant_id, "key_a", EndpointDraft("https://hooks.example/"), AddressRules())
        record_event(session, tenant_id, EventType.JOB_SUCCEEDED, {"job_id": job_id})
    queue_id = make_queue(database, tenant_id)
    with database.transaction(tenant_id=tenant_id) as session:
        item = claim_next(session, queue_id, "usr_a")
        assert item is not None
        note = f"I know them, {mark}"
        draft = DecisionDraft(Disposition.CONFIRMED_AUTHENTIC, ReasonCode.SOURCE_VERIFIED, note)
        decide_item(session, item, "usr_a", draft)
        give_feedback(session, tenant_id, analysis_id, "key_a", FeedbackCategory.OTHER, note)
    with database.transaction(tenant_id=None) as session:
        publish_events(session)
    put(objects, folder, f"{EXPORTS_PREFIX}{tenant_id}/results.csv", f"{video_id},{mark}".encode())
    return Case(
        database, objects, tenant_id, video_id, analysis_id, job_id, upload.key, content, (mark, sha256)
    )


@pytest.fixture
def case(module_database: Database, objects: S3Objects, tmp_path: Path) -> Iterator[Case]:
    made = make_case(module_database, objects, tmp_path)
    yield made
    made.run("DELETE FROM webhook_endpoint")


def find_in_database(case: Case, *words: str) -> dict[str, int]:
    """Count the rows of each table in which one of the words stands, as text or as bytes."""
    found: dict[str, int] = {}
    with case.database.transaction(tenant_id=None) as session:
        tables = session.scalars(
            text(
                "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
                " AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'"
            )
        ).all()
        for table in tables:
            rows = 0
            for word in words:
                in_text = f"{table}::text LIKE '%' || :word || '%'"
                in_bytes = f"{table}::text LIKE '%' || encode(convert_to(:word, 'UTF8'), 'hex') || '%'"
                query = f"SELECT count(*) FROM {table} WHERE {in_text} OR {in_bytes}"
                rows += session.scalar(text(query), {"word": word}) or 0
            if rows:
                found[table] = rows
    return found


def find_in_objects(case: Case) -> list[str]:
    """Keys of the objects that are the video or name it."""
    found: list[str] = []
    for facts in case.objects.list_objects(BUCKET):
        content = case.objects.read_range(facts.ref, 0, facts.size_bytes)
        if any(trace.encode() in content or trace in facts.ref.key for trace in case.traces):
            found.append(facts.ref.key)
    return found


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
    rows = stores["database"]["rows"]  # type: ignore[index]
    assert {name: rows[name] for name in ("video", "analysis", "job", "upload", "source", "frame_score")} == {
        "video": 1,
        "analysis": 1,
        "job": 1,
        "upload": 1,
        "source": 1,
        "frame_score": 3,
    }
    assert rows["review_decision"] == 2
    assert set(stores["kept"]) == {"usage"}  # type: ignore[call-overload]


def test_the_receipt_verifies_and_the_audit_log_holds_its_hash(case: Case) -> None:
    _, erasure_id = begun = case.begin()
    case.erase(begun)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        receipt = load_erasure(session, erasure_id)
        assert hash_receipt(receipt) == receipt.sha256
        (line,) = [
            line for line in list_audit(session, subject=case.video_id) if line.action == "video.erased"
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
    with opened(postgres, module_database_name, "fakesieve_app") as database:  # type: ignore[arg-type]
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


def test_a_legal_hold_wins(case: Case) -> None:
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        hold_video(session, case.video_id, "key_a", is_held=True)
    for act in (begin_erasure, delete_video):
        with (
            pytest.raises(RequestRefused) as refused,
            case.database.transaction(tenant_id=case.tenant_id) as session,
        ):
            act(session, case.video_id, "key_a")
        assert refused.value.reason is Reason.LEGAL_HOLD
    case.run(
        "UPDATE video SET delete_time = now(), purge_time = now() - interval '1 day' WHERE id = :id",
        id=case.video_id,
    )
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        assert find_due(session, 10) == []
        hold_video(session, case.video_id, "key_a", is_held=False)
        assert [due.video_id for due in find_due(session, 10)] == [case.video_id]


def test_a_deleted_video_comes_back_until_its_erasure_begins(case: Case) -> None:
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        deleted = delete_video(session, case.video_id, "key_a", purge_s=3600)
        assert deleted.purge_time is not None
        assert deleted.delete_time is not None
        assert deleted.purge_time - deleted.delete_time == timedelta(hours=1)
        assert undelete_video(session, case.video_id, "key_a").delete_time is None
        with pytest.raises(RequestRefused, match="can come back"):
            undelete_video(session, case.video_id, "key_a")
    case.begin()
    with (
        pytest.raises(RequestRefused, match="can come back"),
        case.database.transaction(tenant_id=case.tenant_id) as session,
    ):
        undelete_video(session, case.video_id, "key_a")


def test_a_video_that_is_submitted_again_is_there_again(case: Case) -> None:
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        delete_video(session, case.video_id, "key_a")
        again = upsert_video(
            session,
            tenant_id=case.tenant_id,
            sha256=case.traces[1],
            size_bytes=len(case.content),
            media=MEDIA,
        )
        assert again == case.video_id
        shown = session.execute(text("SELECT delete_time FROM video WHERE id = :id"), {"id": again}).one()
    assert shown.delete_time is None


def test_a_sweep_erases_what_its_class_keeps_no_longer(case: Case) -> None:
    eraser = Eraser(case.database, case.objects, BUCKET, sweep_s=0)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        set_class(session, case.tenant_id, "key_a", "short", 60)
        classify_video(session, case.video_id, "key_a", "short")
        assert find_due(session, 10) == []
    case.run("UPDATE video SET create_time = now() - interval '61 s' WHERE id = :id", id=case.video_id)
    eraser.take_turn()
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        (erasure,) = list_erasures(session, video_id=case.video_id)
    assert (erasure.cause, erasure.state, erasure.requested_by) == (
        ErasureCause.RETENTION,
        ErasureState.COMPLETED,
        "fleet",
    )


def test_the_default_class_holds_for_videos_without_one(case: Case) -> None:
    case.run("UPDATE video SET create_time = now() - interval '61 s' WHERE id = :id", id=case.video_id)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        assert find_due(session, 10) == []
        set_class(session, case.tenant_id, "key_a", "default", 60)
        assert [due.cause for due in find_due(session, 10)] == [ErasureCause.RETENTION]
        remove_class(session, case.tenant_id, "key_a", "default")
        assert find_due(session, 10) == []
        with pytest.raises(RequestRefused, match="no retention class"):
            classify_video(session, case.video_id, "key_a", "default")


def test_an_erasure_that_was_cut_off_is_finished_by_a_sweep(case: Case) -> None:
    _, erasure_id = case.begin()
    eraser = Eraser(case.database, case.objects, BUCKET, sweep_s=0)
    with case.database.transaction(tenant_id=None) as session:
        assert take_unfinished(session, 10) == []  # somebody works on it
    case.run("UPDATE erasure SET try_time = now() - interval '2 min' WHERE id = :id", id=erasure_id)
    eraser.take_turn()
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        assert load_erasure(session, erasure_id).state is ErasureState.COMPLETED


def test_erasing_twice_is_one_erasure(case: Case) -> None:
    first, second = case.begin(), case.begin()
    assert first == second
    receipt = case.erase(first)
    assert case.erase(second).sha256 == receipt.sha256


def test_bytes_in_the_callers_own_bucket_are_left_unless_asked_for(case: Case, tmp_path: Path) -> None:
    theirs = put(case.objects, tmp_path, f"incoming/{case.job_id}.mp4", case.content)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        record_source(session, tenant_id=case.tenant_id, video_id=case.video_id, ref=theirs)
    erasure = case.erase(case.begin())
    assert erasure.stores["kept"]["sources"]["objects"] == 1  # type: ignore[index]
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


HOST = "INSERT INTO worker_host (owner, name, version, slots) VALUES (:owner, 'host', '1', 1)"


def test_the_receipt_waits_for_worker_hosts_to_let_go(case: Case, tmp_path: Path) -> None:
    case.run(HOST, owner="hst_a")
    with Scratch(tmp_path / "scratch", case.objects, free_bytes_min=0) as scratch:
        with scratch.hold(VideoRef(BUCKET, case.key)):
            begun = case.begin()
            assert case.erase(begun).state is ErasureState.RUNNING
            assert let_go(case.database, "hst_a", scratch) == 0  # somebody works with it
        assert [p for p in tmp_path.rglob("*") if p.is_file() and p.read_bytes() == case.content]
        assert let_go(case.database, "hst_a", scratch) == 1
        assert not [p for p in (tmp_path / "scratch").rglob("*") if p.is_file() and p.stat().st_size > 100]
    receipt = case.erase(begun)
    assert (receipt.state, receipt.stores["scratch"]) == (
        ErasureState.COMPLETED,
        {"state": "cleared", "hosts": 1},
    )
    case.run("DELETE FROM worker_host")


def test_a_host_that_died_is_not_waited_for(case: Case) -> None:
    case.run(HOST, owner="hst_b")
    begun = case.begin()
    with case.database.transaction(tenant_id=None) as session:
        assert [letting.erasure_id for letting in list_lettings(session, "hst_b")] == [begun[1]]
        confirm_lettings(session, "hst_other", [begun[1]])
    case.run("DELETE FROM worker_host")
    assert case.erase(begun).state is ErasureState.COMPLETED


def test_another_tenants_video_cannot_be_erased(case: Case) -> None:
    other = make_tenant(case.database, f"other {case.traces[0][::-1]}")
    with (
        pytest.raises(RequestRefused) as refused,
        case.database.transaction(tenant_id=other) as session,
    ):
        begin_erasure(session, case.video_id, "key_b")
    assert refused.value.reason is Reason.NOT_FOUND
