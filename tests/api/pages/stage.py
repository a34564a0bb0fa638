"""A stage for the pages: tenants, people, a scored video and a queue, and a server for real browsers."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from fakesieve.database import Database
from fakesieve.objects import VideoRef
from fakesieve.people.accounts import create_user
from fakesieve.records.analyses import AnalysisRecord, store_analysis
from fakesieve.records.tenants import add_places
from fakesieve.records.videos import record_source, upsert_video
from fakesieve.reviews.queues import create_queue
from fakesieve.settings import Settings
from fakesieve.values.people import UserRole
from fakesieve.values.reviews import QueueDraft, QueueRule
from tests.factories import MEDIA, hash_text, make_record, make_tenant
from tests.waiting import PATIENCE_S, wait_until

PASSWORD = "correct horse battery"
BUCKET = "console"
RATE = 25


@dataclass(frozen=True)
class Scene:
    """One tenant with its people and an analysis in a queue."""

    tenant: str
    tenant_id: str
    video_id: str
    analysis_id: str
    queue_id: str

    def email(self, role: UserRole) -> str:
        return f"{role.value}@{self.tenant}.example"


def make_scene(
    database: Database,
    tenant: str = "acme",
    *,
    key: str = "clips/interview.mp4",
    record: AnalysisRecord | None = None,
    change: Callable[[AnalysisRecord], AnalysisRecord] | None = None,
    media: dict[str, object] = MEDIA,
    is_blind: bool = False,
) -> Scene:
    """Make a tenant, a person of each role, a video with its analysis, and a queue of everything."""
    tenant_id = make_tenant(database, tenant)
    with database.transaction(tenant_id=None) as session:
        add_places(session, tenant_id, [f"s3://{BUCKET}/"])
    with database.transaction(tenant_id=tenant_id) as session:
        video_id = upsert_video(
            session, tenant_id=tenant_id, sha256=hash_text(key), size_bytes=10_000, media=media
        )
        record_source(session, tenant_id=tenant_id, video_id=video_id, ref=VideoRef(BUCKET, key))
        kept = make_record(tenant_id, video_id) if record is None else record
        analysis_id, _ = store_analysis(session, kept if change is None else change(kept))
        queue = create_queue(
            session, tenant_id, QueueDraft("all", QueueRule(), is_blind=is_blind), actor="usr_admin"
        )
        queue_id = queue.id
    scene = Scene(tenant, tenant_id, video_id, analysis_id, queue_id)
    with database.transaction(tenant_id=tenant_id) as session:
        for role in UserRole:
            create_user(
                session,
                tenant_id,
                email=scene.email(role),
                name=f"{role.value.capitalize()} of {tenant}",
                role=role,
                password=PASSWORD,
                actor="tests",
            )
    return scene


def make_settings(database_url: str, **others: object) -> Settings:
    """Return settings for an application whose object store nobody has to reach."""
    values: dict[str, object] = {
        "database_url": database_url,
        "broker_url": "redis://localhost:1/0",
        "bucket": BUCKET,
        "s3_endpoint": "http://127.0.0.1:9",
        "s3_access_key": "none",
        "s3_secret_key": "none",
        "token_key": "a key of the tests",
    }
    return Settings.model_validate(values | others)


def enter(client: TestClient, scene: Scene, role: UserRole) -> None:
    """Sign in as a person of the scene."""
    client.cookies.clear()
    page = client.get("/sign-in", headers={"Accept": "text/html"})
    form = {
        "form_token": find_token(page.text),
        "organisation": scene.tenant,
        "email": scene.email(role),
        "password": PASSWORD,
        "next": "/",
    }
    answer = client.post("/sign-in", data=form, follow_redirects=False)
    assert answer.status_code == 303, answer.text


def find_token(html: str) -> str:
    """Return the token that the forms of a page carry."""
    return html.split('name="form_token" value="', 1)[1].split('"', 1)[0]


@contextmanager
def serve(app: FastAPI) -> Iterator[str]:
    """Serve an application on a free port and give its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(PATIENCE_S)
