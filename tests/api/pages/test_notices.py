"""A page tells what its person has just done, and nothing that an address of somebody else claims."""

import pytest
from fastapi.testclient import TestClient

from api.pages import notices
from fakesieve.values.people import UserRole
from tests.api.pages.stage import Scene, enter, find_token

MADE = "The queue is there."


def make_queue(client: TestClient, name: str) -> str:
    """Make a queue and return the address that the browser is led to."""
    form = {"form_token": find_token(client.get("/queue").text), "name": name, "order": "oldest"}
    return client.post("/queue", data=form, follow_redirects=False).headers["location"]


@pytest.mark.parametrize(
    ("address", "claim"),
    [
        ("/policies?done=applied&moved=999999", "999,999"),
        ("/policies?done=applied-999999", "999,999"),
        ("/policies?done=kept", "The policy is kept"),
        ("/r/{analysis_id}?done=decided", "Your decision is stored"),
        ("/queue/{queue_id}?done=decided-500", "500 items were decided"),
        ("/queue?done=made&proof=1.0", MADE),
        ("/queue?done=made&proof=99999999999999999999.ff", MADE),
        ("/queue?done=made&proof=\u0661.ff", MADE),
        ("/keys?done=revoked", "The key works no more"),
        ("/webhooks?done=removed", "was removed"),
        ("/models?done=promoted", "used so from now on"),
    ],
)
def test_no_link_makes_a_page_say_what_did_not_happen(
    client: TestClient, scene: Scene, address: str, claim: str
):
    enter(client, scene, UserRole.ADMIN)
    page = client.get(address.format(analysis_id=scene.analysis_id, queue_id=scene.queue_id))
    assert page.status_code == 200
    assert claim not in page.text


def test_who_did_it_is_told_and_nobody_else(client: TestClient, scene: Scene):
    enter(client, scene, UserRole.ADMIN)
    told = make_queue(client, "told")
    assert MADE in client.get(told).text
    assert "The queue was changed." not in client.get(told.replace("done=made", "done=changed")).text
    assert MADE not in client.get(told.replace("/queue?", f"/queue/{scene.queue_id}?")).text
    enter(client, scene, UserRole.ADMIN)  # another session of the same person
    assert MADE not in client.get(told).text


def test_an_address_that_was_kept_tells_nothing_later(
    client: TestClient, scene: Scene, monkeypatch: pytest.MonkeyPatch
):
    enter(client, scene, UserRole.ADMIN)
    told = make_queue(client, "kept")
    now = notices.time.time()
    monkeypatch.setattr(notices.time, "time", lambda: now + notices.NOTICE_S + 10)
    assert MADE not in client.get(told).text
