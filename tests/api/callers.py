"""Callers of the API in tests: a tenant, a key, and the requests that it sends."""

import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from httpx2 import Response
from sqlalchemy import text
from starlette.testclient import TestClient

from fakesieve.database import Database
from fakesieve.embedded.postgres import APP_ROLE, PostgresServer
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.jobs.cancel import cancel_job
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.records.tenants import create_key
from fakesieve.scopes import ALL_SCOPES
from fakesieve.settings import LogLevel, Settings
from tests.factories import make_tenant
from tests.waiting import wait_until


def make_settings(postgres: PostgresServer, s3: SeaweedServer, database: str, **changes: object) -> Settings:
    """Settings of an API over real servers, in the role that answers requests."""
    values: dict[str, object] = {
        "database_url": postgres.url(APP_ROLE, database),
        "broker_url": "redis://127.0.0.1:1/0",
        "bucket": "videos",
        "s3_endpoint": s3.endpoint,
        "s3_access_key": s3.access_key,
        "s3_secret_key": s3.secret_key,
        "api_burst": 100_000,
        "token_key": "a key of the tests",
        "log_level": LogLevel.WARNING,
    }
    return Settings.model_validate(values | changes)


@dataclass(frozen=True)
class Caller:
    """A key and whoever it belongs to."""

    client: TestClient
    tenant_id: str
    key_id: str
    secret: str

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        **query: str | float,
    ) -> Response:
        """Send a request with the key."""
        return self.client.request(
            method,
            path,
            json=body,
            params=query or None,
            headers={"Authorization": f"Bearer {self.secret}", **(headers or {})},
        )

    def get(self, path: str, headers: Mapping[str, str] | None = None, **query: str | float) -> Response:
        """Send a GET."""
        return self.send("GET", path, None, headers, **query)

    def post(
        self, path: str, body: object = None, headers: Mapping[str, str] | None = None, **query: str | int
    ) -> Response:
        """Send a POST."""
        return self.send("POST", path, body, headers, **query)


def make_caller(
    client: TestClient,
    database: Database,
    *,
    tenant_id: str | None = None,
    scopes: frozenset[str] = ALL_SCOPES,
    places: Sequence[str] = (),
    expire_time: datetime | None = None,
) -> Caller:
    """Return a caller of a new tenant, or of one that is there."""
    owner = tenant_id or make_tenant(database, f"tenant-{uuid.uuid4().hex[:8]}")
    with database.transaction(tenant_id=None) as session:
        key = create_key(session, owner, "test", scopes, expire_time)
        if places:
            session.execute(
                text("UPDATE tenant SET places = :places WHERE id = :id"),
                {"places": list(places), "id": owner},
            )
    return Caller(client, owner, key.id, key.secret)


def cancel_when_followed(caller: Caller, database: Database, job_id: str) -> threading.Thread:
    """Cancel a job as soon as its tenant waits for one: whoever waits has looked once by then."""
    streams = caller.client.app.state.services.limits.streams

    def cancel() -> None:
        wait_until(lambda: streams.count(caller.tenant_id))
        cancel_job(SqlJobStore(database, caller.tenant_id), job_id)

    thread = threading.Thread(target=cancel)
    thread.start()
    return thread


def reason_of(answer: Response) -> tuple[int, str]:
    """Return status and reason of a refusal, after a look at its shape."""
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert set(document) == {
        *("type", "title", "status", "detail", "instance", "reason", "hint", "retryable", "request_id"),
        "errors",
    }
    assert document["status"] == answer.status_code
    assert document["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    return answer.status_code, document["reason"]
