"""What a review page asks for after it was sent, such as frames that come into view, in a real Chromium."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from api.pages.routes import review
from engine.results import TrackScore
from fakesieve.database import Database
from fakesieve.records.analyses import AnalysisRecord
from fakesieve.values.people import UserRole
from tests.api.pages.browsing import enter
from tests.api.pages.stage import Scene, make_scene
from tests.factories import MEDIA, SECOND_US, make_maps, make_score, make_track

PROBLEM = "application/problem+json"
FACES = 9
PEAKS = (0, SECOND_US, 2 * SECOND_US)  # of every face: 27 frames in all


def make_crowd(database: Database, peaks: Sequence[int]) -> Scene:
    """Make an analysis of many faces."""

    def change(kept: AnalysisRecord) -> AnalysisRecord:
        tracks: list[TrackScore] = [
            replace(make_track(ordinal, (0.9, 0.95, 0.8)), peak_pts_us=tuple(peaks))
            for ordinal in range(FACES)
        ]
        return replace(kept, score=make_score(tracks=tracks), maps=tuple(map(make_maps, tracks)))

    return make_scene(database, f"tenant-{secrets.token_hex(4)}", media=MEDIA, change=change)


def count_shades(shot: bytes) -> int:
    """Count the shades of grey inside the border of a square."""
    picture = cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_GRAYSCALE)
    return len(np.unique(picture[8:-8, 8:-8]))


@pytest.fixture
def crowd(module_database: Database) -> Scene:
    return make_crowd(module_database, PEAKS)


def test_the_frames_of_every_face_are_drawn_when_they_are_scrolled_to(page: Page, crowd: Scene):
    enter(page, crowd, UserRole.REVIEWER, f"/r/{crowd.analysis_id}?t=0")
    for ordinal in range(FACES):
        drawn = page.locator(f"[data-thumb='{ordinal}'][data-drawn]")
        page.locator(f"[data-thumb='{ordinal}']").last.scroll_into_view_if_needed()
        expect(drawn).to_have_count(len(PEAKS))
        assert count_shades(drawn.last.locator("canvas").screenshot()) > 10  # no blank square
    expect(page.locator("[data-thumb]:not([data-drawn])")).to_have_count(0)
    expect(page.locator("[data-undrawn]")).to_have_count(0)


def test_the_face_of_a_lane_is_drawn_beside_it_when_it_is_scrolled_to(page: Page, crowd: Scene):
    enter(page, crowd, UserRole.REVIEWER, f"/r/{crowd.analysis_id}?t=0")
    faces = page.locator("#lanes .lane-face")
    expect(faces).to_have_count(FACES)
    faces.last.scroll_into_view_if_needed()
    for place in (0, FACES - 1):
        face = faces.nth(place)
        face.scroll_into_view_if_needed()
        expect(face).to_have_attribute("data-drawn", "")
        assert count_shades(face.screenshot()) > 10
    page.locator("#blur").click()
    expect(faces.first).to_have_css("filter", "blur(8px)")


def test_a_frame_whose_face_cannot_be_had_is_named_with_the_reason(page: Page, crowd: Scene):
    body = '{"reason": "DATABASE_UNAVAILABLE", "detail": "no answer"}'
    page.route("**/faces/*", lambda route: route.fulfill(status=503, content_type=PROBLEM, body=body))
    enter(page, crowd, UserRole.REVIEWER, f"/r/{crowd.analysis_id}?t=0")
    face = page.locator(".face").first
    face.scroll_into_view_if_needed()
    expect(face.locator("[data-undrawn]")).to_have_count(len(PEAKS))
    expect(face.locator("[data-undrawn] span").last).to_have_text("not drawn")
    expect(face.locator("[data-why-undrawn]")).to_have_text("Not drawn: DATABASE_UNAVAILABLE: no answer.")


@pytest.mark.parametrize(("asked", "faults"), [("**/faces/0", 1), ("**/video", 3)])
def test_frames_are_drawn_after_all_once_a_fault_has_passed(
    page: Page, crowd: Scene, asked: str, faults: int
):
    """The link of the video is asked for by the player, and twice for a frame."""
    body = '{"reason": "DATABASE_UNAVAILABLE", "detail": "no answer"}'
    page.route(
        asked,
        lambda route: route.fulfill(status=503, content_type=PROBLEM, body=body),
        times=faults,
    )
    enter(page, crowd, UserRole.REVIEWER, f"/r/{crowd.analysis_id}?t=0")
    face = page.locator(".face").first
    face.scroll_into_view_if_needed()
    expect(face.locator("[data-drawn]")).to_have_count(len(PEAKS))
    expect(face.locator("[data-undrawn]")).to_have_count(0)
    expect(face.locator("[data-why-undrawn]")).to_have_text("")


# Notes where a frame has waited for its video until it is given up.
NOTE_OVERDUE = """window.overdue = 0;
const { setTimeout: start } = window;
window.setTimeout = (act, ms, ...given) => start((...all) => {
  if (ms === 20000) window.overdue += 1;
  act(...all);
}, ms, ...given);"""


def test_frames_of_a_video_that_cannot_be_read_say_so_soon(page: Page, crowd: Scene):
    """The first of them is tried twice, and no other one waits for a video that never came."""
    page.add_init_script(NOTE_OVERDUE)
    page.route(
        lambda url: "X-Amz-Signature" in url,
        lambda route: route.fulfill(status=200, content_type="video/mp4", body=b"no video at all"),
    )
    enter(page, crowd, UserRole.REVIEWER, f"/r/{crowd.analysis_id}?t=0")
    face = page.locator(".face").first
    face.scroll_into_view_if_needed()
    expect(face.locator("[data-undrawn]")).to_have_count(len(PEAKS))
    expect(face.locator("[data-why-undrawn]")).to_have_text("Not drawn: the video cannot be read.")
    assert page.evaluate("window.overdue") == 0


def test_frames_of_a_video_that_is_not_there_say_so(page: Page, crowd: Scene):
    body = '{"reason": "MEDIA_GONE", "detail": "the object is gone"}'
    page.route("**/video", lambda route: route.fulfill(status=409, content_type=PROBLEM, body=body))
    enter(page, crowd, UserRole.REVIEWER, f"/r/{crowd.analysis_id}?t=0")
    face = page.locator(".face").last
    face.scroll_into_view_if_needed()
    expect(face.locator("[data-why-undrawn]")).to_have_text("Not drawn: MEDIA_GONE: the object is gone.")
    expect(face.locator("[data-drawn]")).to_have_count(0)


def test_a_frame_without_a_stored_place_says_so_and_the_others_are_drawn(
    page: Page, module_database: Database
):
    scene = make_crowd(module_database, (0, SECOND_US // 2))
    enter(page, scene, UserRole.REVIEWER, f"/r/{scene.analysis_id}?t=0")
    face = page.locator(".face").first
    face.scroll_into_view_if_needed()
    expect(face.locator("[data-drawn]")).to_have_count(1)
    expect(face.locator("[data-why-undrawn]")).to_have_text(
        "Not drawn: where the face is in it is no longer stored."
    )


def test_what_very_many_samples_were_like_comes_after_the_scores(
    page: Page, module_database: Database, monkeypatch: pytest.MonkeyPatch
):
    own = make_scene(module_database, f"tenant-{secrets.token_hex(4)}", media=MEDIA)
    monkeypatch.setattr(review, "MEASURED_MAX", 2)
    enter(page, own, UserRole.REVIEWER, f"/r/{own.analysis_id}")
    said = page.locator("[data-quality]")
    expect(said).to_have_text(
        "Median of 3 samples: about 80 px, found with 0.75. Left out: 1 face too small."
    )
    page.route("**/quality", lambda route: route.abort())
    page.reload()
    face = page.locator("[data-quality='0']")
    expect(face).to_contain_text(
        "What its samples were like cannot be shown. UNREACHABLE: the server cannot be reached"
    )
    face.get_by_role("link").click()
    expect(page.get_by_text("Median of 3 samples: about 80 px, found with 0.75.")).to_be_visible()


def test_scores_and_modules_are_asked_for_once_each(page: Page, crowd: Scene):
    asked = list[str]()
    page.on("request", lambda request: asked.append(urlsplit(request.url).path.rpartition("/")[2]))
    enter(page, crowd, UserRole.REVIEWER, f"/r/{crowd.analysis_id}")
    expect(page.locator("[data-stripe='0'] canvas")).to_be_visible()
    assert asked.count("lanes") == 1
    ahead = page.locator("link[rel=modulepreload]").evaluate_all("(all) => all.map((each) => each.href)")
    loaded = page.evaluate("() => performance.getEntriesByType('resource').map((each) => each.name)")
    modules = {each for each in loaded if each.endswith(".js")}
    assert {each.rpartition("/")[2] for each in modules - set(ahead)} == {"menu.js", "review.js"}
    assert set(ahead) <= modules
