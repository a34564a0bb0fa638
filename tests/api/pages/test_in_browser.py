"""The pages in a real Chromium: what is drawn where, by keyboard alone, and what axe-core says of them."""

import secrets
import time
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect
from sqlalchemy import select

from api.pages.templates import PLACES
from fakesieve.database import Database
from fakesieve.erasure.erase import begin_erasure
from fakesieve.erasure.retention import delete_video, set_class
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.jobs.states import Lane
from fakesieve.jobs.submit import NewBatch, NewJob, submit_batch, submit_video
from fakesieve.key_changes import KeyDraft, create_tenant_key
from fakesieve.objects import VideoRef
from fakesieve.people.accounts import Preferences, find_user, load_preferences
from fakesieve.records.models import Model
from fakesieve.records.reviews import ReviewDecision, ReviewItem
from fakesieve.records.tags import set_tags
from fakesieve.records.videos import upsert_video
from fakesieve.reviews.fill import fill_queue
from fakesieve.reviews.notes import NoteDraft, add_note
from fakesieve.reviews.queues import load_queue
from fakesieve.scopes import Scope
from fakesieve.values.people import UserRole
from fakesieve.values.reviews import EntryKind, ReviewKind, ReviewState
from fakesieve.values.webhooks import EndpointDraft
from fakesieve.webhooks.addresses import AddressRules
from fakesieve.webhooks.endpoints import create_endpoint
from fakesieve.webhooks.log import send_test
from tests.api.pages.browsing import WAIT_MS, choose, enter, focus
from tests.api.pages.stage import BUCKET, RATE, Scene, make_scene
from tests.factories import MEDIA
from tests.media import read_index
from tests.waiting import PATIENCE_S, wait_until


@pytest.fixture
def own(module_database: Database, request: pytest.FixtureRequest) -> Scene:
    name = f"tenant-{secrets.token_hex(4)}"
    return make_scene(module_database, name, media=MEDIA, is_blind="blind" in request.node.name)


def wait_for_picture(page: Page) -> None:
    page.wait_for_function(
        "() => { const v = document.querySelector('video'); return v.readyState >= 2 && !v.seeking }"
    )


def read_frame(page: Page) -> int:
    """Read the number that is painted into the frame which the page shows, without what lies over it."""
    for button in ("#boxes[aria-pressed=true]", "#map[aria-pressed=true]"):
        if page.locator(button).count():
            page.locator(button).click()
    shot = page.locator("#stage").screenshot()
    picture = cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_COLOR)
    height, width = picture.shape[:2]
    scale = min(width / 640, height / 360)
    left, top = (width - 640 * scale) / 2, (height - 360 * scale) / 2
    inner = picture[round(top) : round(top + 360 * scale), round(left) : round(left + 640 * scale)]
    return read_index(cv2.resize(inner[:, :, ::-1], (640, 360), interpolation=cv2.INTER_AREA))


def wait_for_frame(page: Page, wanted: int) -> int:
    """Return the number of the frame that is shown, once it is the wanted one or has not been for long."""
    end = time.monotonic() + PATIENCE_S
    while (seen := read_frame(page)) != wanted and time.monotonic() < end:
        page.wait_for_timeout(100)
    return seen


def hold(page: Page, address: str) -> list[Route]:
    """Hold requests to an address back, as a slow server would; gives those that wait."""
    held: list[Route] = []

    def keep(route: Route) -> None:
        held.append(route)

    page.route(address, keep)
    return held


def let_go(page: Page, held: list[Route]) -> None:
    """Send the one request that waits."""
    while not held:
        page.wait_for_timeout(20)
    assert len(held) == 1
    held.pop().continue_()


def test_stepping_shows_the_very_frame_that_was_scored(page: Page, own: Scene):
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    expect(page.locator("#sample")).to_have_text("sample 1 of 3")
    for step, (key, frame, clock) in enumerate(
        [(".", RATE, "0:01.000"), (".", 2 * RATE, "0:02.000"), (",", RATE, "0:01.000")]
    ):
        page.keyboard.press(key)
        expect(page.locator("#time")).to_have_text(clock)
        wait_for_picture(page)
        assert wait_for_frame(page, frame) == frame, step


def test_the_arrow_keys_step_by_single_frames(page: Page, own: Scene):
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=1.000")
    expect(page.locator("#sample")).to_have_text("sample 2 of 3")
    wait_for_picture(page)
    assert wait_for_frame(page, RATE) == RATE
    page.locator("#time").click()  # away from the buttons
    for key, frame, clock in (
        ("ArrowRight", RATE + 1, "0:01.040"),
        ("ArrowRight", RATE + 2, "0:01.080"),
        ("ArrowLeft", RATE + 1, "0:01.040"),
        ("ArrowLeft", RATE, "0:01.000"),
        ("ArrowLeft", RATE - 1, "0:00.960"),
    ):
        page.keyboard.press(key)
        expect(page.locator("#time")).to_have_text(clock)
        assert wait_for_frame(page, frame) == frame
    expect(page.locator("#sample")).to_have_text("between samples")


def test_a_step_taken_before_the_link_has_come_is_kept(page: Page, own: Scene):
    held = hold(page, f"**/r/{own.analysis_id}/video")
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    expect(page.locator("#sample")).to_have_text("sample 1 of 3")
    page.keyboard.press(".")
    expect(page.locator("#time")).to_have_text("0:01.000")
    let_go(page, held)
    wait_for_picture(page)
    assert wait_for_frame(page, RATE) == RATE
    expect(page.locator("#time")).to_have_text("0:01.000")


def test_a_step_taken_before_the_samples_have_come_is_kept(page: Page, own: Scene):
    held = hold(page, f"**/r/{own.analysis_id}/lanes")
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    expect(page.locator("#time")).to_have_text("0:00.000")
    wait_for_picture(page)
    for key in "..,.":
        page.keyboard.press(key)
    expect(page.locator("#zoom-in")).to_be_disabled()
    let_go(page, held)
    expect(page.locator("#sample")).to_have_text("sample 3 of 3")
    expect(page.locator("#zoom-in")).to_be_enabled()


def test_a_wish_to_play_before_the_link_has_come_is_kept(page: Page, own: Scene):
    held = hold(page, f"**/r/{own.analysis_id}/video")
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    expect(page.locator("#sample")).to_have_text("sample 1 of 3")
    page.locator("#play").click()
    expect(page.locator("#play")).to_have_text("Pause")
    let_go(page, held)
    page.wait_for_function("() => document.querySelector('video').currentTime > 0.2")
    assert "does not play" not in page.locator("#stage-message").inner_text()


def test_of_two_quick_choices_the_later_one_is_stored(page: Page, own: Scene, module_database: Database):
    held = hold(page, "**/preferences")
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    page.locator("#blur").click()
    page.locator("#grey").click()
    page.locator("#blur").click()
    for _ in range(3):  # each is sent when the one before is stored
        with page.expect_response("**/preferences"):
            let_go(page, held)
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        reviewer = find_user(session, own.tenant_id, own.email(UserRole.REVIEWER))
        assert load_preferences(session, reviewer) == Preferences(
            is_blurred=False, is_grey=True, is_muted=True
        )


def test_a_deep_link_opens_at_its_time_and_face(page: Page, own: Scene):
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=1.000&track=0")
    expect(page.locator("#time")).to_have_text("0:01.000")
    expect(page.locator(".face.is-picked")).to_have_attribute("data-track", "0")


def test_the_map_lies_where_its_matrix_says_and_goes_by_key(page: Page, own: Scene):
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    wait_for_picture(page)
    page.locator("#boxes").click()
    page.locator("#threshold").fill("0")
    # Crops of 64 pixels, 1.5 times as large in the frame, from (240.25, 90.125); one cell is always clear.
    wanted = pytest.approx([240.25, 90.125, 336.25, 186.125], abs=2.5)
    wait_until(lambda: page.evaluate(BOX_OF_INK) == wanted, lambda: page.evaluate(BOX_OF_INK))
    page.keyboard.press("h")
    wait_until(lambda: page.evaluate(BOX_OF_INK) is None)
    expect(page.locator("#smooth")).to_have_attribute("aria-pressed", "false")


# The box around all that is drawn over the picture, in pixels of the displayed frame.
BOX_OF_INK = """() => {
  const canvas = document.querySelector('#overlay');
  const pen = canvas.getContext('2d');
  const { width, height } = canvas;
  const data = pen.getImageData(0, 0, width, height).data;
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let i = 3; i < data.length; i += 4) {
    if (!data[i]) continue;
    const [x, y] = [((i - 3) / 4) % width, Math.floor((i - 3) / 4 / width)];
    left = Math.min(left, x); right = Math.max(right, x + 1);
    top = Math.min(top, y); bottom = Math.max(bottom, y + 1);
  }
  if (right < 0) return null;
  const scale = Math.min(width / 640, height / 360);
  const [dx, dy] = [(width - 640 * scale) / 2, (height - 360 * scale) / 2];
  return [(left - dx) / scale, (top - dy) / scale, (right - dx) / scale, (bottom - dy) / scale];
}"""


def test_a_blind_review_by_keyboard_alone(page: Page, own: Scene, module_database: Database, long_undo: None):
    enter(page, own, UserRole.REVIEWER, "/queue")
    focus(page, "Review the next")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/r/{own.analysis_id}")
    expect(page.locator("h1")).to_have_text("Score hidden until you have said what you see")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    page.wait_for_url("**done=revealed**")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.locator("#decision-message")).to_have_text("Choose a reason.")
    choose(page, "artefacts")
    page.keyboard.press("Enter")
    page.wait_for_url("**done=decided**")
    page.keyboard.press("u")
    page.wait_for_url("**done=undone**")
    page.keyboard.press("3")
    page.keyboard.press("r")
    choose(page, "the quality")
    page.keyboard.press("Enter")
    page.wait_for_url("**done=decided**")
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        rows = session.scalars(select(ReviewDecision).order_by(ReviewDecision.id)).all()
        said = [(row.kind, row.disposition, row.reason_code) for row in rows]
    assert said == [
        (EntryKind.BLIND, "confirmed_authentic", None),
        (EntryKind.DECISION, "confirmed_manipulated", "visible_artefacts"),
        (EntryKind.UNDO, None, None),
        (EntryKind.DECISION, "inconclusive", "quality_too_low"),
    ]


def test_an_appeal_by_keyboard_alone(page: Page, own: Scene, module_database: Database):
    enter(page, own, UserRole.REVIEWER, "/queue")
    decide(page, own)
    page.keyboard.press("a")
    expect(page.locator("#statement")).to_be_focused()
    page.keyboard.type("this is a filter, as 1 of 2 friends says")  # no letter of it is a key
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**done=appealed**")
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        item = session.scalars(select(ReviewItem).where(ReviewItem.kind == ReviewKind.APPEAL)).one()
        assert (item.statement, item.state) == ("this is a filter, as 1 of 2 friends says", ReviewState.OPEN)


def test_failures_are_told_and_nothing_is_drawn_instead(page: Page, own: Scene):
    refuse = {"status": 503, "content_type": "application/problem+json"}
    body = '{"reason": "DATABASE_UNAVAILABLE", "detail": "no answer"}'
    page.route("**/lanes", lambda route: route.fulfill(**refuse, body=body))
    page.route("**/video", lambda route: route.fulfill(**refuse, body=body))
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}")
    expect(page.locator("#timeline-message")).to_have_text(
        "The scores over time cannot be shown. DATABASE_UNAVAILABLE: no answer"
    )
    expect(page.locator("#stage-message")).to_have_text(
        "The video cannot be shown. DATABASE_UNAVAILABLE: no answer"
    )
    expect(page.locator("#samples-rows tr")).to_have_count(0)


def furnish(database: Database, own: Scene) -> list[str]:
    """Fill the tables that would otherwise be empty; return the pages of what was made."""
    ref = VideoRef(BUCKET, "clips/a-name-that-is-long-enough-to-be-broken.mp4", etag="e1", size_bytes=5)
    jobs = SqlJobStore(database, own.tenant_id)
    job_id = submit_video(jobs, NewJob(own.tenant_id, ref, Lane.BULK)).job_id
    batch_id = submit_batch(jobs, NewBatch(own.tenant_id, "monday"), [NewJob(own.tenant_id, ref)]).batch_id
    with database.transaction(tenant_id=own.tenant_id) as session:
        create_tenant_key(session, own.tenant_id, KeyDraft("nightly", frozenset(Scope)), actor="tests")
        draft = EndpointDraft("https://hooks.example.com/fakesieve")
        made = create_endpoint(session, own.tenant_id, "tests", draft, AddressRules.allow(()))
        send_test(session, own.tenant_id, made.endpoint.id)
        fill_queue(session, load_queue(session, own.queue_id))
        add_note(session, own.analysis_id, "tests", NoteDraft(0, 1_000_000, "the mouth flickers"))
        model = session.scalars(select(Model.id)).first()
        gone = upsert_video(session, tenant_id=own.tenant_id, sha256="ab" * 32, size_bytes=5, media={})
        deleted = upsert_video(session, tenant_id=own.tenant_id, sha256="cd" * 32, size_bytes=5, media={})
        set_class(session, own.tenant_id, "tests", "short", 1)
        set_tags(session, own.tenant_id, own.video_id, {"campaign": "a-value-that-is-long-enough " * 5})
        begin_erasure(session, gone, "tests", bucket=BUCKET)
        delete_video(session, deleted, "tests")
    pages = [
        *(f"/videos/{each}" for each in (own.video_id, gone, deleted)),
        f"/webhooks/{made.endpoint.id}",
        f"/batches/{batch_id}",
        f"/jobs/{job_id}",
    ]
    pages += [
        "/videos/retention",
        "/videos/retention/set?name=default&keep=1&unit=seconds",
        "/videos/retention/short/remove",
        f"/videos/{own.video_id}/classify?retention_class=short",
        "/models/calibrations",
        f"/models/rescore?model={model}",
        f"/models/rescore?model={model}&filter=scor%3E1",
    ]
    return [*pages, f"/models/{model}", f"/models/{model}/promote?alias=challenger", "/models/rollback"]


def decide(page: Page, own: Scene) -> None:
    """Decide the scene's item, so that its page has a history and the log a line."""
    page.goto("/queue")
    focus(page, "Review the next")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/r/{own.analysis_id}")
    page.keyboard.press("1")
    page.keyboard.press("r")
    choose(page, "artefacts")
    page.keyboard.press("Enter")
    page.wait_for_url("**done=decided**")


# The menu is wider than a narrow window; without a place of its own a page has nothing to show there.
IS_PLACE_HIDDEN = """() => {
  const shown = document.querySelector(".top nav [aria-current]")?.getBoundingClientRect();
  return Boolean(shown) && (shown.left < 0 || shown.right > window.innerWidth);
}"""


def list_faults(page: Page) -> list[str]:
    """What axe-core finds serious on the page, whether it is wider than the window, or hides where one is."""
    page.wait_for_load_state()  # a page that a form led to may be there before its style is
    name = urlsplit(page.url).path
    is_hidden = page.evaluate(IS_PLACE_HIDDEN)
    is_wide = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    found = Axe().run(page, options={"resultTypes": ["violations"]})
    plain = [f"{name} is wider than the window"] * is_wide + [f"{name} is not seen in the menu"] * is_hidden
    return plain + [
        f"{name}: {each['id']}: {[node['target'] for node in each['nodes']][:3]}"
        for each in found.response["violations"]
        if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_axe_finds_no_fault_and_nothing_sticks_out(
    browser: Browser, address: str, own: Scene, module_database: Database, width: int, scheme: str
):
    furnished = furnish(module_database, own)
    context = browser.new_context(
        base_url=address, viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
    )
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    # What goes on is loaded again every five seconds, on a busy machine while it is looked at.
    page.route("**/reload.js", lambda route: route.fulfill(content_type="text/javascript", body=""))
    page.goto("/sign-in")
    faults = list_faults(page)
    enter(page, own, UserRole.ADMIN, "/queue")
    addresses = [*(place.address for place in PLACES), f"/queue/{own.queue_id}"]
    addresses += [
        *furnished,
        "/known",
        "/policies/strict@1/apply",
        "/models/compare",
        "/verdicts",
        "/results/export?filter=score%3E0.1",
        "/audit/check?after=0",
        f"/r/{own.analysis_id}",
        "/r/ana_none",
    ]
    for path in addresses:
        page.goto(path)
        faults += list_faults(page)
    page.goto("/webhooks")
    page.locator("details:has(#url) summary").click()
    page.locator("#url").fill("https://hooks.example.com/other")
    page.get_by_role("button", name="Add it and show its secret").click()
    expect(page.locator("#secret")).to_be_visible()
    faults += list_faults(page)
    decide(page, own)
    faults += list_faults(page)
    page.goto("/decisions")
    faults += list_faults(page)
    context.close()
    assert faults == []
