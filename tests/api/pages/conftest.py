"""Fixtures of the pages: two tenants, a client of the application, and a browser before a served one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, Page

from api.app import create_app
from api.pages import items
from fakesieve.database import Database
from fakesieve.embedded.postgres import APP_ROLE, PostgresServer
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.object_stores.select import read_options
from fakesieve.people import passwords
from fakesieve.reviews import decide
from tests.api.pages.browsing import find_chromium, launch, open_page
from tests.api.pages.stage import BUCKET, RATE, Scene, make_scene, make_settings, serve
from tests.media import draw_clip
from tests.receivers import LOCAL_NETWORKS
from tests.waiting import PATIENCE_S


@pytest.fixture(scope="package", autouse=True)
def quick_passwords() -> Iterator[None]:
    """Passwords of little work: a thousand sign-ins and people of scenes took 40 ms of the processor each.

    How passwords are kept is tested in tests/fakesieve/people.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield


@pytest.fixture(scope="module")
def scene(module_database: Database) -> Scene:
    """A tenant with people, an analysis and a queue."""
    return make_scene(module_database)


@pytest.fixture(scope="module")
def other_scene(module_database: Database) -> Scene:
    """Another tenant, whose every row is none of the first one's business."""
    return make_scene(module_database, "other")


@pytest.fixture(scope="module")
def app(postgres: PostgresServer, module_database_name: str) -> FastAPI:
    """The application in the role that it has in production."""
    settings = make_settings(
        postgres.url(APP_ROLE, module_database_name), api_rate_per_s=1000, api_burst=10_000
    )
    return create_app(settings)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A browser without its scripts; nobody has signed in."""
    with TestClient(app, headers={"Accept": "text/html"}) as found:
        yield found


@pytest.fixture
def long_undo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time to take a decision back on a busy machine, where ten seconds may be too short."""
    for module in (items, decide):
        monkeypatch.setattr(module, "UNDO_S", PATIENCE_S)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium; without one its tests are skipped."""
    with launch() as found:
        yield found


@pytest.fixture(scope="module")
def address(
    postgres: PostgresServer,
    s3: SeaweedServer,
    module_database_name: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """An application that real browsers reach, with a clip in its object store."""
    find_chromium()
    settings = make_settings(
        postgres.url(APP_ROLE, module_database_name),
        s3_endpoint=s3.endpoint,
        s3_access_key=s3.access_key,
        s3_secret_key=s3.secret_key,
        webhook_networks=",".join(LOCAL_NETWORKS),
    )
    clip = draw_clip(
        tmp_path_factory.mktemp("clip") / "clip.mp4", width=640, height=360, frames=3 * RATE, rate=RATE
    )
    put_clip(S3Objects(read_options(settings)), clip)
    with serve(create_app(settings)) as found:
        yield found


def put_clip(objects: S3Objects, clip: Path) -> None:
    objects.make_bucket(BUCKET)
    objects.upload(clip, BUCKET, "clips/interview.mp4", content_type="video/mp4")


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A page of the served application."""
    with open_page(browser, address) as found:
        yield found
