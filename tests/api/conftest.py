"""The API over real servers: an application, keys of two tenants, and a client for each."""

from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from fakesieve.database import Database
from fakesieve.embedded.postgres import PostgresServer
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.object_stores.s3_client import S3Options
from fakesieve.object_stores.select import PROMPT
from fakesieve.settings import Settings
from tests.api.callers import Caller, make_caller, make_settings
from tests.api.model_stage import hosts, models
from tests.api.served import serve_app
from tests.waiting import PATIENCE_S

__all__ = ["hosts", "models"]

BUCKET = "videos"


@pytest.fixture(scope="module")
def settings(postgres: PostgresServer, s3: SeaweedServer, module_database_name: str) -> Settings:
    """Settings of an API that may ask as often as the tests do."""
    return make_settings(postgres, s3, module_database_name)


@pytest.fixture(scope="module")
def store(s3: SeaweedServer) -> S3Objects:
    """The object store as the fleet sees it, with the bucket of the fleet."""
    options = S3Options(s3.endpoint, s3.access_key, s3.secret_key)
    objects = S3Objects(options, retry=PROMPT)  # as the API has it: what is missing is not waited for
    objects.make_bucket(BUCKET)
    return objects


@pytest.fixture(scope="module")
def url(settings: Settings, store: S3Objects) -> Iterator[str]:
    """Address of the application, for clients that connect to it."""
    del store  # its bucket is there
    with serve_app(create_app(settings)) as address:
        yield address


@pytest.fixture(scope="module")
def app_client(settings: Settings) -> Iterator[TestClient]:
    """A client without a key."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def acme(app_client: TestClient, module_database: Database) -> Caller:
    """A caller of a tenant of this test alone, with every scope, who may name the whole bucket."""
    return make_caller(app_client, module_database, places=(f"s3://{BUCKET}/",))


@pytest.fixture
def other(app_client: TestClient, module_database: Database) -> Caller:
    """A caller of another tenant."""
    return make_caller(app_client, module_database, places=(f"s3://{BUCKET}/",))


@pytest.fixture
def long_undo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time to take a decision back on a busy machine, where ten seconds may be too short."""
    monkeypatch.setattr("fakesieve.reviews.decide.UNDO_S", PATIENCE_S)


@pytest.fixture(scope="module")
def clip(store: S3Objects, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Put a few bytes under a key and return their address."""
    source = tmp_path_factory.mktemp("clips") / "clip"

    def put(key: str, content: bytes = b"not really a video") -> str:
        source.write_bytes(content)
        return store.upload(source, BUCKET, key).ref.uri

    return put
