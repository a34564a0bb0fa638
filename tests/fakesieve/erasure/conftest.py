"""A video that has left its mark in every store, and a search for it."""

import hashlib
import json
import secrets
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from fakesieve.database import Database
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.erasure.erase import (
    begin_erasure,
    erase_video,
)
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.object_stores.s3_client import S3Options
from fakesieve.object_stores.select import PROMPT
from fakesieve.objects import VideoRef
from fakesieve.records.analyses import store_analysis
from fakesieve.records.erasure import Erasure
from fakesieve.records.exports import tenant_folder
from fakesieve.records.idempotency import KeptAnswer, keep_answer
from fakesieve.records.tags import set_tags
from fakesieve.records.tenants import add_places
from fakesieve.records.uploads import UploadDraft, complete_upload, create_upload
from fakesieve.records.videos import record_source, upsert_video
from fakesieve.reviews.claim import claim_next
from fakesieve.reviews.decide import decide_item
from fakesieve.reviews.entries import give_feedback
from fakesieve.values.reviews import DecisionDraft, Disposition, FeedbackCategory, ReasonCode
from fakesieve.values.videos import SourceKind
from fakesieve.values.webhooks import EndpointDraft, EventType
from fakesieve.webhooks.addresses import AddressRules
from fakesieve.webhooks.endpoints import create_endpoint
from fakesieve.webhooks.events import record_event
from fakesieve.webhooks.publish import publish_events
from tests.factories import MEDIA, make_record, make_tenant
from tests.fakesieve.reviews.conftest import make_queue

BUCKET = "erasures"


class Hasty(Database):
    """A database that waits for no lock longer than a tenth of a second."""

    @contextmanager
    def transaction(self, **options: Any) -> Generator[Session]:
        with super().transaction(**options) as session:
            session.execute(text("SET LOCAL lock_timeout = '100ms'"))
            yield session


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
            return self.tenant_id, begin_erasure(session, self.video_id, "key_a", bucket=BUCKET, **options)

    def erase(self, begun: tuple[str, str]) -> Erasure:
        return erase_video(self.database, self.objects, BUCKET, begun)

    def run(self, statement: str, **values: object) -> None:
        with self.database.transaction(tenant_id=self.tenant_id) as session:
            session.execute(text(statement), values)


@pytest.fixture(scope="module")
def objects(s3: SeaweedServer) -> S3Objects:
    # As the reconciler has it: what is missing is not waited for.
    store = S3Objects(S3Options(s3.endpoint, s3.access_key, s3.secret_key), retry=PROMPT)
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
        add_places(session, tenant_id, [f"s3://{BUCKET}/", "s3://foreign/"])
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
    put(objects, folder, f"{tenant_folder(tenant_id)}results.csv", f"{video_id},{mark}".encode())
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
