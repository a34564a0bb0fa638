"""Webhooks over HTTP: registered, tried out, rotated, and never led inside."""

import pytest
from sqlalchemy import text
from standardwebhooks.webhooks import Webhook
from starlette.testclient import TestClient

from api.app import create_app
from fakesieve.database import Database
from fakesieve.webhooks.addresses import AddressRules
from tests.api.callers import Caller, make_caller, make_settings, reason_of
from tests.fakesieve.webhooks.test_addresses import REFUSED
from tests.receivers import LOCAL_NETWORKS, receiving
from tests.waiting import PATIENCE_S
from workers.deliver import Sender
from workers.webhook_post import PostRules

HOOK = {"url": "https://hooks.example.com/x", "event_types": ["job.succeeded", "review.decided"]}


@pytest.fixture(scope="module")
def local_client(postgres, s3, module_database_name):
    """An API that lets webhooks reach this machine."""
    settings = make_settings(postgres, s3, module_database_name, webhook_networks=",".join(LOCAL_NETWORKS))
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def test_an_address_is_registered_and_its_secret_shown_once(acme: Caller) -> None:
    made = acme.post("/v1/webhooks", HOOK)
    assert made.status_code == 201
    shown = made.json()
    assert shown["secret"].startswith("whsec_")
    listed = acme.get("/v1/webhooks").json()["data"]
    assert [line["id"] for line in listed] == [shown["id"]]
    assert "secret" not in listed[0]
    assert "whsec_" not in acme.get(f"/v1/webhooks/{shown['id']}").text


def test_a_test_message_reaches_the_receiver_and_its_log_is_read(
    local_client: TestClient, module_database: Database
) -> None:
    caller = make_caller(local_client, module_database)
    with receiving() as receiver:
        made = caller.post("/v1/webhooks", {"url": receiver.url}).json()
        sent = caller.post(f"/v1/webhooks/{made['id']}:test")
        assert (sent.status_code, sent.json()["state"]) == (202, "pending")
        with Sender(
            module_database, PostRules(AddressRules.allow(LOCAL_NETWORKS), PATIENCE_S, PATIENCE_S)
        ) as sender:
            sender.take_turn()
            sender.finish()
        (message,) = receiver.messages
        assert Webhook(made["secret"]).verify(message.body, dict(message.headers))["type"] == "webhook.test"
        log = caller.get("/v1/webhooks/deliveries", webhook_id=made["id"]).json()["data"]
        assert [(line["state"], line["attempts"][0]["status"]) for line in log] == [("succeeded", 204)]
        assert log[0]["event_id"] == message.headers["webhook-id"]
        path = f"/v1/webhooks/deliveries/{log[0]['id']}"
        assert caller.post(f"{path}:redeliver").json()["state"] == "pending"
        assert reason_of(caller.post(f"{path}:redeliver")) == (409, "STATE_CONFLICT")
        assert caller.get(path).json()["next_try_time"] is not None


def test_an_address_is_changed_switched_off_and_removed(acme: Caller) -> None:
    made = acme.post("/v1/webhooks", HOOK).json()
    path = f"/v1/webhooks/{made['id']}"
    changed = acme.send("PUT", path, {"url": "https://hooks.example.com/y", "description": "new"}).json()
    assert (changed["url"], changed["event_types"], changed["description"]) == (
        "https://hooks.example.com/y",
        [],
        "new",
    )
    assert acme.post(f"{path}:disable").json()["disable_reason"] == "owner"
    assert reason_of(acme.post(f"{path}:test")) == (409, "STATE_CONFLICT")
    assert acme.post(f"{path}:enable").json()["is_enabled"] is True
    assert acme.send("DELETE", path).status_code == 204
    assert reason_of(acme.get(path)) == (404, "NOT_FOUND")


def test_a_secret_is_rotated(acme: Caller, module_database: Database) -> None:
    made = acme.post("/v1/webhooks", HOOK).json()
    fresh = acme.post(f"/v1/webhooks/{made['id']}:rotate", {"overlap_s": 60}).json()
    assert fresh["secret"] != made["secret"]
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        held = session.execute(
            text("SELECT secret, expire_time IS NULL FROM webhook_secret ORDER BY version")
        )
        assert [tuple(row) for row in held] == [(made["secret"], False), (fresh["secret"], True)]
    for _ in range(3):
        acme.post(f"/v1/webhooks/{made['id']}:rotate", {"overlap_s": 60})
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        versions = session.scalars(text("SELECT version FROM webhook_secret ORDER BY version")).all()
    assert versions == [3, 4, 5]  # no message carries more signatures than that


@pytest.mark.parametrize("name", [name for name, url in REFUSED.items() if url])
def test_a21_to_a30_a35_a64_an_address_that_may_lead_inside_is_refused(acme: Caller, name: str) -> None:
    answer = acme.post("/v1/webhooks", {"url": REFUSED[name]})
    assert reason_of(answer) in {(422, "URL_NOT_ALLOWED"), (422, "INVALID_REQUEST")}
    assert acme.get("/v1/webhooks").json()["data"] == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": 5},
        {"url": "https://a.example/", "event_types": ["job.exploded"]},
        {"url": "https://a.example/", "description": "a\u0000b"},
        {"url": "https://a.example/", "secret": "whsec_mine"},
        {"url": "https://a.example/", "is_enabled": True},
    ],
)
def test_a09_what_is_no_webhook_is_refused(acme: Caller, body: dict[str, object]) -> None:
    assert reason_of(acme.post("/v1/webhooks", body)) == (422, "INVALID_REQUEST")


PATHS = [
    ("GET", "/v1/webhooks/{hook}", None),
    ("PUT", "/v1/webhooks/{hook}", HOOK),
    ("DELETE", "/v1/webhooks/{hook}", None),
    ("POST", "/v1/webhooks/{hook}:enable", None),
    ("POST", "/v1/webhooks/{hook}:disable", None),
    ("POST", "/v1/webhooks/{hook}:rotate", None),
    ("POST", "/v1/webhooks/{hook}:test", None),
    ("GET", "/v1/webhooks/deliveries/{delivery}", None),
    ("POST", "/v1/webhooks/deliveries/{delivery}:redeliver", None),
]


def test_a06_a08_nothing_of_another_tenant_is_seen_or_moved(acme: Caller, other: Caller) -> None:
    made = acme.post("/v1/webhooks", HOOK).json()
    delivery = acme.post(f"/v1/webhooks/{made['id']}:test").json()["id"]
    for method, path, body in PATHS:
        answer = other.send(method, path.format(hook=made["id"], delivery=delivery), body)
        assert reason_of(answer) == (404, "NOT_FOUND"), path
    for path in ("/v1/webhooks", "/v1/webhooks/deliveries"):
        assert other.get(path).json()["data"] == []
    assert other.get("/v1/webhooks/deliveries", webhook_id=made["id"]).json()["data"] == []
    shown = acme.get(f"/v1/webhooks/{made['id']}").json()
    assert (shown["url"], shown["is_enabled"]) == (HOOK["url"], True)


def test_a05_a_key_without_the_scope_is_told_which(app_client, module_database) -> None:
    caller = make_caller(app_client, module_database, scopes=frozenset())
    paths = [
        *PATHS,
        ("POST", "/v1/webhooks", {}),
        ("GET", "/v1/webhooks", None),
        ("GET", "/v1/webhooks/deliveries", None),
    ]
    for method, path, _ in paths:
        answer = caller.send(method, path, {} if method in ("POST", "PUT") else None)
        assert reason_of(answer) == (403, "MISSING_SCOPE"), path
        assert "webhooks:write" in answer.json()["detail"]


def test_there_are_twenty_at_most(acme: Caller) -> None:
    for _ in range(20):
        assert acme.post("/v1/webhooks", HOOK).status_code == 201
    assert reason_of(acme.post("/v1/webhooks", HOOK)) == (403, "QUOTA_EXCEEDED")
