"""How an admin holds, deletes, brings back and erases a video in the browser, and what the receipt says."""

import re
import secrets
from datetime import datetime, timedelta, tzinfo

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Page, expect
from sqlalchemy import text

from api.pages import keeping
from api.pages.erasure_words import write_receipt
from fakesieve.database import Database
from fakesieve.erasure.erase import begin_erasure, load_erasure
from fakesieve.jobs.rows import HostBeat
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.records.audit import AuditSearch, list_audit
from fakesieve.records.tags import read_tags
from fakesieve.values.people import UserRole
from tests.api.pages.browsing import choose, focus, focus_field
from tests.api.pages.browsing import enter as enter_in_browser
from tests.api.pages.keeping import is_due, make_older, post, read_classes, send_class, set_class
from tests.api.pages.stage import BUCKET, Scene, enter, find_token, make_scene


@pytest.fixture
def own(module_database: Database) -> Scene:
    return make_scene(module_database, f"tenant-{secrets.token_hex(4)}")


def list_acts(database: Database, own: Scene) -> list[str]:
    with database.transaction(tenant_id=own.tenant_id) as session:
        lines = list_audit(session, AuditSearch(own.video_id))
        return [line.action for line in reversed(lines) if line.actor.startswith("usr_")]


def find_due_field(page: str) -> str:
    """Return how many videos a page says are erased at once, as its form sends it."""
    (found,) = re.findall(r'name="due" value="(\d+)"', page)
    return found


@pytest.mark.parametrize("role", [UserRole.VIEWER, UserRole.REVIEWER])
def test_these_pages_are_for_admins(client: TestClient, own: Scene, role: UserRole):
    enter(client, own, role)
    assert client.get("/videos").status_code == 403
    assert client.get(f"/videos/{own.video_id}").status_code == 403
    acts = ("hold", "lift", "delete", "undelete", "erase", "classify", "tag", "untag")
    assert {post(client, own, act).status_code for act in acts} == {403}
    asked = ("retention", "retention/set", "retention/short/remove", f"{own.video_id}/classify")
    assert {client.get(f"/videos/{each}").status_code for each in asked} == {403}
    form = {"form_token": find_token(client.get("/queue").text), "name": "short", "keep": "1", "unit": "days"}
    assert send_class(client, form).status_code == 403
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
            each for each in list_audit(session, AuditSearch(own.video_id)) if each.action == "video.erased"
        ]
    expect(main).to_contain_text(str((line.details or {})["sha256"]))
    page.goto("/videos")
    expect(page.locator("main")).to_contain_text("completed")
    page.goto(f"/r/{own.analysis_id}")
    expect(page.locator("main")).to_contain_text("NOT_FOUND")


def test_a_class_is_given_once_its_end_was_said(client: TestClient, own: Scene, module_database: Database):
    make_older(module_database, own, 40)
    enter(client, own, UserRole.ADMIN)
    set_class(client, "short", 7)
    asked = client.get(f"/videos/{own.video_id}/classify?retention_class=short").text
    assert "That time is over: it is erased by the next sweep" in asked
    assert "no class: nothing ends it" in asked
    assert post(client, own, "classify", retention_class="short").status_code == 409
    assert not is_due(module_database, own)
    assert "Its class is as you said." in post(client, own, "classify", retention_class="short", due="1").text
    assert is_due(module_database, own)
    assert post(client, own, "classify", retention_class="none-such").status_code == 404
    assert "none: the default one holds" in post(client, own, "classify", retention_class="").text
    assert list_acts(module_database, own) == ["video.classified", "video.classified"]


def test_a_hold_that_alone_keeps_a_video_is_lifted_once_that_was_said(
    client: TestClient, own: Scene, module_database: Database
):
    enter(client, own, UserRole.ADMIN)
    set_class(client, "default", 7)
    assert "Only the legal hold keeps it" not in post(client, own, "hold").text
    make_older(module_database, own, 40)
    refused = post(client, own, "lift", due="0")
    assert (refused.status_code, "this would erase 1 video at once" in refused.text) == (409, True)
    assert not is_due(module_database, own)
    asked = client.get(f"/videos/{own.video_id}").text
    assert "Only the legal hold keeps it: the time of its class is over." in asked
    assert "Lift it and erase the video" in asked
    assert "The legal hold is lifted." in post(client, own, "lift", due=find_due_field(asked)).text
    assert is_due(module_database, own)


class Behind(datetime):
    """The clock of a host that is a year behind that of the database."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.now(tz) - timedelta(days=365)


def test_what_is_over_is_told_by_the_clock_by_which_the_sweep_erases(
    client: TestClient, own: Scene, module_database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(keeping, "datetime", Behind)
    make_older(module_database, own, 40)
    enter(client, own, UserRole.ADMIN)
    set_class(client, "short", 7)
    asked = client.get(f"/videos/{own.video_id}/classify?retention_class=short").text
    assert "That time is over: it is erased by the next sweep" in asked
    post(client, own, "delete")
    post(client, own, "hold")
    with module_database.transaction(tenant_id=None) as session:
        over = text("UPDATE video SET purge_time = now() - interval '1 minute' WHERE id = :id")
        session.execute(over, {"id": own.video_id})
    assert post(client, own, "lift").status_code == 409
    assert not is_due(module_database, own)


def test_a_held_video_whose_time_to_come_back_is_over_is_said_to_go_with_its_hold(
    client: TestClient, own: Scene, module_database: Database
):
    enter(client, own, UserRole.ADMIN)
    post(client, own, "delete")
    post(client, own, "hold")
    with module_database.transaction(tenant_id=None) as session:
        over = text("UPDATE video SET purge_time = now() - interval '1 minute' WHERE id = :id")
        session.execute(over, {"id": own.video_id})
    assert post(client, own, "lift").status_code == 409
    assert "the time to bring it back is over" in client.get(f"/videos/{own.video_id}").text
    assert not is_due(module_database, own)


def test_a_deleted_video_whose_class_is_over_comes_back_once_that_was_said(
    client: TestClient, own: Scene, module_database: Database
):
    enter(client, own, UserRole.ADMIN)
    set_class(client, "default", 7)
    assert "Bring it back …" not in post(client, own, "delete").text
    make_older(module_database, own, 40)
    assert post(client, own, "undelete").status_code == 409
    asked = client.get(f"/videos/{own.video_id}").text
    assert "Once it is back, the next sweep erases it" in asked
    assert "Bring it back, to be erased by its class" in asked
    post(client, own, "hold")
    assert "It is back" in post(client, own, "undelete").text
    post(client, own, "lift", due="1")
    post(client, own, "delete")
    asked = client.get(f"/videos/{own.video_id}").text
    assert "It is back" in post(client, own, "undelete", due=find_due_field(asked)).text
    assert is_due(module_database, own)


def test_a_deleted_video_is_given_no_class(client: TestClient, own: Scene, module_database: Database):
    """Its page of classes would say that nothing is erased, while its deletion erases it."""
    enter(client, own, UserRole.ADMIN)
    set_class(client, "short", 7)
    post(client, own, "delete")
    asked = client.get(f"/videos/{own.video_id}/classify?retention_class=short")
    assert (asked.status_code, "STATE_CONFLICT" in asked.text) == (409, True)
    assert "Nothing is erased" not in asked.text
    assert post(client, own, "classify", retention_class="short", due="1").status_code == 409
    assert "none: the default one holds" in post(client, own, "undelete").text


def test_tags_are_put_on_and_taken_off_one_by_one(client: TestClient, own: Scene, module_database: Database):
    enter(client, own, UserRole.ADMIN)
    post(client, own, "tag", name="desk", value="<b>night</b>")
    post(client, own, "tag", name="campaign", value="spring")
    page = post(client, own, "tag", name="desk", value="<i>day</i>").text
    assert "&lt;i&gt;day&lt;/i&gt;" in page
    assert f'href="/r/{own.analysis_id}"' in client.get('/results?filter=tags.campaign="spring"').text
    assert "The tag is gone." in post(client, own, "untag", name="campaign").text
    assert "It has no such tag." in post(client, own, "untag", name="campaign").text
    assert post(client, own, "tag", name="x" * 65, value="").status_code == 422
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        assert read_tags(session, [own.video_id])[own.video_id] == {"desk": "<i>day</i>"}
    assert list_acts(module_database, own) == ["video.changed"] * 4


def test_a_class_is_made_and_given_by_keyboard_alone(page: Page, own: Scene, module_database: Database):
    enter_in_browser(page, own, UserRole.ADMIN, "/videos/retention")
    focus_field(page, "name")
    page.keyboard.type("news")
    focus(page, "See what that erases …")
    page.keyboard.press("Enter")
    page.wait_for_url("**/videos/retention/set**")
    focus(page, "Make it")
    page.keyboard.press("Enter")
    page.wait_for_url("**done=set**")
    expect(page.locator("main")).to_contain_text("90 days")
    page.goto(f"/videos/{own.video_id}")
    focus_field(page, "retention_class")
    choose(page, "news")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/classify**")
    expect(page.locator("main")).to_contain_text("Nothing is erased at once.")
    focus(page, "Give it this class")
    page.keyboard.press("Enter")
    page.wait_for_url("**done=classified**")
    expect(page.locator("main")).to_contain_text("by its class")
    assert read_classes(module_database, own) == {"news": 90 * 86_400}
