"""The review page in a real Chromium: its keys, and what it says of what does not come."""

import re
import secrets
import struct

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from sqlalchemy import func, select

from fakesieve.database import Database
from fakesieve.records.review_notes import ReviewNote
from fakesieve.records.reviews import ReviewDecision, ReviewItem
from fakesieve.reviews.fill import fill_queue
from fakesieve.reviews.queues import load_queue
from fakesieve.values.people import UserRole
from tests.api.pages.browsing import choose, enter
from tests.api.pages.stage import Scene, make_scene
from tests.factories import MEDIA
from tests.waiting import wait_until

PROBLEM = "application/problem+json"


@pytest.fixture
def own(module_database: Database, request: pytest.FixtureRequest) -> Scene:
    """A tenant with one analysis, in a queue that is blind first where the test's name says so."""
    name = f"tenant-{secrets.token_hex(4)}"
    return make_scene(module_database, name, media=MEDIA, is_blind="blind" in request.node.name)


def take_next(page: Page, own: Scene) -> None:
    """Open the scene's item as somebody who holds it."""
    enter(page, own, UserRole.REVIEWER, "/queue")
    page.get_by_role("button", name="Review the next").click()
    page.wait_for_url(f"**/r/{own.analysis_id}")
    expect(page.locator("#moment")).to_have_attribute("href", re.compile(r"\?t="))  # the keys are bound


def note(page: Page, text: str) -> None:
    """Note the span from one sample to the next by keyboard, as from where nothing has the focus."""
    for key in "m.m":
        page.keyboard.press(key)
    expect(page.locator("#note-text")).to_be_focused()
    page.keyboard.type(text)
    page.keyboard.press("Enter")
    page.wait_for_url("**done=noted**")


def list_said(database: Database, own: Scene) -> tuple[list[str], int, list[str | None]]:
    """Return the notes, how many decisions there are, and who holds the items."""
    with database.transaction(tenant_id=own.tenant_id) as session:
        notes = list(session.scalars(select(ReviewNote.text).order_by(ReviewNote.id)))
        decisions = session.scalar(select(func.count()).select_from(ReviewDecision)) or 0
        return notes, decisions, list(session.scalars(select(ReviewItem.claimed_by)))


def test_enter_in_a_note_keeps_the_note_and_decides_nothing(
    page: Page, own: Scene, module_database: Database
):
    take_next(page, own)
    expect(page.locator("#sample")).to_have_text(re.compile("^sample"))
    page.keyboard.press("1")
    page.keyboard.press("r")
    choose(page, "artefacts")
    page.locator("#sample").click()  # leaves the list
    note(page, "the mouth flickers")
    expect(page.locator(".notice")).to_have_text("Your note is kept.")
    notes, decisions, _ = list_said(module_database, own)
    assert (notes, decisions) == (["the mouth flickers"], 0)


def test_enter_in_a_note_takes_no_item(page: Page, own: Scene, module_database: Database):
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        fill_queue(session, load_queue(session, own.queue_id))
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    expect(page.locator("#claim")).to_be_visible()
    expect(page.locator("#sample")).to_have_text("sample 1 of 3")
    note(page, "the mouth flickers")
    assert list_said(module_database, own) == (["the mouth flickers"], 0, [None])
    page.locator("#sample").click()
    page.keyboard.press("Enter")  # where nothing has the focus it does take the item
    page.wait_for_url("**done=claimed**")


@pytest.mark.parametrize("slider", ["#seek", "#opacity"])
def test_enter_on_a_slider_decides_nothing(page: Page, own: Scene, module_database: Database, slider: str):
    take_next(page, own)
    page.keyboard.press("1")
    page.locator(slider).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#decision-message")).to_be_empty()  # nor is a reason asked for
    page.locator("#sample").click()
    page.keyboard.press("Enter")
    expect(page.locator("#decision-message")).to_have_text("Choose a reason.")
    assert list_said(module_database, own)[1] == 0


def test_enter_on_a_slider_of_a_blind_review_says_nothing(page: Page, own: Scene, module_database: Database):
    take_next(page, own)
    page.locator("#seek").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#decision-message")).to_be_empty()
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    page.wait_for_url("**done=revealed**")
    expect(page.locator("#sample")).to_have_text(re.compile("^sample"))
    note(page, "the mouth flickers")
    notes, decisions, _ = list_said(module_database, own)
    assert (notes, decisions) == (["the mouth flickers"], 1)  # the blind word


def test_space_chooses_the_answer_that_has_the_focus(page: Page, own: Scene):
    take_next(page, own)
    answers = page.locator("[name=disposition]")
    answers.first.focus()
    page.keyboard.press("Space")
    expect(answers.first).to_be_checked()
    expect(page.locator("#play")).to_have_text("Play")
    page.locator("#sample").click()
    # Its three seconds are not over before anybody looks, also where the video comes only now.
    page.evaluate("const v = document.querySelector('video'); v.defaultPlaybackRate = v.playbackRate = 0.1")
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_text("Pause")


UNANSWERED = '{"reason": "DATABASE_UNAVAILABLE", "detail": "no answer"}'
IS_VIDEO_THERE = "() => document.querySelector('video').readyState >= 2"
IS_DRAWN = """() => {
  const canvas = document.querySelector('#overlay');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return data.some((value) => value);
}"""


def test_missing_boxes_are_told_after_the_video_has_come_and_until_they_come(page: Page, own: Scene):
    page.clock.install()
    page.route("**/faces/*", lambda route: route.fulfill(status=503, content_type=PROBLEM, body=UNANSWERED))
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    page.wait_for_function(IS_VIDEO_THERE)
    expect(page.locator("#stage-message")).to_be_empty()
    told = page.locator("#faces-message")
    expect(told).to_have_text("Boxes and maps cannot be shown. DATABASE_UNAVAILABLE: no answer")
    assert not page.evaluate(IS_DRAWN)
    page.unroute("**/faces/*")
    page.clock.fast_forward(60_000)  # nobody touches the page meanwhile
    expect(told).to_be_empty()
    page.wait_for_function(IS_DRAWN)


@pytest.mark.parametrize("status", [403, 404, 409])
def test_boxes_that_are_refused_for_good_are_not_asked_for_again(page: Page, own: Scene, status: int):
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        body = '{"reason": "NOT_FOUND", "detail": "no boxes"}'
        route.fulfill(status=status, content_type=PROBLEM, body=body)

    page.clock.install()
    page.route("**/faces/*", refuse)
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    told = page.locator("#faces-message")
    expect(told).to_have_text("Boxes and maps cannot be shown. NOT_FOUND: no boxes")
    expect(page.locator("#sample")).to_have_text("sample 1 of 3")
    page.clock.fast_forward(60_000)
    page.keyboard.press(".")  # draws the page anew
    expect(page.locator("#place-said")).to_have_text("0:01.000, sample 2 of 3")
    expect(told).to_have_text("Boxes and maps cannot be shown. NOT_FOUND: no boxes")
    assert len(asked) == 1


def test_a_video_that_is_missing_is_still_told_when_boxes_have_come(page: Page, own: Scene):
    page.clock.install()
    page.route("**/video", lambda route: route.fulfill(status=503, content_type=PROBLEM, body=UNANSWERED))
    page.route(
        "**/faces/*",
        lambda route: route.fulfill(status=503, content_type=PROBLEM, body=UNANSWERED),
        times=1,
    )
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    expect(page.locator("#faces-message")).to_have_text(re.compile("^Boxes and maps cannot be shown."))
    page.clock.fast_forward(60_000)
    expect(page.locator("#faces-message")).to_be_empty()
    page.wait_for_function(IS_DRAWN)
    expect(page.locator("#stage-message")).to_have_text(re.compile("^The video cannot be shown."))


def test_a_choice_that_was_not_stored_is_told_until_one_is(page: Page, own: Scene):
    page.route(
        "**/preferences",
        lambda route: route.fulfill(status=503, content_type=PROBLEM, body=UNANSWERED),
        times=1,
    )
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    page.locator("#grey").click()
    told = page.locator("#preferences-message")
    expect(told).to_have_text(re.compile("^What you prefer could not be stored."))
    page.locator("#grey").click()
    expect(told).to_be_empty()


def test_a_server_that_is_silent_is_told(page: Page, own: Scene):
    page.clock.install()
    asked: list[str] = []
    for address in ("**/lanes", "**/video"):
        page.route(address, lambda route: asked.append(route.request.url))  # and never answered
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    expect(page.locator("#stage-message")).to_have_text("Asking for the video …")
    expect(page.locator("#timeline-message")).to_have_text("Asking for the scores …")
    wait_until(lambda: page.wait_for_timeout(20) or len(asked) == 2)
    page.clock.fast_forward(30_000)
    silent = "TIMEOUT: nothing has come from the server for 30 s"
    expect(page.locator("#stage-message")).to_have_text(f"The video cannot be shown. {silent}")
    expect(page.locator("#timeline-message")).to_have_text(f"The scores over time cannot be shown. {silent}")


def test_answers_that_cannot_be_read_are_told_in_plain_words(page: Page, own: Scene):
    def cut(route: Route) -> None:
        body = route.fetch().body()[:-8]
        route.fulfill(content_type="application/octet-stream", body=body)

    page.route("**/lanes", cut)
    page.route("**/video", lambda route: route.fulfill(content_type="text/html", body="<p>A proxy</p>"))
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    expect(page.locator("#stage-message")).to_have_text(
        "The video cannot be shown. UNREADABLE: the server gave no answer that can be read"
    )
    expect(page.locator("#timeline-message")).to_have_text(
        "The scores over time cannot be shown. "
        "the server sent less than it has announced: load the page again"
    )


def test_scores_of_times_that_did_not_come_are_told(page: Page, own: Scene):
    def shift(route: Route) -> None:
        body = bytearray(route.fetch().body())
        (times,) = struct.unpack_from("<I", body, 12)
        struct.pack_into("<I", body, 16 + 8 * times + 8, times)  # the first block begins behind the last time
        route.fulfill(content_type="application/octet-stream", body=bytes(body))

    page.route("**/lanes", shift)
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    expect(page.locator("#timeline-message")).to_have_text(
        "The scores over time cannot be shown. "
        "the server sent less than it has announced: load the page again"
    )


def test_scripts_that_do_not_come_are_told(page: Page, own: Scene):
    page.route("**/net.js", lambda route: route.abort())
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    page.evaluate("document.getAnimations().forEach((each) => each.finish())")  # as after some seconds
    for name, lacks in (("stage", "No video"), ("timeline", "No scores over time")):
        told = page.locator(f"#{name}-message")
        expect(told).to_be_visible()
        expect(told).to_have_text(
            f"{lacks}: what this page runs in the browser has not come. Load the page again."
        )


def test_without_scripts_the_page_says_what_needs_them(browser: Browser, address: str, own: Scene):
    context = browser.new_context(base_url=address, java_script_enabled=False)
    page = context.new_page()
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    expect(page.locator(".refusal")).to_contain_text("need JavaScript, which is off in this browser")
    expect(page.locator("#stage-message")).to_be_hidden()
    expect(page.locator("#timeline-message")).to_be_hidden()
    context.close()


def test_a_store_that_sends_no_video_is_told(page: Page, own: Scene):
    page.clock.install()
    page.route(lambda url: "X-Amz-Signature" in url, lambda route: None)  # never answered
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    page.wait_for_function("() => document.querySelector('video').src")
    page.clock.fast_forward(30_000)
    expect(page.locator("#stage-message")).to_have_text(
        "Nothing of the video has come from the object store for 30 s. It is still waited for."
    )


# As browsers that save data do: nothing of a video is loaded before it is played.
LOAD_NOTHING = """document.addEventListener('readystatechange', () => {
  for (const video of document.querySelectorAll('video')) video.preload = 'none';
})"""


def test_a_store_that_was_asked_for_nothing_is_not_said_to_be_silent(page: Page, own: Scene):
    page.clock.install()
    page.add_init_script(LOAD_NOTHING)
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    page.wait_for_function(
        """() => {
          const video = document.querySelector('video');
          return video.src && video.networkState === HTMLMediaElement.NETWORK_IDLE;
        }"""
    )
    page.clock.fast_forward(30_000)
    expect(page.locator("#stage-message")).not_to_contain_text("Nothing of the video has come")


# Counts what readers of screens are told from now on.
HEAR = """() => {
  window.heard = 0;
  const hear = new MutationObserver((changes) => { window.heard += changes.length; });
  for (const each of document.querySelectorAll('output, [role=status], [aria-live]')) {
    hear.observe(each, { childList: true, characterData: true, subtree: true });
  }
}"""


def test_readers_of_screens_hear_where_it_stops_and_not_the_running_clock(page: Page, own: Scene):
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    expect(page.locator("#sample")).to_have_text("sample 1 of 3")
    page.keyboard.press(".")
    said = page.locator("#place-said")
    expect(said).to_have_text("0:01.000, sample 2 of 3")
    page.wait_for_function(IS_VIDEO_THERE)
    expect(page.locator("#stage-message")).to_be_empty()
    expect(page.locator("#samples-place")).to_have_text("1 to 3 of 3")  # the page has come whole
    page.evaluate(HEAR)
    page.evaluate("document.querySelector('video').playbackRate = 0.1")  # does not end meanwhile
    page.keyboard.press("Space")
    page.wait_for_function("() => document.querySelector('video').currentTime > 1.05")
    assert page.evaluate("window.heard") == 0
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_text("Play")
    expect(said).to_have_text(re.compile(rf"^{page.locator('#time').inner_text()}, "))


def test_keys_that_are_turned_off_stay_off(page: Page, own: Scene):
    take_next(page, own)
    skip, answer = page.locator("#skip"), page.locator("[name=disposition]").first
    expect(skip).to_have_attribute("aria-keyshortcuts", "S")
    expect(page.locator("#previous")).to_have_attribute("title", "Previous sample (comma)")
    with page.expect_response("**/preferences"):
        page.locator("#shortcuts").click()
    page.reload()
    expect(page.locator("#sample")).to_have_text(re.compile("^sample"))
    expect(page.locator("#shortcuts")).to_have_attribute("aria-pressed", "false")
    expect(skip).not_to_have_attribute("aria-keyshortcuts", "S")
    expect(skip).to_have_text("Skip", use_inner_text=True)  # and no key beside it
    boxes = page.locator("#boxes")
    expect(page.locator("#previous")).to_have_attribute("title", "Previous sample")
    expect(boxes).to_have_attribute("title", "Face boxes")
    for key in ("1", "b", "Enter"):
        page.keyboard.press(key)
    expect(boxes).to_have_attribute("aria-pressed", "true")
    expect(answer).not_to_be_checked()
    expect(page.locator("#decision-message")).to_be_empty()
    page.locator("#shortcuts").click()
    page.keyboard.press("1")
    expect(answer).to_be_checked()
