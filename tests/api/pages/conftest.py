"""Fixtures of the pages: two tenants, and a client of the application over a real database."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.app import create_app
from fakesieve.database import Database
from fakesieve.embedded.postgres import APP_ROLE, PostgresServer
from tests.api.pages.stage import Scene, make_scene, make_settings


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
