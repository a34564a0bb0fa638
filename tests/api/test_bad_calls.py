"""Bad calls of the security design that any route meets; ``tests/attacks.py`` says where each one is made."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.waiting import WAIT_S_MAX
from fakesieve.records.tenants import revoke_key
from tests.api.callers import Caller, make_caller, make_settings, reason_of
from tests.waiting import PATIENCE_S, wait_until

JSON = {"Content-Type": "application/json"}


def send_raw(caller: Caller, body: bytes, **headers: str):
    return caller.client.post(
        "/v1/jobs", content=body, headers={"Authorization": f"Bearer {caller.secret}", **JSON, **headers}
    )


def test_a01_no_key(app_client):
    answer = app_client.get("/v1/jobs")
    assert reason_of(answer) == (401, "UNAUTHENTICATED")
    assert answer.headers["www-authenticate"] == 'Bearer realm="fakesieve"'


@pytest.mark.parametrize(
    "header", ["Bearer x", "Bearer ", "Basic YTpi", "Bearer fsk_" + "g" * 64, "bearer", "Bearer é"]
)
def test_a02_a_malformed_key(app_client, header):
    answer = app_client.get("/v1/jobs", headers={b"Authorization": header.encode("latin-1")})
    assert reason_of(answer) == (401, "UNAUTHENTICATED")


def test_a02_a_key_in_the_address_is_none(acme):
    assert acme.client.get("/v1/jobs", params={"key": acme.secret}).status_code == 401


def test_a03_a_revoked_key(acme):
    made = acme.post("/v1/keys", {"name": "x", "scopes": ["jobs:read"]}).json()
    acme.post(f"/v1/keys/{made['id']}:revoke")
    late = Caller(acme.client, acme.tenant_id, made["id"], made["secret"])
    assert reason_of(late.get("/v1/jobs")) == (401, "UNAUTHENTICATED")


def test_a04_an_expired_key(app_client, module_database):
    over = datetime.now(UTC) - timedelta(seconds=1)
    caller = make_caller(app_client, module_database, expire_time=over)
    assert reason_of(caller.get("/v1/jobs")) == (401, "UNAUTHENTICATED")


SCOPED = [
    ("POST", "/v1/jobs", "jobs:write"),
    ("GET", "/v1/jobs", "jobs:read"),
    ("POST", "/v1/jobs/job_1:cancel", "jobs:write"),
    ("POST", "/v1/jobs/job_1:retry", "jobs:write"),
    ("GET", "/v1/jobs/job_1", "jobs:read"),
    ("GET", "/v1/jobs/job_1/events", "jobs:read"),
    ("POST", "/v1/batches", "jobs:write"),
    ("GET", "/v1/batches", "jobs:read"),
    ("GET", "/v1/batches/bat_1", "jobs:read"),
    ("GET", "/v1/batches/bat_1/events", "jobs:read"),
    ("POST", "/v1/batches/bat_1:cancel", "jobs:write"),
    ("POST", "/v1/batches/bat_1:retry", "jobs:write"),
    ("POST", "/v1/uploads", "jobs:write"),
    ("GET", "/v1/uploads/upl_1", "jobs:read"),
    ("POST", "/v1/uploads/upl_1:complete", "jobs:write"),
    ("POST", "/v1/uploads/upl_1:sign", "jobs:write"),
    ("GET", "/v1/videos", "results:read"),
    ("GET", "/v1/videos/vid_1", "results:read"),
    ("PATCH", "/v1/videos/vid_1", "jobs:write"),
    ("POST", "/v1/keys", "keys:admin"),
    ("GET", "/v1/keys", "keys:admin"),
    ("GET", "/v1/keys/key_1", "keys:admin"),
    ("POST", "/v1/keys/key_1:revoke", "keys:admin"),
    ("POST", "/v1/keys/key_1:rotate", "keys:admin"),
    ("GET", "/v1/usage", "usage:read"),
]


def test_a05_a_key_without_the_scope_is_told_which(app_client, module_database):
    caller = make_caller(app_client, module_database, scopes=frozenset())
    for method, path, scope in SCOPED:
        answer = caller.send(method, path, None if method == "GET" else {})
        assert reason_of(answer) == (403, "MISSING_SCOPE"), path
        assert scope in answer.json()["detail"], path


def test_a06_a08_nothing_of_another_tenant_is_seen(acme, other, clip, store):
    uri = clip("a06/one.mp4")
    job = acme.post("/v1/jobs", {"uri": uri}).json()["id"]
    batch = acme.post("/v1/batches", {"name": "x", "items": [{"uri": uri}]}).json()["id"]
    upload = acme.post("/v1/uploads", {"content_type": "video/mp4", "size_bytes": 5}).json()["id"]
    paths = [
        ("GET", f"/v1/jobs/{job}"), ("GET", f"/v1/jobs/{job}/events"), ("POST", f"/v1/jobs/{job}:cancel"),
        ("POST", f"/v1/jobs/{job}:retry"), ("GET", f"/v1/batches/{batch}"),
        ("GET", f"/v1/batches/{batch}/events"), ("POST", f"/v1/batches/{batch}:cancel"),
        ("POST", f"/v1/batches/{batch}:retry"), ("GET", f"/v1/uploads/{upload}"),
        ("POST", f"/v1/uploads/{upload}:complete"), ("POST", f"/v1/uploads/{upload}:sign"),
        ("GET", f"/v1/keys/{acme.key_id}"), ("POST", f"/v1/keys/{acme.key_id}:revoke"),
        ("POST", f"/v1/keys/{acme.key_id}:rotate"),
    ]  # fmt: skip
    for method, path in paths:
        theirs, nobodys = (
            other.send(method, path),
            other.send(method, path.replace(path.split("/")[3][:30], "x_1")),
        )
        assert reason_of(theirs) == (404, "NOT_FOUND"), path
        assert theirs.json()["hint"] == nobodys.json()["hint"]
    for path in ("/v1/jobs", "/v1/batches", "/v1/videos"):
        assert other.get(path).json()["data"] == []
        assert other.get(path, tenant_id=acme.tenant_id).json()["data"] == []  # A08: no such filter
    assert reason_of(other.post("/v1/jobs", {"upload_id": upload})) == (404, "NOT_FOUND")
    assert acme.get(f"/v1/jobs/{job}").json()["state"] == "queued"


def test_a06_a_tenant_names_no_object_of_another(acme, other, clip):
    for uri in (
        f"s3://videos/uploads/{acme.tenant_id}/upl_1",
        f"s3://videos/exports/{acme.tenant_id}/all.csv",
        "s3://videos/.fakesieve/sweeps/x.json",
        "s3://elsewhere/clip.mp4",
    ):
        assert reason_of(other.post("/v1/jobs", {"uri": uri})) == (403, "SOURCE_ACCESS_DENIED"), uri


def test_a_key_that_the_store_does_not_take_is_no_outage(acme):
    answer = acme.post("/v1/jobs", {"uri": "s3://videos/../x"})
    assert reason_of(answer) == (422, "SOURCE_NOT_FOUND")


def test_a06_the_token_of_one_tenant_opens_no_page_of_another(acme, other, clip):
    uri = clip("a06/two.mp4")
    for caller in (acme, other):
        for _ in range(2):
            caller.post("/v1/jobs", {"uri": uri})
    token = acme.get("/v1/jobs", page_size=1).json()["next_page_token"]
    assert reason_of(other.get("/v1/jobs", page_token=token)) == (422, "INVALID_PAGE_TOKEN")


def test_a07_who_guesses_ids_is_stopped(app_client, module_database):
    caller = make_caller(app_client, module_database)
    for number in range(100):
        assert reason_of(caller.get(f"/v1/videos/vid_{number}")) == (404, "NOT_FOUND")
    for number in range(1000):  # one a second is forgiven, however slow this machine is
        if (answer := caller.get(f"/v1/videos/vid_{number}")).status_code == 429:
            break
    assert reason_of(answer) == (429, "RATE_LIMITED")
    assert int(answer.headers["retry-after"]) >= 1
    assert caller.get("/v1/videos").status_code == 200


@pytest.mark.parametrize("field", ["state", "score", "tenant_id", "pipeline_version", "__proto__"])
def test_a09_fields_that_are_not_the_callers_are_refused(acme, field):
    answer = acme.post("/v1/jobs", {"uri": "s3://videos/x", field: 1})
    assert reason_of(answer) == (422, "INVALID_REQUEST")
    assert answer.json()["errors"][0] == {
        "pointer": f"/{field}", "code": "unknown_field", "detail": "Extra inputs are not permitted",
    }  # fmt: skip


def test_a10_a_body_of_100_mb_is_not_read(acme):
    assert reason_of(send_raw(acme, b" " * 100_000_000)) == (413, "REQUEST_TOO_LARGE")


def test_a10_a_body_that_does_not_say_its_length_is_cut_off(acme):
    answer = acme.client.post(
        "/v1/jobs",
        content=(b" " * 1_000_000 for _ in range(8)),
        headers={"Authorization": f"Bearer {acme.secret}", **JSON},
    )
    assert reason_of(answer) == (413, "REQUEST_TOO_LARGE")


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/xml", "multipart/form-data; boundary=x", "application/json; charset=utf-16"],
)
def test_a14_another_content_type(acme, kind):
    assert reason_of(send_raw(acme, b"{}", **{"Content-Type": kind})) == (415, "UNSUPPORTED_MEDIA_TYPE")


ATTACKS = ["'; DROP TABLE job; --", "1 OR 1=1", "' UNION SELECT secret --", "%00", "\\", "pg_sleep(5)"]


@pytest.mark.parametrize("attack", ATTACKS)
def test_a15_sql_in_every_place_is_text(acme, attack):
    for query in ({"page_token": attack}, {"state": attack}, {"batch_id": attack}, {"page_size": attack}):
        answer = acme.send("GET", "/v1/jobs", None, None, **query)
        assert answer.status_code in (200, 422), query
    assert acme.get(f"/v1/jobs/{attack}").status_code in (404, 422)
    assert acme.get("/v1/videos", external_id=attack).json().get("data", []) == []


def test_a16_a_tampered_cursor_is_refused(acme, clip):
    uri = clip("a16.mp4")
    for _ in range(2):
        acme.post("/v1/jobs", {"uri": uri})
    token = acme.get("/v1/jobs", page_size=1).json()["next_page_token"]
    another_start = ("B" if token[0] == "A" else "A") + token[1:]
    for wrong in (token[:-1], another_start, token + "A", token[::-1], "é", ""):
        assert reason_of(acme.get("/v1/jobs", page_token=wrong)) == (422, "INVALID_PAGE_TOKEN"), wrong


def test_a17_a_page_size_out_of_range(acme):
    assert reason_of(acme.get("/v1/jobs", page_size=-1)) == (422, "INVALID_REQUEST")
    assert acme.get("/v1/jobs", page_size=10**9).status_code == 200
    assert acme.get("/v1/jobs", page_size=10**30).status_code == 200


def test_a18_a19_a20_foreign_text_comes_back_as_text(acme, clip, capfd):
    title = '<script>alert(1)</script>\r\nSet-Cookie: a=b\r\n\x1b[31m{"level":"error"}'
    job = acme.post("/v1/jobs", {"uri": clip("a18.mp4"), "external_id": title})
    assert job.json()["external_id"] == title
    assert job.headers["content-type"] == "application/json"
    assert job.headers["x-content-type-options"] == "nosniff"
    assert job.headers["content-security-policy"].startswith("default-src 'none'")
    answer = acme.get("/v1/whoami", headers={"X-Request-Id": "a\tb<x>"})
    assert answer.headers["x-request-id"].startswith("req_")
    capfd.readouterr()
    assert acme.get("/v1/jobs/none%0d%0alevel=error%20forged%1b%5b31m").status_code == 404
    logged = "".join(capfd.readouterr())
    (line,) = [line for line in logged.splitlines() if "forged" in line]
    assert "api.answered" in line  # its own line is the only one
    assert "\x1b[31m" not in line


def test_a44_one_key_fifty_times_at_once_is_one_job(acme, clip, monkeypatch):
    monkeypatch.setattr("api.slots._WAIT_S", PATIENCE_S)  # as many wait for a turn on a busy machine
    uri, answers = clip("a44.mp4"), []

    def send() -> None:
        answers.append(acme.post("/v1/jobs", {"uri": uri}, {"Idempotency-Key": "a44"}))

    threads = [threading.Thread(target=send) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [answer for answer in answers if answer.status_code == 202]
    rest = {reason_of(answer) for answer in answers if answer.status_code != 202}
    assert rest <= {(409, "REQUEST_IN_PROGRESS")}
    assert len({answer.json()["id"] for answer in done}) == 1
    assert len(acme.get("/v1/jobs").json()["data"]) == 1


def test_a45_over_the_rate_is_told_when_to_come_again(postgres, s3, module_database_name, module_database):
    settings = make_settings(postgres, s3, module_database_name, api_burst=3, api_rate_per_s=0.001)
    with TestClient(create_app(settings)) as client:
        loud, quiet = (make_caller(client, module_database) for _ in range(2))
        answers = [loud.get("/v1/whoami") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[0].headers["ratelimit-policy"] == '"default";q=3;w=3000'
        assert answers[0].headers["ratelimit"].startswith('"default";r=2;t=')
        assert 900 <= int(answers[3].headers["retry-after"]) <= 1000
        assert reason_of(answers[3]) == (429, "RATE_LIMITED")
        assert answers[3].json()["retryable"]
        known = quiet.get("/v1/whoami")
        assert known.status_code == 200
        with module_database.transaction(tenant_id=None) as session:
            for answer in (answers[0], known):
                assert revoke_key(session, answer.json()["key_id"])
        assert loud.get("/v1/whoami").status_code == 429  # not even looked up: others would wait for that
        assert quiet.get("/v1/whoami").status_code == 401


def test_a47_a_job_that_has_ended_is_not_cancelled(acme, clip):
    job = acme.post("/v1/jobs", {"uri": clip("a47.mp4")}).json()["id"]
    acme.post(f"/v1/jobs/{job}:cancel")
    assert reason_of(acme.post(f"/v1/jobs/{job}:cancel")) == (409, "STATE_CONFLICT")


def test_a48_a_list_that_is_too_long(acme):
    items = [{"uri": f"s3://videos/{n}"} for n in range(1001)]
    answer = acme.post("/v1/batches", {"name": "x", "items": items})
    assert reason_of(answer) == (413, "REQUEST_TOO_LARGE")
    items = [{"uri": f"s3://videos/a-longer-name-of-a-file-{n}"} for n in range(100_001)]
    answer = acme.post("/v1/batches", {"name": "x", "items": items})
    assert reason_of(answer) == (413, "REQUEST_TOO_LARGE")


@pytest.mark.parametrize("method", ["TRACE", "PUT", "DELETE", "PATCH", "FOO"])
def test_a49_other_methods_are_refused_and_none_is_overridden(acme, method):
    answer = acme.send(method, "/v1/jobs", None, {"X-HTTP-Method-Override": "GET"})
    assert reason_of(answer) == (405, "METHOD_NOT_ALLOWED")
    assert set(answer.headers["allow"].split(", ")) <= {"GET", "POST"}


@pytest.mark.parametrize(
    "path", ["/v0/jobs", "/docs", "/redoc", "/openapi.json", "/v1/", "/v1/debug", "/.env"]
)
def test_api9_there_is_nothing_beside_the_routes(app_client, path):
    assert reason_of(app_client.get(path)) == (404, "NOT_FOUND")


def test_api8_no_other_origin_is_let_in(acme):
    answer = acme.get("/v1/whoami", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_a61_event_streams_of_a_tenant_are_limited(postgres, s3, module_database_name, module_database, clip):
    settings = make_settings(postgres, s3, module_database_name, api_streams_max=1)
    with TestClient(create_app(settings)) as client:
        caller = make_caller(client, module_database, places=("s3://videos/",))
        quiet = make_caller(client, module_database, places=("s3://videos/",))
        job, theirs = (
            each.post("/v1/jobs", {"uri": clip("a61.mp4")}).json()["id"] for each in (caller, quiet)
        )
        waiting = threading.Thread(target=caller.get, args=(f"/v1/jobs/{job}",), kwargs={"wait": WAIT_S_MAX})
        waiting.start()
        wait_until(lambda: client.app.state.services.limits.streams.count(caller.tenant_id))
        assert reason_of(caller.get(f"/v1/jobs/{job}/events")) == (429, "RATE_LIMITED")
        assert caller.get(f"/v1/jobs/{job}").status_code == 200
        assert quiet.get(f"/v1/jobs/{theirs}", wait=0.1).status_code == 200
        assert caller.post(f"/v1/jobs/{job}:cancel").status_code == 200
        waiting.join()


def test_a_fault_of_ours_tells_nothing_and_is_logged(app_client, acme, monkeypatch, caplog):
    def fail(*_args: object, **_named: object) -> None:
        raise RuntimeError("secret of the house")

    monkeypatch.setattr("api.routes.jobs.list_jobs", fail)
    answer = acme.get("/v1/jobs")
    assert reason_of(answer) == (500, "INTERNAL")
    assert "secret of the house" not in answer.text
    assert answer.json()["retryable"] is False


def test_every_answer_carries_its_request_and_trace(acme):
    trace = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    answer = acme.get("/v1/whoami", headers={"X-Request-Id": "mine-1", "traceparent": trace})
    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.headers["traceparent"].startswith("00-" + "ab" * 16)
    assert not answer.headers["traceparent"].startswith(trace[:52])
    assert len(acme.get("/v1/whoami", headers={"traceparent": "x"}).headers["traceparent"]) == 55


def test_an_answer_that_the_caller_has_is_not_sent_again(acme):
    first = acme.get("/v1/limits")
    again = acme.get("/v1/limits", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert acme.get("/v1/limits", headers={"If-None-Match": '"x"'}).status_code == 200
    assert json.loads(first.text) == acme.get("/v1/limits").json()
