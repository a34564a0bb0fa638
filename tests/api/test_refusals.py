"""What a caller costs that is refused: no route, no thread, no look at the database."""

from collections.abc import Iterator
from inspect import iscoroutinefunction

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from fakesieve.database import Database
from fakesieve.embedded.postgres import PostgresServer
from fakesieve.embedded.seaweed import SeaweedServer
from tests.api.callers import Caller, make_caller, make_settings, reason_of


@pytest.fixture
def client(postgres: PostgresServer, s3: SeaweedServer, module_database_name: str) -> Iterator[TestClient]:
    """An API that answers each key once."""
    settings = make_settings(postgres, s3, module_database_name, api_burst=1, api_rate_per_s=0.001)
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture
def loud(client: TestClient, module_database: Database) -> Caller:
    """A caller who has no request left."""
    caller = make_caller(client, module_database)
    assert caller.get("/v1/whoami").status_code == 200
    return caller


def test_a_key_over_its_rate_is_refused_before_its_route_is_looked_for(
    loud: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = loud.client.app
    monkeypatch.setattr(app.router, "routes", [])
    for method, path in (("GET", "/v1/jobs"), ("POST", "/v1/jobs"), ("GET", "/v1/nothing")):
        answer = loud.send(method, path)
        assert reason_of(answer) == (429, "RATE_LIMITED")
        assert answer.headers["ratelimit"].startswith('"default";r=0;t=')
        assert int(answer.headers["retry-after"]) > 900
    count = app.state.services.metrics.registry.get_sample_value
    labels = {"method": "GET", "route": "refused", "status": "429"}
    assert count("fakesieve_api_answers_total", labels) == 2
    assert count("fakesieve_api_problems_total", {"reason": "RATE_LIMITED"}) == 3


def test_a_key_over_its_rate_opens_what_wants_no_key(loud: Caller) -> None:
    assert loud.get("/v1/whoami").status_code == 429
    assert loud.get("/health/live").status_code == 200
    assert loud.get("/sign-in").status_code == 200


def test_others_are_answered_meanwhile(loud: Caller, module_database: Database) -> None:
    other = make_caller(loud.client, module_database, tenant_id=loud.tenant_id)
    assert loud.get("/v1/whoami").status_code == 429
    assert other.get("/v1/whoami").status_code == 200


def test_no_refusal_waits_for_a_thread(client: TestClient) -> None:
    handlers = client.app.exception_handlers
    assert [each for each in handlers.values() if not iscoroutinefunction(each)] == []
