"""While a request talks to the object store it holds no transaction, except under an ``Idempotency-Key``."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from api.app import create_app
from fakesieve.database import Database
from fakesieve.embedded.postgres import SUPERUSER, PostgresServer
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.objects import ObjectFacts, VideoRef
from fakesieve.records.idempotency import WORK_S_MAX, lock_key
from fakesieve.settings import Settings
from tests.api.callers import Caller, make_caller, reason_of
from tests.databases import opened

IDLE = text(
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fakesieve api'"
    " AND datname = current_database() AND state = 'idle in transaction'"
)


class WatchedObjects:
    """The store, which counts the idle transactions of the API whenever it is asked for an object."""

    def __init__(self, objects: S3Objects, database: Database) -> None:
        self._objects, self._database = objects, database
        self.seen = list[int]()

    def __getattr__(self, name: str) -> object:
        return getattr(self._objects, name)

    def _look(self) -> None:
        with self._database.transaction(tenant_id=None) as session:
            self.seen.append(int(session.scalar(IDLE) or 0))

    def head(self, ref: VideoRef) -> ObjectFacts:
        self._look()
        return self._objects.head(ref)

    def download(self, *args: object, **options: object) -> object:
        self._look()
        return self._objects.download(*args, **options)

    def list_objects(self, bucket: str, prefix: str = "") -> Iterator[ObjectFacts]:
        self._look()
        return self._objects.list_objects(bucket, prefix)


@pytest.fixture
def watched(
    postgres: PostgresServer, module_database_name: str, store: S3Objects
) -> Iterator[WatchedObjects]:
    with opened(postgres, module_database_name, SUPERUSER) as database:  # who else may see others' states
        yield WatchedObjects(store, database)


@pytest.fixture
def caller(settings: Settings, watched: WatchedObjects, module_database: Database) -> Iterator[Caller]:
    app = create_app(settings)
    app.state.services = replace(app.state.services, objects=watched)
    with TestClient(app) as client:
        yield make_caller(client, module_database, places=("s3://videos/",))


def test_nothing_is_held_while_the_store_is_asked(
    caller: Caller, watched: WatchedObjects, clip: Callable[..., str]
) -> None:
    uri = clip("t/one.mp4")
    assert caller.post("/v1/jobs", {"uri": uri}).status_code == 202
    listed = clip("t/list.csv", b"uri\ns3://videos/t/one.mp4\n")
    for source in ({"manifest": listed}, {"prefix": "s3://videos/t/"}):
        assert caller.post("/v1/batches", {"name": "x", **source}).status_code == 202
        assert caller.post("/v1/batches:preview", {"name": "x", **source}).status_code == 200
    upload = caller.post("/v1/uploads", {"content_type": "video/mp4", "size_bytes": 5}).json()["id"]
    assert reason_of(caller.post(f"/v1/uploads/{upload}:complete")) == (409, "STATE_CONFLICT")
    assert len(watched.seen) >= 6  # a list is looked at before each of its parts
    assert not any(watched.seen)


def test_work_under_a_key_is_one_transaction_that_may_be_idle_for_long(
    caller: Caller, watched: WatchedObjects, clip: Callable[..., str], module_database: Database
) -> None:
    assert caller.post("/v1/jobs", {"uri": clip("t/two.mp4")}, {"Idempotency-Key": "k"}).status_code == 202
    assert watched.seen == [1]
    asked = text("SELECT current_setting('idle_in_transaction_session_timeout')::interval")
    with module_database.transaction(tenant_id=caller.tenant_id) as session:
        before = session.scalar(asked).total_seconds()
        lock_key(session, caller.tenant_id, "long")
        during = session.scalar(asked).total_seconds()
    with module_database.transaction(tenant_id=caller.tenant_id) as session:
        after = session.scalar(asked).total_seconds()
    assert (before, during, after) == (120, WORK_S_MAX, 120)


def test_a_manifest_that_is_too_long_is_refused_before_it_is_read(
    caller: Caller, clip: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = clip("t/rows.csv", b"uri\n" + b"".join(b"s3://videos/t/%d\n" % n for n in range(10_001)))
    answer = caller.post("/v1/batches", {"name": "x", "manifest": rows})
    assert reason_of(answer) == (413, "REQUEST_TOO_LARGE")
    monkeypatch.setattr("api.routes.batches.MANIFEST_BYTES_MAX", 8 << 20)
    large = clip("t/large.csv", b"uri\n" + b"x" * (8 << 20))
    assert reason_of(caller.post("/v1/batches", {"name": "x", "manifest": large})) == (
        413,
        "SOURCE_TOO_LARGE",
    )
    assert caller.get("/v1/batches").json()["data"] == []
