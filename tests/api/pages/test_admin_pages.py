"""Webhooks, keys and usage, and health."""

import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from standardwebhooks.webhooks import Webhook

from api.app import create_app
from fakesieve.database import Database
from fakesieve.embedded.postgres import APP_ROLE, PostgresServer
from fakesieve.jobs.rows import HostBeat
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.jobs.states import Lane
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.objects import VideoRef
from fakesieve.records.tenants import find_caller
from fakesieve.values.people import UserRole
from fakesieve.webhooks.addresses import AddressRules
from tests.api.pages.stage import BUCKET, Scene, enter, find_token, make_settings
from tests.receivers import LOCAL_NETWORKS, receiving
from tests.waiting import PATIENCE_S
from workers.deliver import Sender
from workers.webhook_post import PostRules


@pytest.fixture(scope="module")
def local_client(postgres: PostgresServer, module_database_name: str, scene: Scene) -> Iterator[TestClient]:
    """A browser at an installation that lets webhooks reach this machine."""
    settings = make_settings(
        postgres.url(APP_ROLE, module_database_name), webhook_networks=",".join(LOCAL_NETWORKS)
    )
    with TestClient(create_app(settings), headers={"Accept": "text/html"}) as found:
        yield found


def post(client: TestClient, page: str, path: str, **fields: object):
    return client.post(path, data={"form_token": find_token(client.get(page).text)} | fields)


def read_secret(html: str) -> str:
    found = re.search(r'id="secret">([^<]+)<', html)
    assert found is not None, html
    return found[1]


@pytest.mark.parametrize("address", ["/webhooks", "/keys", "/webhooks/whk_none", "/audit", "/audit/check"])
def test_these_pages_are_for_admins(client: TestClient, scene: Scene, address: str):
    enter(client, scene, UserRole.REVIEWER)
    assert client.get(address).status_code == 403


def test_a_webhook_is_added_tried_out_and_its_delivery_sent_again(
    local_client: TestClient, scene: Scene, module_database: Database
):
    enter(local_client, scene, UserRole.ADMIN)
    with (
        receiving() as receiver,
        Sender(
            module_database, PostRules(AddressRules.allow(LOCAL_NETWORKS), PATIENCE_S, PATIENCE_S)
        ) as sender,
    ):
        made = post(local_client, "/webhooks", "/webhooks", url=receiver.url, type="review.decided")
        secret = read_secret(made.text)
        assert secret.startswith("whsec_")
        page = re.findall(r'href="(/webhooks/whk_\w+)"', local_client.get("/webhooks").text)[0]
        assert secret not in local_client.get(page).text
        assert "is on its way" in post(local_client, page, f"{page}/test").text
        sender.take_turn()
        sender.finish()
        shown = local_client.get(page).text
        assert "HTTP 204" in shown
        assert "webhook.test" in shown
        again = re.findall(r'action="(/webhooks/deliveries/dlv_\w+/again)"', shown)[0]
        assert "under the same message id" in post(local_client, page, again).text
        sender.take_turn()
        sender.finish()
        first, second = receiver.messages
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert Webhook(secret).verify(first.body, dict(first.headers))["type"] == "webhook.test"
        fresh = read_secret(post(local_client, page, f"{page}/rotate").text)
        assert fresh != secret
        assert "switched off by hand" in post(local_client, page, f"{page}/disable").text
        assert post(local_client, page, f"{page}/test").status_code == 409
        assert "It is told again" in post(local_client, page, f"{page}/enable").text
        assert "was removed with its log" in post(local_client, page, f"{page}/remove").text
        assert local_client.get(page).status_code == 404


def test_an_address_inside_is_refused(client: TestClient, scene: Scene):
    enter(client, scene, UserRole.ADMIN)
    answer = post(client, "/webhooks", "/webhooks", url="https://127.0.0.1/x")
    assert answer.status_code == 422
    assert "URL_NOT_ALLOWED" in answer.text


def test_a_key_is_shown_once_rotated_and_revoked(client: TestClient, scene: Scene, module_database: Database):
    def read_scopes(secret: str) -> set[str] | None:
        with module_database.transaction(tenant_id=None) as session:
            found = find_caller(session, secret)
        return None if found is None else set(found.scopes)

    enter(client, scene, UserRole.ADMIN)
    made = post(client, "/keys", "/keys", name="nightly <b>", scope=["jobs:write", "jobs:read"], days="30")
    secret = read_secret(made.text)
    assert "nightly &lt;b&gt;" in made.text
    assert made.headers["cache-control"] == "no-store"
    assert read_scopes(secret) == {"jobs:write", "jobs:read"}
    listed = client.get("/keys").text
    assert secret not in listed
    assert secret[:10] in listed
    rotate = re.findall(r'action="(/keys/key_\w+/rotate)"', listed)[0]
    fresh = read_secret(post(client, "/keys", rotate).text)
    assert (read_scopes(secret), read_scopes(fresh)) == ({"jobs:write", "jobs:read"},) * 2
    revoke = rotate.replace("/rotate", "/revoke")
    assert "works no more" in post(client, "/keys", revoke).text
    assert read_scopes(secret) is None
    assert post(client, "/keys", revoke).status_code == 409


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"scope": []},
        {"scope": "all:write"},
        {"days": "-1"},
        {"days": "soon"},
        {"days": "9" * 30},
    ],
)
def test_half_a_key_is_refused(client: TestClient, scene: Scene, wrong: dict[str, object]):
    enter(client, scene, UserRole.ADMIN)
    fields = {"name": "k", "scope": "jobs:read", "days": "30"} | wrong
    assert post(client, "/keys", "/keys", **fields).status_code == 422


def test_keys_of_another_tenant_are_not_there(client: TestClient, scene: Scene, other_scene: Scene):
    enter(client, other_scene, UserRole.ADMIN)
    post(client, "/keys", "/keys", name="theirs", scope="jobs:read", days="")
    revoke = re.findall(r'action="(/keys/key_\w+/revoke)"', client.get("/keys").text)[0]
    enter(client, scene, UserRole.ADMIN)
    assert "theirs" not in client.get("/keys").text
    assert post(client, "/keys", revoke).status_code == 404


def test_usage_is_what_was_billed(client: TestClient, scene: Scene, module_database: Database):
    enter(client, scene, UserRole.ADMIN)
    assert "Nothing was billed" in client.get("/keys").text
    with module_database.transaction(tenant_id=None) as session:
        session.execute(
            text(
                "INSERT INTO usage (job_id, tenant_id, analysis_id, n_shards, duration_ms)"
                " VALUES ('job_1', :tenant, 'ana_1', 1, 90000)"
            ),
            {"tenant": scene.tenant_id},
        )
    page = client.get("/keys").text
    assert "<dd>1:30.0 of any length</dd>" in page
    assert page.count("<title>") - 1 == 31  # a bar for each day, and the page's own


def test_health_tells_what_waits_and_hosts_to_admins_alone(
    client: TestClient, scene: Scene, module_database: Database
):
    ref = VideoRef(BUCKET, "clips/waits.mp4", etag="e1", size_bytes=5)
    store = SqlJobStore(module_database, scene.tenant_id)
    submit_video(store, NewJob(scene.tenant_id, ref, Lane.BULK))
    with module_database.transaction(tenant_id=scene.tenant_id) as session:
        session.execute(text("UPDATE job SET create_time = now() - interval '90 minutes'"))
    SqlJobStore(module_database, None).run(lambda tx: tx.beat_host(HostBeat("hst_1", 3)))
    enter(client, scene, UserRole.VIEWER)
    page = client.get("/status").text
    assert re.search(r"<td>bulk</td><td class=\"number\">1</td><td class=\"number\">1:3\d:", page)
    assert page.count('<span class="badge low">ok</span>') == 3
    assert "hst_1" not in page
    assert "decode" in page  # a stage of the analysis
    enter(client, scene, UserRole.ADMIN)
    assert "hst_1" in client.get("/status").text
