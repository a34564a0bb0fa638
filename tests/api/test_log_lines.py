"""What the log keeps of a refusal: one line that says who was refused what and why, and no secret."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from fakesieve.database import Database
from fakesieve.embedded.postgres import PostgresServer
from fakesieve.embedded.seaweed import SeaweedServer
from tests.api.callers import Caller, make_caller, make_settings, reason_of
from tests.log_lines import logging_as_json, read_events

REQUEST_ID = "mine-1"
SECRET = "nobody-else-may-read-this"  # stands in query, cookie and body of each request
WRONG_KEY = "fsk_" + "0123456789abcdef" * 4


@dataclass(frozen=True)
class Asked:
    """A request that is refused. ``{key}`` in its path is the caller's own key, ``{upload}`` an upload."""

    status: int
    reason: str
    method: str
    path: str
    body: object = None
    headers: Mapping[str, str] | None = None
    route: str | None = None
    query: str = "tenant_id"
    """The name under which the secret stands in the query; this one is refused nowhere."""


UPLOAD = {"content_type": "video/mp4", "size_bytes": 5}
REFUSALS = (
    Asked(401, "UNAUTHENTICATED", "GET", "/v1/jobs", headers={"Authorization": f"Bearer {WRONG_KEY}"}),
    Asked(401, "UNAUTHENTICATED", "POST", "/v1/jobs", {"uri": SECRET}, {"Authorization": ""}),
    Asked(404, "NOT_FOUND", "GET", "/v1/jobs/{key}", route="/v1/jobs/{job_id}"),
    Asked(404, "NOT_FOUND", "GET", "/v1/nothing", route="unknown"),
    Asked(405, "METHOD_NOT_ALLOWED", "PUT", "/v1/jobs", {"uri": SECRET}, route="/v1/jobs"),
    Asked(
        *(409, "STATE_CONFLICT", "POST", "/v1/uploads/{upload}:complete"),
        route="/v1/uploads/{upload_id}:complete",
    ),
    Asked(413, "REQUEST_TOO_LARGE", "POST", "/v1/jobs", {"uri": SECRET * 400_000}),
    Asked(415, "UNSUPPORTED_MEDIA_TYPE", "POST", "/v1/jobs", {}, {"Content-Type": "text/plain"}),
    Asked(422, "INVALID_REQUEST", "POST", "/v1/jobs", {"uri": "s3://videos/x", SECRET[:6]: SECRET}),
    Asked(422, "INVALID_REQUEST", "GET", "/v1/jobs/{key}", query="signature", route="/v1/jobs/{job_id}"),
    Asked(422, "INVALID_REQUEST", "POST", "/v1/webhooks", {"url": f"https://u:{SECRET}@127.0.0.1/", "a": 1}),
)


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """The log of the application."""
    with logging_as_json() as stream:
        yield stream


def send(caller: Caller, asked: Asked) -> None:
    """Send the request, and look at the answer."""
    upload = caller.post("/v1/uploads", UPLOAD).json().get("id") if "{upload}" in asked.path else None
    path = asked.path.format(key=caller.secret, upload=upload)
    headers = {"X-Request-Id": REQUEST_ID, "Cookie": f"session={SECRET}", **(asked.headers or {})}
    answer = caller.send(asked.method, path, asked.body, headers, **{asked.query: SECRET})
    assert reason_of(answer) == (asked.status, asked.reason)
    assert answer.headers["x-request-id"] == REQUEST_ID


def check_line(written: io.StringIO, caller: Caller, asked: Asked) -> dict[str, object]:
    """Return the only line of the request; nothing that was written holds a secret."""
    (line,) = [line for line in read_events(written) if line.get("request") == REQUEST_ID]
    told = {name: line[name] for name in ("event", "level", "status", "reason", "method")}
    assert told == {
        "event": "api.answered",
        "level": "info",
        "status": asked.status,
        "reason": asked.reason,
        "method": asked.method,
    }
    for secret in (SECRET, WRONG_KEY, caller.secret):
        assert secret not in written.getvalue()
    return line


@pytest.mark.parametrize("asked", REFUSALS, ids=lambda asked: f"{asked.status} {asked.method} {asked.path}")
def test_a_refusal_leaves_one_line_and_no_secret_in_it(
    acme: Caller, written: io.StringIO, asked: Asked
) -> None:
    send(acme, asked)
    line = check_line(written, acme, asked)
    if asked.route is not None:
        assert line["route"] == asked.route
    is_known = asked.status != 401 and asked.route != "unknown" and asked.status != 405
    assert (line["caller"], line["tenant"]) == ((acme.key_id, acme.tenant_id) if is_known else (None, None))


def test_who_lacks_a_right_is_named_in_one_line(
    app_client: TestClient, module_database: Database, written: io.StringIO
) -> None:
    caller = make_caller(app_client, module_database, scopes=frozenset())
    asked = Asked(403, "MISSING_SCOPE", "POST", "/v1/keys", {"name": SECRET, "scopes": []})
    send(caller, asked)
    assert check_line(written, caller, asked)["caller"] == caller.key_id


@pytest.fixture
def strict_client(
    postgres: PostgresServer, s3: SeaweedServer, module_database_name: str
) -> Iterator[TestClient]:
    """An API of its own that answers each key once."""
    settings = make_settings(postgres, s3, module_database_name, api_burst=1, api_rate_per_s=0.001)
    with TestClient(create_app(settings)) as client:
        yield client


def test_who_is_over_the_rate_is_named_in_one_line(
    strict_client: TestClient, module_database: Database, written: io.StringIO
) -> None:
    caller = make_caller(strict_client, module_database)
    assert caller.get("/v1/whoami").status_code == 200
    asked = Asked(429, "RATE_LIMITED", "GET", "/v1/jobs/{key}")
    send(caller, asked)
    line = check_line(written, caller, asked)
    assert (line["caller"], line["route"]) == (caller.key_id, "refused")


def test_a07_who_guesses_ids_is_told_of_by_an_event_of_its_own(
    app_client: TestClient, module_database: Database, written: io.StringIO
) -> None:
    caller = make_caller(app_client, module_database)
    for number in range(100):
        caller.get(f"/v1/videos/vid_{number}")

    def list_alarms() -> list[dict[str, object]]:
        return [line for line in read_events(written) if line["event"] == "api.id_guessing"]

    assert list_alarms() == []
    for number in range(1000):  # one a second is forgiven, however slow this machine is
        if (answer := caller.get(f"/v1/videos/vid_{number}")).status_code == 429:
            break
    assert reason_of(answer) == (429, "RATE_LIMITED")
    (alarm,) = list_alarms()
    told = {name: alarm[name] for name in ("level", "key", "tenant", "request")}
    request_id = answer.headers["x-request-id"]
    assert told == {
        "level": "warning",
        "key": caller.key_id,
        "tenant": caller.tenant_id,
        "request": request_id,
    }


def test_who_guesses_keys_is_told_of_with_their_address(
    strict_client: TestClient, written: io.StringIO
) -> None:
    for _ in range(2000):
        answer = strict_client.get("/v1/jobs", headers={"Authorization": f"Bearer {WRONG_KEY}"})
        if answer.status_code == 429:
            break
    assert reason_of(answer) == (429, "RATE_LIMITED")
    (alarm,) = [line for line in read_events(written) if line["event"] == "api.key_guessing"]
    assert (alarm["level"], alarm["address"]) == ("warning", "testclient")
    assert WRONG_KEY not in written.getvalue()
