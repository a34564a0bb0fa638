"""A fleet without processes: a migrated database, a folder for objects, and the command line over both."""

import io
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
from sqlalchemy import func

from engine.results import VideoScore
from fakesieve.__main__ import main
from fakesieve.database import Database, open_database
from fakesieve.embedded.postgres import PostgresServer
from fakesieve.jobs.states import JobState, Lane
from fakesieve.reasons import Reason
from fakesieve.records.analyses import store_analysis
from fakesieve.records.jobs import Job
from fakesieve.records.tenants import create_key, ensure_tenant
from fakesieve.records.videos import upsert_video
from fakesieve.values.videos import SourceKind
from tests.commands import Ran, run_command
from tests.factories import SECOND_US, hash_text, make_record, make_score

MEDIA: dict[str, object] = {
    "v": 1,
    "kind": "video",
    "container": "mp4",
    "codec": "h264",
    "pixel_format": "yuv420p",
    "width": 640,
    "height": 360,
    "coded_width": 640,
    "coded_height": 368,
    "rotation": 0,
    "sample_aspect_ratio": [1, 1],
    "duration_us": 3 * SECOND_US,
    "frame_count": 75,
    "bit_rate": 800_000,
    "is_variable_rate": False,
    "is_hdr": False,
    "is_interlaced": False,
    "color_matrix": "bt709",
    "color_range": "limited",
    "color_transfer": "bt709",
    "has_audio": True,
    "stream_count": 2,
    "attached_pictures": 0,
    "warnings": [],
}


@dataclass(frozen=True)
class Fleet:
    """Rows of one tenant, and the command line that sees them."""

    database: Database
    tenant_id: str
    objects: Path
    run: Callable[..., Ran]

    def put_object(self, key: str, content: bytes = b"not looked at here") -> None:
        """Write an object into the bucket of the fleet, or replace it."""
        path = self.objects / "videos" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.new")
        fresh.write_bytes(content)
        fresh.replace(path)

    def add_job(
        self,
        name: str = "clip.mp4",
        *,
        state: JobState = JobState.QUEUED,
        reason: Reason | None = None,
        message: str | None = None,
        batch_id: str | None = None,
    ) -> str:
        """Insert a job without an analysis."""
        with self.database.transaction(tenant_id=self.tenant_id) as session:
            job = Job(**self._columns(name), state=state, error_reason=reason, error_message=message)
            job.end_time = func.now() if state.is_terminal else None
            job.batch_id = batch_id
            session.add(job)
            session.flush()
            return job.id

    def add_result(
        self, name: str = "clip.mp4", score: VideoScore | None = None, fingerprint: str | None = None
    ) -> str:
        """Insert a job that succeeded, with its analysis."""
        found = make_score() if score is None else score
        with self.database.transaction(tenant_id=self.tenant_id) as session:
            video_id = upsert_video(
                session, tenant_id=self.tenant_id, sha256=hash_text(name), size_bytes=1000, media=MEDIA
            )
            record = make_record(
                self.tenant_id, video_id, score=found, fingerprint=fingerprint or hash_text("pipeline")
            )
            analysis_id, _ = store_analysis(session, record)
            job = Job(**self._columns(name), state=JobState.SUCCEEDED, end_time=func.now())
            job.video_id, job.analysis_id, job.media = video_id, analysis_id, MEDIA
            job.pipeline_fingerprint = record.fingerprint
            job.n_shards = job.n_done = 1
            session.add(job)
            session.flush()
            return job.id

    def read_job(self, job_id: str) -> Job:
        with self.database.transaction(tenant_id=self.tenant_id) as session:
            return session.get_one(Job, job_id)

    def _columns(self, name: str) -> dict[str, object]:
        return {
            "tenant_id": self.tenant_id,
            "lane": Lane.STANDARD,
            "source_kind": SourceKind.API,
            "source_bucket": "videos",
            "source_key": name,
            "source_etag": "e1",
            "request_hash": hash_text(name),
            "time_limit_ms": 3_600_000,
            "deadline": func.now() + func.make_interval(0, 0, 0, 0, 1),
        }


class Operate(Protocol):
    """Runs a command as whoever has the database; gives its exit code and what it wrote, out and err."""

    def __call__(self, *arguments: str, typed: str = "") -> tuple[int, str, str]: ...


@pytest.fixture
def operate(
    postgres: PostgresServer,
    database_name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Operate:
    """Commands over a database of the test alone, in which no tenant is yet."""
    monkeypatch.setenv("FAKESIEVE_DATABASE_URL", postgres.url(database=database_name))
    monkeypatch.setenv("FAKESIEVE_BROKER_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("FAKESIEVE_BUCKET", "videos")
    monkeypatch.setattr("fakesieve.__main__.signal.signal", lambda *_: None)

    def run(*arguments: str, typed: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        told = capsys.readouterr()
        return int(stop.value.code or 0), told.out, told.err

    return run


@pytest.fixture
def fleet(
    postgres: PostgresServer,
    module_database_name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd,
) -> Iterator[Fleet]:
    """A new tenant, who sees no rows of other tests, in whose environment the commands run."""
    url = postgres.url(database=module_database_name)
    database = open_database(url)
    with database.transaction(tenant_id=None) as session:
        tenant_id = ensure_tenant(session, secrets.token_hex(8))
        key = create_key(session, tenant_id, "test", frozenset({"jobs:write"}))
    objects = tmp_path / "objects"
    (objects / "videos").mkdir(parents=True)
    values = {
        "DATABASE_URL": url,
        "BROKER_URL": "redis://127.0.0.1:1/0",
        "BUCKET": "videos",
        "OBJECTS_DIR": str(objects),
        "API_KEY": key.secret,
    }
    for name, value in values.items():
        monkeypatch.setenv(f"FAKESIEVE_{name}", value)
    monkeypatch.setattr("fakesieve.__main__.signal.signal", lambda *_: None)

    def run(*arguments: str) -> Ran:
        return run_command(capfd, *arguments)

    yield Fleet(database, tenant_id, objects, run)
    database.close()
