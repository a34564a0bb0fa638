"""How an admin holds, deletes, brings back and erases a video in the browser, and what the receipt says."""

import secrets

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Page, expect
from sqlalchemy import text

from api.pages.erasure_words import write_receipt
from fakesieve.database import Database
from fakesieve.erasure.erase import begin_erasure, load_erasure
from fakesieve.jobs.rows import HostBeat
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.records.audit import list_audit
from fakesieve.values.people import UserRole
from tests.api.pages.browsing import enter as enter_in_browser
from tests.api.pages.browsing import focus, focus_field
from tests.api.pages.stage import BUCKET, Scene, enter, find_token, make_scene


@pytest.fixture
def own(module_database: Database) -> Scene:
    return make_scene(module_database, f"tenant-{secrets.token_hex(4)}")


def post(client: TestClient, own: Scene, act: str, **fields: str):
    token = find_token(client.get("/queue").text)
    return client.post(f"/videos/{own.video_id}/{act}", data={"form_token": token} | fields)


def list_acts(database: Database, own: Scene) -> list[str]:
    with database.transaction(tenant_id=own.tenant_id) as session:
        lines = list_audit(session, subject=own.video_id)
        return [line.action for line in reversed(lines) if line.actor.startswith("usr_")]


@pytest.mark.parametrize("role", [UserRole.VIEWER, UserRole.REVIEWER])
def test_these_pages_are_for_admins(client: TestClient, own: Scene, role: UserRole):
    enter(client, own, role)
    assert client.get("/videos").status_code == 403
    assert client.get(f"/videos/{own.video_id}").status_code == 403
    assert {
        post(client, own, act).status_code for act in ("hold", "lift", "delete", "undelete", "erase")
    } == {403}
    assert "/videos/" not in client.get(f"/r/{own.analysis_id}").text


def test_the_review_page_leads_to_the_video_with_its_facts(client: TestClient, own: Scene):
    enter(client, own, UserRole.ADMIN)
    assert f'href="/videos/{own.video_id}"' in client.get(f"/r/{own.analysis_id}").text
    page = client.get(f"/videos/{own.video_id}").text
    assert "640 × 360" in page
    assert f"s3://{BUCKET}/clips/interview.mp4" in page
    assert "none: the default one holds" in page
    assert f'href="/r/{own.analysis_id}"' in page


def test_a_deleted_video_leads_to_no_analysis(client: TestClient, own: Scene):
    enter(client, own, UserRole.ADMIN)
    post(client, own, "delete")
    page = client.get(f"/videos/{own.video_id}").text
    assert own.video_id in page
    assert own.analysis_id not in page


def test_a_hold_keeps_a_video_from_deletion_and_erasure(
    client: TestClient, own: Scene, module_database: Database
):
    enter(client, own, UserRole.ADMIN)
    held = post(client, own, "hold").text
    assert "It is under a legal hold" in held
    assert "Erase now" not in held
    for act in ("delete", "erase"):
        refused = post(client, own, act, typed=own.video_id)
        assert refused.status_code == 409
        assert "LEGAL_HOLD" in refused.text
    assert "The legal hold is lifted." in post(client, own, "lift").text
    assert list_acts(module_database, own) == ["video.held", "video.hold_lifted"]


def test_a_deleted_video_is_hidden_listed_and_brought_back(
    client: TestClient, own: Scene, module_database: Database
):
    enter(client, own, UserRole.ADMIN)
    deleted = post(client, own, "delete").text
    assert "It is deleted" in deleted
    assert client.get(f"/r/{own.analysis_id}").status_code == 404
    assert f'href="/r/{own.analysis_id}"' not in deleted
    assert f'href="/videos/{own.video_id}"' in client.get("/videos").text
    assert "It is back" in post(client, own, "undelete").text
    assert client.get(f"/r/{own.analysis_id}").status_code == 200
    assert post(client, own, "undelete").status_code == 409
    assert list_acts(module_database, own) == ["video.deleted", "video.undeleted"]


@pytest.mark.parametrize("typed", ["", "yes", "vid_none"])
def test_nothing_is_erased_without_the_typed_id(client: TestClient, own: Scene, typed: str):
    enter(client, own, UserRole.ADMIN)
    answer = post(client, own, "erase", typed=typed)
    assert answer.status_code == 422
    assert "nothing was erased" in answer.text
    assert client.get(f"/r/{own.analysis_id}").status_code == 200


def test_a_receipt_is_shown_while_it_is_filled(client: TestClient, own: Scene, module_database: Database):
    """A worker host may hold a copy: the page says which stores wait, and that there is no way back."""
    SqlJobStore(module_database, None).run(lambda tx: tx.beat_host(HostBeat("hst_holds", 1)))
    try:
        with module_database.transaction(tenant_id=own.tenant_id) as session:
            erasure_id = begin_erasure(session, own.video_id, "usr_gone", bucket=BUCKET)
            receipt = write_receipt(load_erasure(session, erasure_id), {})
        assert receipt.is_running
        assert {line.state for line in receipt.stores} == {None}
        enter(client, own, UserRole.ADMIN)
        page = client.get(f"/videos/{own.video_id}").text
        assert "Erasure under way" in page
        assert page.count("nothing said yet") == 4
        assert "reload.js" in page
        assert "Bring it back" not in page
    finally:
        with module_database.transaction(tenant_id=None) as session:
            session.execute(text("DELETE FROM worker_host WHERE owner = 'hst_holds'"))


def test_a_video_is_erased_by_keyboard_alone_and_leaves_its_receipt(
    page: Page, own: Scene, module_database: Database
):
    enter_in_browser(page, own, UserRole.ADMIN, f"/videos/{own.video_id}")
    focus(page, "Erase now …")
    page.keyboard.press("Enter")
    focus_field(page, "typed")
    page.keyboard.type(own.video_id)
    page.keyboard.press("Enter")
    page.wait_for_url("**done=eras**")
    expect(page.locator("h2", has_text="Receipt of the erasure")).to_be_visible()
    main = page.locator("main")
    expect(main).to_contain_text("It is erased. What is left is the receipt.")
    expect(main.locator(".badge.low")).to_have_count(4)
    expect(main).to_contain_text("1 analysis")
    expect(main).to_contain_text("they lie in your own buckets")
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        (line,) = [
            each for each in list_audit(session, subject=own.video_id) if each.action == "video.erased"
        ]
    expect(main).to_contain_text(str((line.details or {})["sha256"]))
    page.goto("/videos")
    expect(page.locator("main")).to_contain_text("completed")
    page.goto(f"/r/{own.analysis_id}")
    expect(page.locator("main")).to_contain_text("NOT_FOUND")
