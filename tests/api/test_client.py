"""The client against the real application, and against one that fails in every way."""

import hashlib
import io
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest

from api.calls.unreachable import unreachable
from api.client import ApiProblem, ApiUnreachable, Client, StillRunning
from api.schemas.keys import WhoAmI
from api.schemas.problems import ProblemDocument
from fakesieve.errors import RequestRefused, SetupRefused
from fakesieve.reasons import Reason
from fakesieve.records.analyses import store_analysis
from tests.api.callers import cancel_when_followed
from tests.factories import make_record, make_video
from tests.waiting import PATIENCE_S

PROBLEM = {
    "type": "urn:x",
    "title": "t",
    "status": 503,
    "detail": "d",
    "hint": "h",
    "reason": "DATABASE_UNAVAILABLE",
    "retryable": True,
}
ME = {"key_id": "key_1", "tenant_id": "ten_1", "scopes": [], "of_a_later_release": 1}

UPLOAD = {
    "id": "upl_1",
    "state": "waiting",
    "name": "clip.mp4",
    "content_type": "video/mp4",
    "size_bytes": 15,
    "size_bytes_max": 100,
    "sha256": None,
    "form": {"url": "http://store/videos", "fields": {"key": "x"}},
    "create_time": "2026-06-01T12:00:00Z",
    "expire_time": "2026-06-01T13:00:00Z",
    "complete_time": None,
    "purge_time": None,
}


@pytest.fixture
def client(acme, app_client) -> Client:
    return Client("http://testserver", acme.secret, http=app_client, sleep=lambda _: None)


def scripted(*steps: httpx2.Response | Exception) -> tuple[Client, list[httpx2.Request], list[float]]:
    """A client whose requests are answered by a script; the requests and the pauses are noted."""
    seen, pauses, left = list[httpx2.Request](), list[float](), list(steps)

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        step = left.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    return Client("http://api", "fsk_x", http=http, sleep=pauses.append, tries=3), seen, pauses


def test_an_object_is_submitted_waited_for_and_listed(client, acme, clip, module_database):
    job = client.submit(clip("client/one.mp4"), external_id="case 1")
    later = cancel_when_followed(acme, module_database, job.id)
    assert client.wait(job.id, timeout_s=PATIENCE_S).state == "cancelled"
    later.join()
    assert client.job(job.id).external_id == "case 1"
    assert client.retry(job.id).state == "queued"
    assert client.cancel(job.id, "enough").error.message == "enough"


def test_a_file_is_uploaded_and_submitted(acme, app_client, store, tmp_path):
    """The form leads past the application to the store, so the client has both behind it."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"bytes of a clip")
    outside = httpx2.Client(timeout=PATIENCE_S)

    def route(request: httpx2.Request) -> httpx2.Response:
        request.read()
        http = app_client if request.url.host == "testserver" else outside
        headers = {k: v for k, v in request.headers.items() if k != "host"}
        answer = http.request(request.method, str(request.url), content=request.content, headers=headers)
        return httpx2.Response(
            answer.status_code, content=answer.content, headers={"content-type": "application/json"}
        )

    http = httpx2.Client(transport=httpx2.MockTransport(route))
    with Client("http://testserver", acme.secret, http=http) as client:
        job = client.submit(path)
    assert job.source.size_bytes == len(b"bytes of a clip")
    assert job.source.etag == hashlib.md5(b"bytes of a clip").hexdigest()
    outside.close()


def test_a_wait_that_is_over_says_so(client, clip):
    job = client.submit(clip("client/two.mp4"))
    with pytest.raises(StillRunning):
        client.wait(job.id, timeout_s=0.1)


def test_a_job_is_followed_to_its_end(client, acme, clip, module_database):
    job = client.submit(clip("client/three.mp4"))
    later = cancel_when_followed(acme, module_database, job.id)
    assert [each.state for each in client.stream(job.id)] == ["queued", "cancelled"]
    later.join()


def stream(*names: str) -> httpx2.Response:
    """Events of these names, after which the connection ends in order."""
    text = "".join(f"event: {name}\ndata: {json.dumps(ME)}\n\n" for name in names)
    return httpx2.Response(200, text=text, headers={"content-type": "text/event-stream"})


def test_events_go_on_after_an_early_end_and_a_refusal_for_now():
    busy = httpx2.Response(503, json=PROBLEM, headers={"Retry-After": "7"})
    client, seen, pauses = scripted(stream("progress"), busy, stream("progress", "done"))
    assert [each.key_id for each in client.sender.follow("/v1/x", WhoAmI)] == ["key_1"] * 3
    assert len(seen) == 3
    assert 0.5 <= pauses[0] <= 1
    assert 7 <= pauses[1] <= 7.5


def test_events_that_never_come_are_given_up():
    client, seen, pauses = scripted(stream(), httpx2.ReadError("x"), stream())
    with pytest.raises(ApiUnreachable, match="broke off 3 times"):
        list(client.sender.follow("/v1/x", WhoAmI))
    assert (len(seen), len(pauses)) == (3, 2)


def test_events_that_are_refused_for_good_are_not_asked_for_again():
    client, seen, _ = scripted(httpx2.Response(404, json=PROBLEM | {"retryable": False}))
    with pytest.raises(ApiProblem):
        list(client.sender.follow("/v1/x", WhoAmI))
    assert len(seen) == 1


def test_a_file_that_the_store_refuses_is_not_sent_again(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"bytes of a clip")
    refusal = httpx2.Response(400, text="<Error><Code>EntityTooLarge</Code></Error>")
    client, seen, _ = scripted(httpx2.Response(200, json=UPLOAD), refusal)
    with pytest.raises(RequestRefused, match=r"takes no such file as clip\.mp4: EntityTooLarge"):
        client.upload(path)
    assert len(seen) == 2


def test_results_come_page_after_page(client, acme, module_database):
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        ids = [
            store_analysis(
                session, make_record(acme.tenant_id, make_video(session, acme.tenant_id, f"c{n}"))
            )[0]
            for n in range(3)
        ]
    assert {each.id for each in client.results.iter(page_size=1)} == set(ids)
    assert [each.id for each in client.results.iter(filter="score < 0")] == []
    assert client.results.get(ids[0]).id == ids[0]


def test_a_refusal_has_its_reason_and_is_not_tried_again(client):
    with pytest.raises(ApiProblem) as caught:
        client.job("job_nothing")
    assert caught.value.reason is Reason.NOT_FOUND
    assert "hint" in str(caught.value)


def test_what_may_be_tried_again_is_and_keeps_its_key():
    ready = httpx2.Response(200, json=ME)
    busy = httpx2.Response(503, json=PROBLEM, headers={"Retry-After": "7"})
    client, seen, pauses = scripted(httpx2.ConnectError("x"), busy, ready)
    assert client.sender.post("/v1/x", WhoAmI, {}).key_id == "key_1"
    assert len({request.headers["idempotency-key"] for request in seen}) == 1
    assert 0.5 <= pauses[0] <= 1
    assert 7 <= pauses[1] <= 7.5


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (lambda: httpx2.Response(503, json=PROBLEM), ApiProblem),
        (lambda: httpx2.ReadTimeout("x"), ApiUnreachable),
    ],
)
def test_after_every_try_it_says_why(step: Callable[[], object], error: type[Exception]):
    client, seen, _ = scripted(*(step() for _ in range(3)))
    with pytest.raises(error):
        client.whoami()
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("dry_run", "body"), [(False, {"alias": "champion"}), (True, {"alias": "champion", "dry_run": True})]
)
def test_a_roll_back_says_no_more_than_it_has_to(dry_run: bool, body: object):
    """An API of before ``dry_run`` refuses a body with it, and can roll back all the same."""
    refusal = PROBLEM | {"status": 409, "reason": "STATE_CONFLICT", "retryable": False}
    client, seen, _ = scripted(httpx2.Response(409, json=refusal))
    with pytest.raises(ApiProblem):
        client.models.roll_back(dry_run=dry_run)
    assert json.loads(seen[0].content) == body


def test_what_is_final_is_sent_once():
    final = httpx2.Response(
        422, json=PROBLEM | {"status": 422, "reason": "INVALID_REQUEST", "retryable": False}
    )
    client, seen, _ = scripted(final)
    with pytest.raises(ApiProblem):
        client.whoami()
    assert len(seen) == 1


def test_an_answer_of_somebody_else_is_told_apart():
    client, seen, _ = scripted(httpx2.Response(404, text="<html>Nothing here</html>"))
    with pytest.raises(ApiUnreachable, match="404"):
        client.whoami()
    assert len(seen) == 1


def sign_in_page() -> httpx2.Response:
    return httpx2.Response(
        200, text="<html>Sign in</html>", headers={"content-type": "text/html; charset=utf-8"}
    )


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (sign_in_page, "200 with text/html"),
        (lambda: httpx2.Response(200, content=b"OK", headers={"content-type": "text/plain"}), "text/plain"),
        (lambda: httpx2.Response(200), "api answered 200, which"),
    ],
)
@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.whoami(),
        lambda client: next(client.jobs.iter()),
        lambda client: client.cancel("job_1"),
        lambda client: client.videos.change("vid_1", external_id="x"),
    ],
)
def test_a_200_of_somebody_else_is_told_apart(ask, answer, told: str):
    """A proxy in between may want people to sign in, and says so with 200."""
    client, seen, _ = scripted(answer())
    with pytest.raises(ApiUnreachable, match=told) as caught:
        ask(client)
    assert "no proxy answers in its place" in str(caught.value)
    assert (len(seen), caught.value.is_retryable) == (1, False)


def test_json_that_is_no_page_of_a_list_is_named():
    client, _, _ = scripted(httpx2.Response(200, json=["a"]))
    with pytest.raises(ApiUnreachable, match="of this release"):
        next(client.jobs.iter())


class BreaksOff(httpx2.SyncByteStream):
    """The body of an answer whose connection ends in the middle."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"id,"
        raise httpx2.ReadError("reset")


def test_a_file_is_asked_for_again_until_it_begins():
    """It begins with a refused connection, a refusal for now and a gateway that does not reach the API."""
    limited = httpx2.Response(
        429, json=PROBLEM | {"status": 429, "reason": "RATE_LIMITED"}, headers={"Retry-After": "7"}
    )
    for first in (httpx2.ConnectError("refused"), limited, httpx2.Response(502, text="<html>")):
        client, seen, pauses = scripted(first, httpx2.Response(200, content=b"id,score\n"))
        output = io.BytesIO()
        assert client.results.write(output) == len(b"id,score\n")
        assert (output.getvalue(), len(seen), len(pauses)) == (b"id,score\n", 2, 1)
    client, seen, _ = scripted(*(httpx2.ConnectError("refused") for _ in range(3)))
    with pytest.raises(ApiUnreachable, match="cannot be reached: refused"):
        client.results.write(io.BytesIO())
    assert len(seen) == 3


def test_a_file_that_is_refused_for_good_or_is_no_file_is_asked_for_once():
    for answer in (httpx2.Response(422, json=PROBLEM | {"retryable": False}), sign_in_page()):
        client, seen, _ = scripted(answer)
        output = io.BytesIO()
        with pytest.raises((ApiProblem, ApiUnreachable)):
            client.results.write(output)
        assert (output.getvalue(), len(seen)) == (b"", 1)


def test_a_file_that_breaks_off_is_an_error_and_is_not_written_twice():
    client, seen, _ = scripted(httpx2.Response(200, stream=BreaksOff()))
    output = io.BytesIO()
    with pytest.raises(ApiUnreachable, match="broke off: reset"):
        client.results.write(output)
    assert (output.getvalue(), len(seen)) == (b"id,", 1)


def test_an_event_that_is_no_json_is_named():
    client, _, _ = scripted(httpx2.Response(200, text="event: progress\ndata: <html>\n\n"))
    with pytest.raises(ApiUnreachable, match="is no JSON") as caught:
        list(client.sender.follow("/v1/x", WhoAmI))
    assert not caught.value.is_retryable


def test_a_gateway_that_does_not_reach_the_api_is_asked_again():
    client, seen, _ = scripted(httpx2.Response(502, text="<html>"), httpx2.Response(200, json=ME))
    assert client.whoami().key_id == "key_1"
    assert len(seen) == 2


def test_a_pause_may_be_asked_for_as_a_date():
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    client, _, pauses = scripted(
        httpx2.Response(503, json=PROBLEM, headers={"Retry-After": soon}), httpx2.Response(200, json=ME)
    )
    client.whoami()
    assert 10 <= pauses[0] <= 50.5


def test_a_pause_longer_than_anybody_waits_ends_the_tries():
    client, seen, pauses = scripted(httpx2.Response(503, json=PROBLEM, headers={"Retry-After": "3600"}))
    with pytest.raises(ApiProblem):
        client.whoami()
    assert (len(seen), pauses) == (1, [])


def test_an_answer_that_this_release_cannot_read_is_named():
    client, _, _ = scripted(httpx2.Response(200, json={"key_id": 7}))
    with pytest.raises(ApiUnreachable, match="WhoAmI of this release: key_id"):
        client.whoami()


@pytest.mark.parametrize(
    "answer",
    [lambda: httpx2.Response(202, json={"id": "job_1", "state": "thawing"}), lambda: httpx2.Response(202)],
)
def test_an_answer_to_an_act_that_cannot_be_read_is_none_to_act_again_upon(answer):
    """The job is there: who went by the reason and asked again would have two."""
    client, seen, _ = scripted(answer())
    with pytest.raises(ApiUnreachable) as caught:
        client.submit("s3://videos/clip.mp4")
    told = caught.value
    assert (told.reason, told.reason.is_retryable, told.is_retryable) == (Reason.INTERNAL, False, False)
    assert len(seen) == 1


@pytest.mark.parametrize(
    "fault", [ApiProblem(ProblemDocument(**PROBLEM), 1.0), unreachable("nobody answers", pause_s=0.0)]
)
def test_its_errors_travel_between_processes(fault: ApiProblem | ApiUnreachable):
    arrived = pickle.loads(pickle.dumps(fault))
    assert (str(arrived), arrived.is_retryable) == (str(fault), True)


TELL_LOADED = """
import sys
import api.client
print(*(name for name in sys.argv[1:] if name in sys.modules))
"""


def test_importing_it_loads_nothing_of_the_fleet():
    heavy = ["sqlalchemy", "psycopg", "fastapi", "starlette", "numpy", "boto3", "celery", "typer", "uvicorn"]
    run = [sys.executable, "-c", TELL_LOADED, *heavy]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.split() == []


def test_fields_of_a_later_release_are_left_out():
    client, _, _ = scripted(httpx2.Response(200, json=ME))
    assert client.whoami().key_id == "key_1"


def test_without_an_address_or_a_key_there_is_no_client(monkeypatch):
    monkeypatch.delenv("FAKESIEVE_API_URL", raising=False)
    monkeypatch.setenv("FAKESIEVE_API_KEY", "fsk_x")
    with pytest.raises(SetupRefused, match="FAKESIEVE_API_URL"):
        Client()
