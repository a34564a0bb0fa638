"""Keys over HTTP: made, rotated with an overlap, revoked; limits, usage and health."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from fakesieve.records.tenants import hash_key
from fakesieve.scopes import Scope
from tests.api.callers import Caller, make_caller, reason_of


def as_caller(caller: Caller, made: dict) -> Caller:
    return Caller(caller.client, caller.tenant_id, made["id"], made["secret"])


def test_a_key_knows_what_it_may_do(acme):
    found = acme.get("/v1/whoami").json()
    assert found["key_id"] == acme.key_id
    assert found["tenant_id"] == acme.tenant_id
    assert found["scopes"] == sorted(scope.value for scope in Scope)


def test_a_new_key_works_and_its_secret_is_shown_once(acme, module_database):
    made = acme.post("/v1/keys", {"name": "ci", "scopes": ["jobs:read"]}).json()
    assert made["secret"].startswith(made["shown"])
    assert as_caller(acme, made).get("/v1/jobs").status_code == 200
    assert acme.get(f"/v1/keys/{made['id']}").json()["secret"] is None
    listed = acme.get("/v1/keys").json()["data"]
    assert [key["id"] for key in listed] == [made["id"], acme.key_id]
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        actions = session.scalars(
            text("SELECT action FROM audit_log WHERE subject = :id"), {"id": made["id"]}
        )
        assert actions.all() == ["key.created"]


def test_a_key_gives_no_scope_that_it_lacks(app_client, module_database, acme):
    admin = make_caller(
        app_client, module_database, tenant_id=acme.tenant_id, scopes=frozenset({"keys:admin", "jobs:read"})
    )
    assert admin.post("/v1/keys", {"name": "less", "scopes": ["jobs:read"]}).status_code == 201
    answer = admin.post("/v1/keys", {"name": "more", "scopes": ["erase:write"]})
    assert reason_of(answer) == (403, "MISSING_SCOPE")
    assert reason_of(admin.post(f"/v1/keys/{acme.key_id}:rotate")) == (403, "MISSING_SCOPE")


def test_a_rotated_key_works_beside_the_new_one_until_the_overlap_is_over(acme):
    old = acme.post("/v1/keys", {"name": "ci", "scopes": ["jobs:read"]}).json()
    answer = acme.post(f"/v1/keys/{old['id']}:rotate", {"overlap_s": 3600})
    new = answer.json()
    assert answer.status_code == 201
    assert (new["name"], new["scopes"], new["expire_time"]) == ("ci", ["jobs:read"], None)
    shown = acme.get(f"/v1/keys/{old['id']}").json()
    assert shown["next_key_id"] == new["id"]
    assert shown["is_active"]
    left = datetime.fromisoformat(shown["expire_time"]) - datetime.now(UTC)
    assert timedelta(minutes=50) < left < timedelta(minutes=61)
    assert as_caller(acme, old).get("/v1/jobs").status_code == 200
    assert as_caller(acme, new).get("/v1/jobs").status_code == 200
    acme.post(f"/v1/keys/{new['id']}:rotate", {"overlap_s": 0})
    assert reason_of(as_caller(acme, new).get("/v1/jobs")) == (401, "UNAUTHENTICATED")


def test_a_key_is_kept_without_its_secret_under_an_idempotency_key(acme):
    headers = {"Idempotency-Key": "key-1"}
    body = {"name": "ci", "scopes": ["jobs:read"]}
    first, second = (acme.post("/v1/keys", body, headers).json() for _ in range(2))
    assert first["secret"]
    assert second == {**first, "secret": None}


def test_a_revoked_key_is_not_rotated(acme):
    made = acme.post("/v1/keys", {"name": "ci", "scopes": ["jobs:read"]}).json()
    assert acme.post(f"/v1/keys/{made['id']}:revoke").json()["is_active"] is False
    assert reason_of(acme.post(f"/v1/keys/{made['id']}:revoke")) == (409, "STATE_CONFLICT")
    assert reason_of(acme.post(f"/v1/keys/{made['id']}:rotate")) == (409, "STATE_CONFLICT")


REFUSED_OTHERWISE = {
    "a list": ("/v1/analyses", {}),
    "nothing of that id": ("/v1/analyses/ana_none", {}),
    "a filter that cannot be read": ("/v1/analyses", {"filter": "nothing = 1"}),
    "a page of no size": ("/v1/analyses", {"page_size": 0}),
    "a scope that it lacks": ("/v1/keys", {}),
    "a route without a transaction": ("/v1/whoami", {}),
    "a job": ("/v1/jobs/job_none", {}),
    "a long poll": ("/v1/jobs/job_none", {"wait": 1}),
}


@pytest.mark.parametrize("way", REFUSED_OTHERWISE)
def test_a_known_key_that_is_revoked_is_told_so_at_once(acme, way: str):
    path, query = REFUSED_OTHERWISE[way]
    made = acme.post("/v1/keys", {"name": "ci", "scopes": ["jobs:read", "results:read"]}).json()
    revoked = as_caller(acme, made)
    assert revoked.get("/v1/jobs").status_code == 200
    assert acme.post(f"/v1/keys/{made['id']}:revoke").status_code == 200
    answer = revoked.get(path, **query)
    assert reason_of(answer) == (401, "UNAUTHENTICATED")
    assert "ratelimit" not in answer.headers


def test_a_known_key_of_a_closed_tenant_reads_nothing(app_client, module_database):
    caller = make_caller(app_client, module_database)
    assert caller.get("/v1/jobs").status_code == 200
    with module_database.transaction(tenant_id=None) as session:
        session.execute(text("UPDATE tenant SET is_active = false WHERE id = :id"), {"id": caller.tenant_id})
    assert reason_of(caller.get("/v1/jobs")) == (401, "UNAUTHENTICATED")


def test_rights_that_were_taken_away_are_not_used_once_more(app_client, module_database):
    caller = make_caller(app_client, module_database, scopes=frozenset({"jobs:read", "results:read"}))
    assert caller.get("/v1/jobs").status_code == 200
    with module_database.transaction(tenant_id=None) as session:
        change = text("UPDATE api_key SET scopes = '{results:read}' WHERE id = :id")
        session.execute(change, {"id": caller.key_id})
    assert reason_of(caller.get("/v1/jobs")) == (503, "DATABASE_UNAVAILABLE")
    assert reason_of(caller.get("/v1/jobs")) == (403, "MISSING_SCOPE")
    assert caller.get("/v1/analyses").status_code == 200


def test_rights_that_were_given_are_not_refused_by_what_was_known(app_client, module_database):
    caller = make_caller(app_client, module_database, scopes=frozenset({"results:read"}))
    assert reason_of(caller.get("/v1/jobs")) == (403, "MISSING_SCOPE")
    with module_database.transaction(tenant_id=None) as session:
        change = text("UPDATE api_key SET scopes = '{jobs:read}' WHERE id = :id")
        session.execute(change, {"id": caller.key_id})
    assert reason_of(caller.get("/v1/jobs")) == (503, "DATABASE_UNAVAILABLE")
    assert caller.get("/v1/jobs").status_code == 200


@pytest.mark.parametrize("way", ["a list", "a route without a transaction", "a scope that it lacks"])
def test_a_key_that_has_ended_is_a_strangers_from_then_on(acme, way: str):
    path, query = REFUSED_OTHERWISE[way]
    made = acme.post("/v1/keys", {"name": "ci", "scopes": ["jobs:read", "results:read"]}).json()
    revoked, known = as_caller(acme, made), acme.client.app.state.services.limits.known
    assert revoked.get("/v1/jobs").status_code == 200
    assert known.get(hash_key(made["secret"])) is not None
    assert acme.post(f"/v1/keys/{made['id']}:revoke").status_code == 200
    assert revoked.get(path, **query).status_code == 401
    assert known.get(hash_key(made["secret"])) is None


def test_a_key_that_would_be_over_is_not_made(acme):
    body = {"name": "x", "scopes": ["jobs:read"], "expire_time": "2020-01-01T00:00:00Z"}
    assert reason_of(acme.post("/v1/keys", body)) == (422, "INVALID_REQUEST")


def test_limits_name_what_a_request_may_bring(acme):
    limits = acme.get("/v1/limits").json()
    assert limits["places"] == ["s3://videos/"]
    assert (limits["batch_items"], limits["page_size"], limits["jobs_live"]) == (1000, 500, None)
    assert limits["rate"] == {"burst": 100_000, "per_s": 50.0}


def test_usage_is_the_sum_of_what_was_billed(acme, module_database):
    insert = text("INSERT INTO usage VALUES (:tenant, :job, :job, 1, :ms, now())")
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        for number, ms in enumerate((1500, 2500)):
            name = f"{acme.tenant_id}-{number}"
            session.execute(insert, {"tenant": acme.tenant_id, "job": name, "ms": ms})
    usage = acme.get("/v1/usage").json()
    assert (usage["jobs_live"], usage["month_video_ms"]) == (0, 4000)
    assert [(day["jobs"], day["video_ms"]) for day in usage["days"]] == [(2, 4000)]
    with module_database.transaction(tenant_id=None) as session:
        session.execute(text("UPDATE tenant SET month_ms_max = 4000 WHERE id = :id"), {"id": acme.tenant_id})
    assert reason_of(acme.post("/v1/jobs", {"uri": "s3://videos/x"})) == (403, "QUOTA_EXCEEDED")


def test_probes_need_no_key(app_client):
    for path in ("live", "ready", "started"):
        assert app_client.get(f"/health/{path}").json() == {"object": "health", "status": "ok"}


def test_a62_no_key_reads_the_figures(acme):
    assert reason_of(acme.get("/metrics")) == (403, "MISSING_SCOPE")
