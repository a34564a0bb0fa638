"""One key, one effect: replayed, refused for another body, and free again after a refusal."""

from dataclasses import replace

from sqlalchemy import text

from fakesieve.records.idempotency import KeptAnswer, find_answer, keep_answer, lock_key
from tests.api.callers import make_caller, reason_of

KEY = {"Idempotency-Key": "one"}


def test_a_request_sent_again_is_answered_again(acme, clip):
    body = {"uri": clip("i/one.mp4")}
    first, second = (acme.post("/v1/jobs", body, KEY) for _ in range(2))
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["content-type"] == "application/json"
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert len(acme.get("/v1/jobs").json()["data"]) == 1


def test_a43_another_body_under_the_key_is_refused(acme, clip):
    uri = clip("i/two.mp4")
    acme.post("/v1/jobs", {"uri": uri}, KEY)
    for body in ({"uri": uri, "lane": "bulk"}, {"uri": uri + "x"}):
        assert reason_of(acme.post("/v1/jobs", body, KEY)) == (422, "IDEMPOTENCY_CONFLICT")
    assert reason_of(acme.post("/v1/keys", {"name": "a", "scopes": ["jobs:read"]}, KEY)) == (
        422,
        "IDEMPOTENCY_CONFLICT",
    )


def test_a_refusal_leaves_the_key_free(acme, clip):
    assert acme.post("/v1/jobs", {"uri": "s3://videos/i/later.mp4"}, KEY).status_code == 422
    clip("i/later.mp4")
    assert acme.post("/v1/jobs", {"uri": "s3://videos/i/later.mp4"}, KEY).status_code == 202


def test_the_key_of_one_tenant_means_nothing_to_another(acme, other, clip):
    body = {"uri": clip("i/three.mp4")}
    first, second = acme.post("/v1/jobs", body, KEY), other.post("/v1/jobs", body, KEY)
    assert first.json()["id"] != second.json()["id"]


def test_a_key_in_use_is_told_so(acme, module_database):
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        assert lock_key(session, acme.tenant_id, "one")
        answer = acme.post("/v1/jobs", {"uri": "s3://videos/i/x.mp4"}, KEY)
    assert reason_of(answer) == (409, "REQUEST_IN_PROGRESS")
    assert (answer.headers["retry-after"], answer.json()["retryable"]) == ("1", True)


def test_a_key_that_cannot_be_kept_is_refused(acme):
    for key in ("x" * 201, "", "\x7f"):
        answer = acme.post("/v1/jobs", {"uri": "s3://videos/x"}, {"Idempotency-Key": key})
        assert reason_of(answer) == (422, "INVALID_REQUEST")


def test_what_failed_leaves_neither_work_nor_answer(acme, clip, monkeypatch, module_database):
    def fail(*_args: object) -> None:
        raise RuntimeError("the process dies here")

    monkeypatch.setattr("api.router.keep", fail)
    body = {"uri": clip("i/four.mp4")}
    assert acme.post("/v1/jobs", body, KEY).status_code == 500
    assert acme.get("/v1/jobs").json()["data"] == []
    monkeypatch.undo()
    assert acme.post("/v1/jobs", body, KEY).status_code == 202


def test_answers_are_kept_for_two_days(acme, module_database):
    answer = KeptAnswer("0" * 64, 200, {}, b"{}")
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        for key, age in (("young", "47 hours"), ("old", "49 hours")):
            keep_answer(session, acme.tenant_id, key, answer)
            session.execute(
                text(
                    "UPDATE idempotent_answer SET create_time = now() - CAST(:age AS interval)"
                    " WHERE key = :key"
                ),
                {"age": age, "key": key},
            )
        keep_answer(session, acme.tenant_id, "new", answer)
        session.expire_all()
        kept = [key for key in ("young", "old", "new") if find_answer(session, acme.tenant_id, key)]
    assert kept == ["young", "new"]


def test_an_answer_is_for_the_key_that_asked(acme, module_database):
    made = acme.post("/v1/keys", {"name": "a", "scopes": ["jobs:read"]}, KEY)
    weak = make_caller(
        acme.client, module_database, tenant_id=acme.tenant_id, scopes=frozenset({"jobs:read"})
    )
    answer = weak.post("/v1/keys", {"name": "a", "scopes": ["jobs:read"]}, KEY)
    assert reason_of(answer)[0] in (403, 422)
    assert made.json()["id"] not in answer.text


def test_no_secret_of_a_webhook_is_kept_with_an_answer(acme, module_database):
    body = {"url": "https://hooks.example.com/x"}
    made = acme.post("/v1/webhooks", body, {"Idempotency-Key": "hook"})
    path = f"/v1/webhooks/{made.json()['id']}:rotate"
    rotated = acme.post(path, None, {"Idempotency-Key": "turn"})
    assert made.json()["secret"].startswith("whsec_")
    assert rotated.json()["secret"].startswith("whsec_")
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        kept = session.scalars(text("SELECT convert_from(body, 'UTF8') FROM idempotent_answer")).all()
    assert len(kept) == 2
    assert not any("whsec_" in each for each in kept)
    again = acme.post("/v1/webhooks", body, {"Idempotency-Key": "hook"})
    assert (again.json()["id"], again.json()["secret"]) == (made.json()["id"], None)
    assert acme.post(path, None, {"Idempotency-Key": "turn"}).json()["secret"] is None


def test_a_key_that_took_over_is_answered_what_the_older_one_was(acme, clip):
    body = {"uri": clip("i/rotated.mp4")}
    first = acme.post("/v1/jobs", body, KEY)
    caller = acme
    for _ in range(2):
        made = caller.post(f"/v1/keys/{caller.key_id}:rotate", {}).json()
        caller = replace(caller, key_id=made["id"], secret=made["secret"])
    again = caller.post("/v1/jobs", body, KEY)
    assert (again.json()["id"], again.headers["idempotency-replayed"]) == (first.json()["id"], "true")
    assert reason_of(caller.post("/v1/jobs", body | {"lane": "bulk"}, KEY)) == (422, "IDEMPOTENCY_CONFLICT")


def test_the_lock_of_a_key_is_the_tenants_alone(acme, other, module_database):
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        assert lock_key(session, acme.tenant_id, "the same")
        with module_database.transaction(tenant_id=other.tenant_id) as theirs:
            assert lock_key(theirs, other.tenant_id, "the same")
        held = session.execute(
            text("SELECT objsubid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
        )
        # Of two numbers, so never one of the locks with one, such as that of an audit log.
        assert held.scalars().all() == [2]
