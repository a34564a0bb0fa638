"""What the review page draws, by the colours of known places: lanes over time, and patch maps on the face."""

import json
import secrets
import zlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page, expect

from engine.results import Segment, SegmentKind
from fakesieve.database import Database
from fakesieve.records.analyses import AnalysisRecord
from fakesieve.values.people import UserRole
from tests.api.pages.browsing import enter, open_page
from tests.api.pages.stage import Scene, make_scene
from tests.factories import CROP_SIZE, GRID, MEDIA, SECOND_US
from tests.waiting import wait_until

LABEL, LANE, GAP, RIGHT = 102, 46, 8, 12
HIGHEST, FACE = (GAP // 2 + place * (LANE + GAP) for place in range(2))  # tops of the two lanes
PAPER, RAISED, INK, DIM, HOT = (
    (255, 255, 255), (244, 246, 248), (27, 31, 36), (80, 90, 101), (168, 0, 88),
)  # fmt: skip
FACE_COLOUR = (86, 180, 233)
CELLS = bytes([255, 128, 30, 0] * GRID)  # by rows: sure, even, under the threshold, none

# The colours of a row or column of pixels of a canvas, as [red, green, blue, alpha] each.
READ = """(canvas, [x, y, width, height]) => {
  const data = canvas.getContext('2d').getImageData(x, y, width, height).data;
  return JSON.stringify(Array.from({length: width * height}, (_, i) => [...data.slice(4 * i, 4 * i + 4)]));
}"""
Colour = tuple[int, ...]


@pytest.fixture(scope="module")
def own(module_database: Database) -> Scene:
    """An analysis with a suspicious span, a span without a score, a cut, and a map of four known values."""
    cut = Segment(3 * SECOND_US // 2, 3 * SECOND_US // 2 + 1, SegmentKind.CUT)

    def change(kept: AnalysisRecord) -> AnalysisRecord:
        score = replace(kept.score, segments=(*kept.score.segments, cut))
        packed = zlib.compress(CELLS * len(kept.maps[0].pts_us))
        return replace(kept, score=score, maps=(replace(kept.maps[0], packed=packed),))

    return make_scene(module_database, f"tenant-{secrets.token_hex(4)}", media=MEDIA, change=change)


@pytest.fixture(scope="module")
def page(browser: Browser, address: str, own: Scene) -> Iterator[Page]:
    """The review page at its beginning, with everything drawn: one for all tests, which only look."""
    with open_page(browser, address) as found:
        enter(found, own, UserRole.REVIEWER, f"/r/{own.analysis_id}?t=0")
        expect(found.locator("#sample")).to_have_text("sample 1 of 3")
        expect(found.locator("[data-stripe='0'] canvas")).to_be_visible()  # nothing moves the lanes any more
        yield found


def read(page: Page, canvas: str, x: float, y: float, width: int = 1, height: int = 1) -> list[Colour]:
    area = [round(x), round(y), width, height]
    return [tuple(each) for each in json.loads(page.locator(canvas).evaluate(READ, area))]


def read_lane(page: Page, us: float, y: float, width: int = 1, height: int = 1) -> list[Colour]:
    """Return colours of the lanes from a moment on, to the right or below."""
    whole = int(page.locator("#timeline").evaluate("canvas => canvas.width"))
    x = LABEL + us / (3 * SECOND_US) * (whole - LABEL - RIGHT)
    return [colour[:3] for colour in read(page, "#timeline", x, y, width, height)]


def mix(top: Colour, share: float, under: Colour) -> Colour:
    return tuple(round(share * a + (1 - share) * b) for a, b in zip(top, under, strict=True))


def test_a_suspicious_span_is_filled_and_an_empty_one_is_not(page: Page):
    for lane in (HIGHEST, FACE):
        assert read_lane(page, 0.4 * SECOND_US, lane + LANE - 2) == [HOT]  # a bar, whatever eyes see of red
        (filled,) = read_lane(page, 0.4 * SECOND_US, lane + 23)
        assert filled == pytest.approx(mix(HOT, 0.22, RAISED), abs=2)
    assert read_lane(page, 2.4 * SECOND_US, FACE + 23) == [RAISED]
    assert read_lane(page, 2.4 * SECOND_US, FACE + LANE - 2) == [RAISED]


def test_a_span_without_a_score_is_hatched_and_says_why(page: Page):
    row = read_lane(page, 2.2 * SECOND_US, HIGHEST + 23, width=140)
    darkest = sorted(range(140), key=lambda x: sum(row[x]))[:20]
    assert len({x % 7 for x in darkest}) <= 2  # a stroke in every seven pixels
    assert min(map(sum, row)) < sum(RAISED) - 200
    assert RAISED in row
    words = read_lane(page, 2 * SECOND_US + 1, HIGHEST + LANE - 18, width=40, height=12)
    assert PAPER in words  # a plate under the words
    assert min(map(sum, words)) < sum(DIM)  # letters in ink
    assert (
        len(set(read_lane(page, 2.2 * SECOND_US, FACE + 23, width=140))) == 1
    )  # its own lane has no such span


def test_thresholds_are_dashed_lines_at_their_height(page: Page):
    for threshold in (0.3, 0.7):
        row = read_lane(page, 2.2 * SECOND_US, FACE + LANE - 3 - threshold * (LANE - 6), width=90)
        dashes = [colour != RAISED for colour in row]
        assert 40 <= sum(dashes) <= 70  # five of nine pixels
        assert dashes[:81] == dashes[9:]
        assert min(map(sum, row)) < sum(RAISED) - 100
    between = read_lane(page, 2.2 * SECOND_US, FACE + LANE - 3 - 0.5 * (LANE - 6), width=90)
    assert set(between) == {RAISED}


def test_a_line_joins_scores_and_nothing_is_drawn_over_a_gap(page: Page):
    def to_y(score: float) -> float:
        return FACE + LANE - 3 - score * (LANE - 6)

    assert read_lane(page, SECOND_US, to_y(0.95)) == [FACE_COLOUR]  # the dot of the sample
    assert FACE_COLOUR in read_lane(page, SECOND_US / 2, to_y(0.925) - 3, height=6)
    column = read_lane(page, 1.25 * SECOND_US, FACE, height=LANE)
    assert FACE_COLOUR not in column
    assert INK not in column


def test_a_cut_is_a_dotted_upright_over_all_lanes(page: Page):
    for lane in (HIGHEST, FACE):
        column = read_lane(page, 1.5 * SECOND_US, lane + 17, height=13)
        beside = read_lane(page, 1.45 * SECOND_US, lane + 17, height=13)
        assert len(set(beside)) == 1
        dark = [sum(colour) < sum(beside[0]) - 100 for colour in column]
        assert 3 <= sum(dark) <= 10


def test_lanes_are_drawn_anew_for_a_dark_page(page: Page):
    page.emulate_media(color_scheme="dark")
    wait_until(lambda: read_lane(page, 2.4 * SECOND_US, FACE + 23) == [(29, 35, 42)])
    assert read_lane(page, 0.4 * SECOND_US, FACE + LANE - 2) == [(255, 122, 184)]
    page.emulate_media(color_scheme="light")
    wait_until(lambda: read_lane(page, 2.4 * SECOND_US, FACE + 23) == [RAISED])


def test_pressed_buttons_look_pressed_where_colours_are_forced(page: Page):
    def read_fill(name: str) -> str:
        return page.locator(name).evaluate("button => getComputedStyle(button).backgroundColor")

    page.emulate_media(forced_colors="active")
    try:
        expect(page.locator("#boxes")).to_have_attribute("aria-pressed", "true")
        assert read_fill("#boxes") != read_fill("#smooth")
        assert read_fill("#map") == read_fill("#boxes")
    finally:
        page.emulate_media(forced_colors="none")


def read_cells(page: Page, row: int, share: float) -> list[Colour]:
    """Return the colours of a row of cells on the picture, each at a share of its width and height."""
    width, height = (
        int(page.locator("#overlay").evaluate(f"canvas => canvas.{n}")) for n in ("width", "height")
    )
    scale = min(width / 640, height / 360)
    left, top = (width - 640 * scale) / 2, (height - 360 * scale) / 2
    side = 1.5 * CROP_SIZE / GRID
    y = top + (90.125 + side * (row + share)) * scale
    return [
        read(page, "#overlay", left + (240.25 + side * (column + share)) * scale, y)[0]
        for column in range(GRID)
    ]


def test_a_map_has_the_value_of_each_cell_in_its_place(page: Page):
    page.locator("#boxes").click()
    sure, even = (255, 0, 128, 128), (255, 0, 128, 64)
    wanted = [pytest.approx(sure, abs=3), pytest.approx(even, abs=3), (0, 0, 0, 0), (0, 0, 0, 0)]
    wait_until(lambda: read_cells(page, 0, 0.5) == wanted, lambda: read_cells(page, 0, 0.5))
    for row in range(GRID):
        for share in (0.2, 0.8):  # the same up to the edge: nothing is smoothed
            assert read_cells(page, row, share) == wanted
    page.locator("#opacity").fill("100")
    page.locator("#threshold").fill("10")
    wanted = [
        (255, 0, 128, 255), pytest.approx((255, 0, 128, 128), abs=3),
        pytest.approx((255, 0, 128, 30), abs=6), (0, 0, 0, 0),
    ]  # fmt: skip
    wait_until(lambda: read_cells(page, 0, 0.5) == wanted, lambda: read_cells(page, 0, 0.5))
    page.keyboard.press("h")
    wait_until(lambda: read_cells(page, 0, 0.5) == [(0, 0, 0, 0)] * GRID)


def test_what_one_decides_by_and_the_decision_are_on_one_screen(browser: Browser, address: str, own: Scene):
    with open_page(browser, address) as found:
        enter(found, own, UserRole.REVIEWER, "/queue")
        found.get_by_role("button", name="Review the next").click()
        expect(found.locator("#sample")).to_contain_text("sample")
        expect(found.locator("[data-stripe='0'] canvas")).to_be_visible()
        names = ("#stage", "#timeline", "#decision")
        picture, lanes, bar = (found.locator(name).bounding_box() for name in names)
    assert picture is not None
    assert lanes is not None
    assert bar is not None
    assert picture["y"] >= 0
    assert picture["y"] + picture["height"] <= lanes["y"]
    assert bar["y"] + bar["height"] <= 900
    assert lanes["y"] + lanes["height"] <= bar["y"]
