"""Notes, stripes, many decisions, models, webhooks and uploads in a real Chromium."""

import hashlib
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pytest
from playwright.sync_api import Page, Route, expect
from sqlalchemy import select
from standardwebhooks.webhooks import Webhook

from fakesieve.database import Database
from fakesieve.embedded.postgres import FLEET_ROLE, PostgresServer
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.records.analyses import store_analysis
from fakesieve.records.jobs import Job
from fakesieve.records.models import ModelFacts
from fakesieve.records.review_notes import ReviewNote
from fakesieve.records.reviews import ReviewItem
from fakesieve.records.uploads import Upload
from fakesieve.values.people import UserRole
from tests.api.pages.browsing import choose, enter, focus, focus_field
from tests.api.pages.stage import BUCKET, Scene, make_scene
from tests.factories import MEDIA, make_record, make_score, make_video
from tests.receivers import LOCAL_NETWORKS, receiving
from tests.waiting import PATIENCE_S, wait_until

NEWER = ModelFacts("lv-next", "cd" * 32, "onnxruntime-cpu", "f32")


@pytest.fixture
def own(module_database: Database) -> Scene:
    return make_scene(module_database, f"tenant-{secrets.token_hex(4)}", media=MEDIA)


def list_notes(database: Database, own: Scene) -> list[tuple[int, int, int | None, str]]:
    with database.transaction(tenant_id=own.tenant_id) as session:
        rows = session.scalars(select(ReviewNote).order_by(ReviewNote.id)).all()
        return [(row.start_us, row.end_us, row.ordinal, row.text) for row in rows]


def test_a_span_is_noted_by_keyboard_alone(page: Page, own: Scene, module_database: Database):
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    expect(page.locator("#sample")).to_have_text("sample 1 of 3")
    page.keyboard.press(".")
    page.keyboard.press("m")
    expect(page.locator("#timeline-message")).to_contain_text("A note begins at 0:01.000")
    page.keyboard.press(".")
    page.keyboard.press("m")
    expect(page.locator("#note-text")).to_be_focused()
    page.keyboard.type("the mouth flickers")
    page.keyboard.press("Enter")
    page.wait_for_url("**done=noted**")
    expect(page.locator("#notes")).to_contain_text("the mouth flickers")
    expect(page.locator("#time")).to_have_text("0:01.000")
    assert list_notes(module_database, own) == [(1_000_000, 2_000_000, None, "the mouth flickers")]


def test_a_drag_over_a_lane_notes_a_span_of_its_face(page: Page, own: Scene):
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    expect(page.locator("[data-stripe='0'] canvas")).to_be_visible()  # nothing moves the lanes any more
    first, second = (point_at(page, share) for share in (1 / 3, 2 / 3))
    page.mouse.move(*first)
    page.mouse.down()
    page.mouse.move(*second, steps=4)
    page.mouse.up()
    expect(page.locator("#note-text")).to_be_focused()
    found = [float(page.locator(f"#note-{name}").input_value()) for name in ("start", "end")]
    assert found == pytest.approx([1.0, 2.0], abs=0.01)
    assert page.locator("#note-track").input_value() == "0"
    expect(page.locator("#time")).to_have_text("0:00.000")  # a drag does not go there, a click does
    page.mouse.click(*point_at(page, 2 / 3))
    expect(page.locator("#time")).to_have_text("0:02.000")


def point_at(page: Page, share: float) -> tuple[float, float]:
    """Return where a share of the time lies in the middle of the second lane, in the window."""
    lanes = page.locator("#timeline")
    lanes.scroll_into_view_if_needed()
    box = lanes.bounding_box()
    assert box is not None
    return box["x"] + 102 + (box["width"] - 114) * share, box["y"] + 54 + 23


# The colours of the middle of each row of a stripe, at two moments.
ROWS = """(canvas) => {
  const pen = canvas.getContext('2d');
  const at = (x, row) => [...pen.getImageData(x, row * 13 + 6, 1, 1).data].join();
  const read = (x) => [...Array(7).keys()].map((row) => at(x, row));
  return [read(110), read(canvas.width - 4)];
}"""


def test_the_stripe_shows_which_part_of_the_face_was_hot(page: Page, own: Scene):
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
    stripe = page.locator("[data-stripe='0'] canvas")
    expect(stripe).to_be_visible()
    scored, unscored = stripe.evaluate(ROWS)
    assert scored[3] == "255,0,128,255"  # the mouth, all of it
    assert len({scored[row] for row in (0, 1, 2, 5, 6)}) == 1
    assert scored[4] not in (scored[0], scored[3])  # cheeks and jaw, a fifth of it
    assert set(unscored) == {"0,0,0,0"}  # the third sample has no map
    page.locator("#samples summary").click()
    page.locator("#samples-track").select_option("0")
    expect(page.locator("#samples-rows tr").first).to_contain_text("mouth, 100 %")


def test_a_link_names_the_moment_and_the_face(page: Page, own: Scene):
    enter(page, own, UserRole.VIEWER, f"/r/{own.analysis_id}?t=1.000")
    page.keyboard.press("f")
    link = page.locator("#moment")
    expect(link).to_have_attribute("href", re.compile(r"\?t=1\.000&track=0$"))
    link.click()
    expect(page.locator("#time")).to_have_text("0:01.000")
    expect(page.locator(".face.is-picked")).to_have_attribute("data-track", "0")


def test_many_items_are_decided_by_keyboard_alone(page: Page, own: Scene, module_database: Database):
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        video_id = make_video(session, own.tenant_id, "second")
        store_analysis(session, make_record(own.tenant_id, video_id, score=make_score(0.2)))
    enter(page, own, UserRole.REVIEWER, f"/queue/{own.queue_id}")
    focus(page, "Take in new matches")
    page.keyboard.press("Enter")
    expect(page.locator(".notice")).to_have_text("2 matches were taken in.")
    focus_field(page, "disposition")
    choose(page, "auth")
    page.keyboard.press("Tab")
    choose(page, "no sign")
    focus(page, "Decide 2")
    page.keyboard.press("Enter")
    expect(page.locator(".notice")).to_have_text("2 items were decided.")
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        assert set(session.scalars(select(ReviewItem.disposition))) == {"confirmed_authentic"}


def test_results_are_taken_out_by_keyboard_alone(page: Page, own: Scene):
    enter(page, own, UserRole.VIEWER, "/results?filter=score%3E0.2")
    focus(page, "Export …")
    page.keyboard.press("Enter")
    page.wait_for_url("**/results/export**")
    focus(page, "Download CSV")
    with page.expect_download() as waited:
        page.keyboard.press("Enter")
    assert waited.value.suggested_filename == "results.csv"
    _, row = waited.value.path().read_text().splitlines()
    assert row.startswith(own.analysis_id)


def test_a_model_is_promoted_after_a_look_at_what_flips(page: Page, own: Scene, module_database: Database):
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        newer = make_record(
            own.tenant_id, own.video_id, score=make_score(0.1), fingerprint="pipeline-2", model=NEWER
        )
        store_analysis(session, newer)
    enter(page, own, UserRole.ADMIN, "/models")
    for name, use in (("lv-compact", "champion"), ("lv-next", "challenger")):
        page.get_by_role("link", name=name).first.click()
        page.wait_for_url("**/models/mdl_*")
        focus(page, f"Use as {use} …")
        page.keyboard.press("Enter")
        page.wait_for_url("**/promote?alias=**")
        focus(page, f"Use it as {use}")
        page.keyboard.press("Enter")
        expect(page.locator(".notice")).to_have_text("It is used so from now on.")
    page.get_by_role("link", name="Compare champion and challenger").click()
    expect(page.locator(".scatter rect:not(.frame)")).to_have_count(1)
    page.get_by_role("link", name="Make lv-next the champion …").click()
    expect(page.locator("h1")).to_have_text("Use lv-next as champion?")
    page.get_by_role("link", name="Leave it as it is").click()
    expect(page.locator("#use-champion + p")).to_contain_text("lv-compact")


@contextmanager
def run_sender(postgres: PostgresServer, s3: SeaweedServer, database_name: str) -> Iterator[None]:
    """The process that tells receivers, as an installation runs it."""
    settings = {
        "DATABASE_URL": postgres.url(FLEET_ROLE, database_name),
        "BROKER_URL": "redis://localhost:1/0",
        "BUCKET": BUCKET,
        "S3_ENDPOINT": s3.endpoint,
        "S3_ACCESS_KEY": s3.access_key,
        "S3_SECRET_KEY": s3.secret_key,
        "WEBHOOK_NETWORKS": ",".join(LOCAL_NETWORKS),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "fakesieve", "sender"],
        env=os.environ | {f"FAKESIEVE_{name}": value for name, value in settings.items()},
        stdout=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def test_a_webhook_of_the_console_is_seen_by_a_real_receiver(
    page: Page, own: Scene, postgres: PostgresServer, s3: SeaweedServer, module_database_name: str
):
    enter(page, own, UserRole.ADMIN, "/webhooks")
    with receiving() as receiver, run_sender(postgres, s3, module_database_name):
        page.locator("#url").fill(receiver.url)
        page.get_by_role("button", name="Add it and show its secret").click()
        secret = page.locator("#secret").inner_text()
        page.get_by_role("link", name="I have kept it").click()
        page.get_by_role("button", name="Send a test event").click()
        expect(page.locator(".notice")).to_contain_text("on its way")
        wait_until(lambda: receiver.messages)
        (message,) = receiver.messages
        assert Webhook(secret).verify(message.body, dict(message.headers))["type"] == "webhook.test"

        def is_told() -> int:
            page.reload()
            return page.get_by_text("HTTP 204").count()

        wait_until(is_told)
        expect(page.locator(".try").first).to_contain_text("HTTP 204")


_DROP = """(content) => {
  const files = new DataTransfer();
  files.items.add(new File([content], "dropped.mp4", { type: "video/mp4" }));
  const event = new DragEvent("drop", { dataTransfer: files, bubbles: true });
  document.getElementById("drop").dispatchEvent(event);
}"""


def list_sources(database: Database, own: Scene) -> set[str]:
    with database.transaction(tenant_id=own.tenant_id) as session:
        return set(session.scalars(select(Job.source_key).where(Job.tenant_id == own.tenant_id)))


def test_videos_go_from_the_browser_straight_to_the_store(
    page: Page, own: Scene, tmp_path: Path, module_database: Database
):
    clip = tmp_path / "chosen.mp4"
    clip.write_bytes(b"not really a video " * 5000)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.post_data_buffer else None)
    enter(page, own, UserRole.REVIEWER, "/upload")
    page.locator("#files").set_input_files(clip)
    page.evaluate(_DROP, "x" * 1000)
    done = page.get_by_role("link", name="is queued: see its job")
    expect(done).to_have_count(2)
    for bar in page.locator("#list progress").all():
        assert bar.evaluate("bar => bar.value === bar.max")
    assert page.locator("#list").inner_text().index("chosen.mp4") >= 0
    keys = list_sources(module_database, own)
    assert len(keys) == 2
    assert all(key.startswith(f"uploads/{own.tenant_id}/") for key in keys)
    done.first.click()
    page.wait_for_url("**/jobs/job_**")
    expect(page.locator("main")).to_contain_text("queued")


def list_hashes(database: Database, own: Scene) -> set[str | None]:
    with database.transaction(tenant_id=own.tenant_id) as session:
        return set(session.scalars(select(Upload.sha256).where(Upload.tenant_id == own.tenant_id)))


def test_an_upload_says_whether_its_hash_was_compared(page: Page, own: Scene, module_database: Database):
    enter(page, own, UserRole.REVIEWER, "/upload")
    page.evaluate("document.getElementById('drop').dataset.hashed = 1000")
    lines = page.locator("#list li")
    page.evaluate(_DROP, "x" * 1000)
    expect(lines.nth(0)).to_contain_text("is queued: see its job; length, type and SHA-256 were compared")
    page.evaluate(_DROP, "y" * 1001)
    told = "only length and type were compared: the file is too large to be hashed in a browser"
    expect(lines.nth(1)).to_contain_text(f"is queued: see its job; {told}")
    # As on a page of another machine that came without TLS.
    page.evaluate("Object.defineProperty(crypto, 'subtle', { value: undefined })")
    page.evaluate(_DROP, "z" * 1000)
    told = "only length and type were compared: browsers hash files only on pages that came over HTTPS"
    expect(lines.nth(2)).to_contain_text(f"is queued: see its job; {told}")
    assert list_hashes(module_database, own) == {hashlib.sha256(b"x" * 1000).hexdigest(), None}


def test_the_store_refuses_other_bytes_than_the_browser_has_hashed(
    page: Page, own: Scene, module_database: Database
):
    def announce_another(route: Route) -> None:
        asked = dict(parse_qsl(route.request.post_data))
        route.continue_(post_data=urlencode(asked | {"sha256": "00" * 32}))

    enter(page, own, UserRole.REVIEWER, "/upload")
    page.route("**/upload/begin", announce_another)
    page.evaluate(_DROP, "x" * 1000)
    expect(page.locator("#list li")).to_contain_text("was not uploaded: the object store answered 400")
    assert list_sources(module_database, own) == set()


# Boxes of fieldsets that do not lie on the first line of the words of their labels.
ASTRAY = """() => [...document.querySelectorAll('fieldset label')].filter((label) => {
  const box = label.querySelector('input').getBoundingClientRect();
  const words = document.createRange();
  words.selectNodeContents(label);
  const first = [...words.getClientRects()].find((each) => each.left >= box.right && each.width > 4);
  return !first || first.top > box.bottom || first.bottom < box.top;
}).map((label) => label.textContent.trim())"""


def test_on_a_narrow_screen_boxes_stand_beside_their_labels(page: Page, own: Scene):
    page.set_viewport_size({"width": 390, "height": 844})
    enter(page, own, UserRole.ADMIN, "/webhooks")
    for address in ("/webhooks", "/keys", "/queue"):
        page.goto(address)
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        assert page.locator("fieldset label").count() > 1
        assert page.evaluate(ASTRAY) == [], address
