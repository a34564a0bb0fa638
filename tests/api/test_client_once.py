"""A file that is submitted under a key goes up once, whatever is cut off."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import text

from api.client import ApiProblem, ApiUnreachable, Client
from fakesieve.database import Database
from fakesieve.reasons import Reason
from tests.api.callers import Caller, make_caller
from tests.waiting import PATIENCE_S

CONTENT = b"bytes of a clip"
TRIES = 2


class Line(httpx2.HTTPTransport):
    """A connection that is cut before requests whose address ends so, and counts files that went through."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.files = "", 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if self.cut and request.url.path.endswith(self.cut):
            raise httpx2.ConnectError("cut")
        answer = super().handle_request(request)
        self.files += request.headers.get("content-type", "").startswith("multipart/") and answer.is_success
        return answer


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def client(url: str, acme: Caller, line: Line) -> Iterator[Client]:
    http = httpx2.Client(transport=line, timeout=PATIENCE_S)
    with Client(url, acme.secret, http=http, tries=TRIES, sleep=lambda _: None) as made:
        yield made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "clip.mp4"
    place.write_bytes(CONTENT)
    return place


def count_uploads(database: Database, caller: Caller) -> int:
    with database.transaction(tenant_id=caller.tenant_id) as session:
        return session.execute(text("SELECT count(*) FROM upload")).scalar_one()


def test_a_file_submitted_again_under_its_key_is_the_first_job(client, line, acme, path, module_database):
    first, second = (client.submit(path, idempotency_key="case 7") for _ in range(2))
    assert second.id == first.id
    assert first.source.etag == hashlib.md5(CONTENT).hexdigest()
    assert (line.files, count_uploads(module_database, acme)) == (1, 1)
    assert client.submit(path, idempotency_key="case 8").id != first.id


@pytest.mark.parametrize("cut", ["/videos", ":complete", "/v1/jobs"])
def test_a_file_that_was_cut_off_goes_on_where_it_was(client, line, acme, path, module_database, cut: str):
    """Before the file, behind the file, and behind the upload; the store takes files at its bucket."""
    line.cut = cut
    with pytest.raises(ApiUnreachable):
        client.submit(path, idempotency_key="k")
    line.cut = ""
    job = client.submit(path, idempotency_key="k")
    assert job.source.size_bytes == len(CONTENT)
    assert (line.files, count_uploads(module_database, acme)) == (1, 1)
    assert [each.id for each in client.jobs.iter()] == [job.id]


def test_other_bytes_under_the_key_are_a_conflict_that_names_it(client, line, path):
    job = client.submit(path, idempotency_key="case 7")
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(ApiProblem) as caught:
        client.submit(path, idempotency_key="case 7")
    assert caught.value.reason is Reason.IDEMPOTENCY_CONFLICT
    assert "'case 7' was used for another file than clip.mp4" in str(caught.value)
    assert line.files == 1
    assert [each.id for each in client.jobs.iter()] == [job.id]


def test_a_key_that_may_only_submit_is_answered_again(url, app_client, path, module_database):
    caller = make_caller(app_client, module_database, scopes=frozenset({"jobs:write"}))
    with Client(url, caller.secret, timeout_s=PATIENCE_S) as client:
        assert client.submit(path, idempotency_key="k").id == client.submit(path, idempotency_key="k").id
