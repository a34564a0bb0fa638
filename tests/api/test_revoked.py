"""A key that is revoked while something of it is open: streams and long polls end at their next look."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx2
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.client import ApiProblem, Client
from api.services import Services
from api.waiting import WAIT_S_MAX
from fakesieve.reasons import Reason
from tests.api.callers import Caller, make_caller, make_settings, reason_of
from tests.api.served import serve_app
from tests.waiting import PATIENCE_S, wait_until

NOUNS = ("jobs", "batches")


@dataclass(frozen=True)
class Served:
    """An API behind a socket and a tenant of it."""

    url: str
    services: Services
    owner: Caller

    def submit(self, noun: str, uri: str) -> str:
        """Return the path of a new job, or of a batch of one; nobody works on it."""
        body = {"uri": uri} if noun == "jobs" else {"name": "x", "items": [{"uri": uri}]}
        return f"/v1/{noun}/{self.owner.post(f'/v1/{noun}', body).json()['id']}"

    def make_key(self) -> tuple[str, str]:
        """Return id and secret of one more key of the tenant."""
        made = self.owner.post("/v1/keys", {"name": "x", "scopes": ["jobs:read"]}).json()
        return made["id"], made["secret"]

    def revoke(self, key_id: str) -> None:
        assert self.owner.post(f"/v1/keys/{key_id}:revoke").status_code == 200

    def count_streams(self) -> int:
        return self.services.limits.streams.count(self.owner.tenant_id)


@pytest.fixture(scope="module")
def served(postgres, s3, module_database_name, module_database, store) -> Iterator[Served]:
    app = create_app(make_settings(postgres, s3, module_database_name))
    owner = make_caller(TestClient(app), module_database, places=("s3://videos/",))
    with serve_app(app) as url:
        yield Served(url, app.state.services, owner)


@pytest.mark.parametrize("noun", NOUNS)
def test_a_stream_ends_with_the_reason(served: Served, clip: Callable[[str], str], noun: str) -> None:
    path, (key_id, secret) = served.submit(noun, clip("revoked/one.mp4")), served.make_key()
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx2.stream("GET", f"{served.url}{path}/events", headers=headers, timeout=PATIENCE_S) as answer:
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(2)] == ["retry: 2000", "event: progress"]
        served.revoke(key_id)
        last = [line for line in lines if line.startswith(("event:", "data:"))][-2:]
    name, data = last
    told = json.loads(data.removeprefix("data: "))
    assert (name, told["status"], told["reason"], told["retryable"]) == (
        "event: problem",
        401,
        "UNAUTHENTICATED",
        False,
    )
    assert told["instance"] == f"{path}/events"
    wait_until(lambda: served.count_streams() == 0)


@pytest.mark.parametrize("noun", NOUNS)
def test_a_long_poll_is_answered_that_it_has_ended(
    served: Served, clip: Callable[[str], str], noun: str
) -> None:
    path, (key_id, secret) = served.submit(noun, clip("revoked/two.mp4")), served.make_key()
    answers = list[httpx2.Response]()

    def wait() -> None:
        headers, query = {"Authorization": f"Bearer {secret}"}, {"wait": WAIT_S_MAX}
        answers.append(httpx2.get(served.url + path, params=query, headers=headers, timeout=PATIENCE_S))

    waiting = threading.Thread(target=wait)
    waiting.start()
    wait_until(served.count_streams)
    served.revoke(key_id)
    waiting.join()
    assert reason_of(answers[0]) == (401, "UNAUTHENTICATED")
    assert served.count_streams() == 0


def test_the_client_says_why_its_stream_ended(served: Served, clip: Callable[[str], str]) -> None:
    path, (key_id, secret) = served.submit("jobs", clip("revoked/three.mp4")), served.make_key()
    http = httpx2.Client(timeout=PATIENCE_S)
    with Client(served.url, secret, http=http, tries=1) as client:
        changes = client.stream(path.rpartition("/")[2])
        assert next(changes).state == "queued"
        served.revoke(key_id)
        with pytest.raises(ApiProblem) as caught:
            next(changes)
    assert caught.value.reason is Reason.UNAUTHENTICATED


def test_a_key_in_force_is_looked_at_again_and_goes_on(served: Served, clip: Callable[[str], str]) -> None:
    path = served.submit("jobs", clip("revoked/four.mp4"))
    headers = {"Authorization": f"Bearer {served.owner.secret}"}
    with httpx2.stream("GET", f"{served.url}{path}/events", headers=headers, timeout=PATIENCE_S) as answer:
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(2)] == ["retry: 2000", "event: progress"]
        assert served.owner.post(f"{path}:cancel").status_code == 200
        assert [line for line in lines if line.startswith("event:")] == ["event: done"]
