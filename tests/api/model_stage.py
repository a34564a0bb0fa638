"""Models for tests of the API: which have scored what, and hosts that run them."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from engine.results import VideoScore
from fakesieve.database import Database
from fakesieve.jobs.rows import HostBeat, HostModel
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.objects import VideoRef
from fakesieve.records.jobs import Job
from fakesieve.records.models import ModelFacts
from fakesieve.records.videos import Video, record_source
from tests.api.callers import Caller
from tests.api.results import SCORES, store_result
from tests.factories import make_empty_score, make_score

NEWER = ModelFacts("lv-compact", "cd" * 32, "onnxruntime-cpu", "f32")
NEWEST = ModelFacts("lv-compact", "ef" * 32, "onnxruntime-cpu", "f32")
Ids = dict[str, str]
Hosts = Callable[[str, ModelFacts], None]


def add_video(session: Session, caller: Caller, label: str, score: VideoScore | None = None) -> None:
    """Store a video with a result of the older model, where its tenant may name it."""
    analysis_id = store_result(session, caller.tenant_id, label, score or make_score(0.2))
    video_id = session.scalar(text("SELECT video_id FROM analysis WHERE id = :id"), {"id": analysis_id})
    ref = VideoRef("videos", f"{label}.mp4", None, "etag", 10)
    record_source(session, tenant_id=caller.tenant_id, video_id=str(video_id), ref=ref)


@pytest.fixture
def models(module_database: Database, acme: Caller) -> Ids:
    """Ids of two models: both have scored ``high`` and ``none``, the older one ``middle`` too."""
    newer = {"high": make_score(0.2), "none": make_empty_score()}
    for label, score in SCORES.items():
        with module_database.transaction(tenant_id=acme.tenant_id) as session:
            add_video(session, acme, label, score)
            if label in newer:
                store_result(session, acme.tenant_id, label, newer[label], model=NEWER)
    listed = acme.get("/v1/models").json()["data"]
    return {each["weights_sha256"][:2]: each["id"] for each in listed}


@pytest.fixture
def hosts(module_database: Database) -> Iterator[Hosts]:
    """Let hosts beat with a model, and forget them after the test."""
    store = SqlJobStore(module_database, None)

    def beat(owner: str, facts: ModelFacts) -> None:
        model = HostModel(facts, "pipeline", {"training data": "drawn by a test"})
        store.run(lambda tx: tx.beat_host(HostBeat(owner, 1, model=model)))

    yield beat
    with module_database.transaction(tenant_id=None) as session:
        session.execute(text("DELETE FROM worker_host"))


def add_newest(acme: Caller, hosts: Hosts) -> str:
    """Return the id of a model that every host has and that has scored nothing."""
    hosts("hst_newest", NEWEST)
    listed = acme.get("/v1/models").json()["data"]
    return next(each["id"] for each in listed if each["weights_sha256"] == NEWEST.weights_sha256)


def list_jobs(database: Database, caller: Caller) -> list[str]:
    """Return the keys of the objects of all jobs, in the order of the jobs."""
    with database.transaction(tenant_id=caller.tenant_id) as session:
        return list(session.scalars(select(Job.source_key).order_by(Job.create_time, Job.id)))


def list_videos(database: Database, caller: Caller) -> list[tuple[str, str]]:
    """Return ids and external ids of all videos, in the order in which they are taken."""
    with database.transaction(tenant_id=caller.tenant_id) as session:
        return [(row[0], str(row[1])) for row in session.execute(select(Video.id, Video.external_id))]
