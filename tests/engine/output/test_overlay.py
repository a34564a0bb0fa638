"""Overlay videos: the source's frames at their times, upright, with everything drawn in its place."""

from pathlib import Path

import av
import numpy as np
import pytest

from engine.output.drawing import HOT
from engine.output.overlay import OverlayPainter, overlay_name, write_overlay
from engine.sandbox.handle import Sandbox
from tests.engine.made_evidence import GRID, make_evidence
from tests.engine.output.drawn import (
    CROP_LEFT,
    CROP_SIDE,
    CROP_TOP,
    LIMITS,
    drawn_picture_result,
    drawn_result,
)
from tests.engine.output.made_results import (
    finish_result,
    make_faceless_result,
    make_picture_result,
    make_probe,
    make_result,
)
from tests.media import draw_clip, encode_picture, read_index, variable_times
from tests.tolerance import ENCODED_BLOCK_LEVELS, ENCODED_LEVELS

WIDTH, HEIGHT = 480, 320


def paint_grey(index: int, rgb: np.ndarray) -> None:
    del index
    rgb[40:] = 110


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("overlay") / "clip.mp4"
    return draw_clip(path, width=WIDTH, height=HEIGHT, frames=52, paint=paint_grey)


def read_video(path: Path) -> tuple[list[int], list[np.ndarray]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        base = container.streams.video[0].time_base
        pictures = [frame.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray() for frame in frames]
        assert container.streams.video[0].codec_context.name == "h264"
        return [round(frame.pts * base * 1_000_000) for frame in frames], pictures


@pytest.fixture(scope="module")
def overlay(clip: Path, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory):
    result = drawn_result(clip, sandbox)
    path = tmp_path_factory.mktemp("out") / overlay_name(result, "clip")
    told: list[tuple[int, int]] = []
    write_overlay(result, path, sandbox, LIMITS, lambda done, total: told.append((done, total)))
    times, frames = read_video(path)
    return result, times, frames, told


def test_every_frame_of_the_source_is_there_at_its_time(overlay) -> None:
    result, times, frames, told = overlay
    assert times == result.probe.frames_us.tolist()
    assert [read_index(frame[:HEIGHT]) for frame in frames] == list(range(52))
    assert told == [(done, 52) for done in range(1, 53)]


def test_the_strip_lies_below_the_picture(overlay) -> None:
    _, _, frames, _ = overlay
    assert frames[0].shape[1] == WIDTH
    assert HEIGHT + 100 < frames[0].shape[0] < HEIGHT + 180


def test_hot_cells_lie_where_the_affine_says(overlay) -> None:
    _, _, frames, _ = overlay
    cell = CROP_SIDE / GRID
    left, top = round(CROP_LEFT + 2 * cell), round(CROP_TOP + 2 * cell)
    right, bottom = round(CROP_LEFT + 4 * cell), round(CROP_TOP + 4 * cell)
    inside = frames[10][top + 3 : bottom - 2, left + 3 : right - 2].reshape(-1, 3)
    share = 0.62 * 240 / 255
    expected = 110 + (np.array(HOT) - 110) * share
    assert np.abs(np.median(inside, axis=0) - expected).max() <= ENCODED_BLOCK_LEVELS
    outside = frames[10][bottom + 4 : bottom + 8, left:right].reshape(-1, 3)
    assert np.abs(np.median(outside, axis=0) - 110).max() <= ENCODED_LEVELS


def test_the_map_is_gone_where_nothing_was_looked_at(clip: Path, sandbox: Sandbox) -> None:
    result = drawn_result(clip, sandbox, step=1)  # samples in the first ten frames only
    painter = OverlayPainter(result)
    grey = np.full((HEIGHT, WIDTH, 3), 110, np.uint8)
    late = painter.paint(grey, 1_800_000)[:HEIGHT]
    assert (late == 110).all()


def test_the_cursor_moves_with_time() -> None:
    painter = OverlayPainter(make_result())
    blank = np.zeros((360, 640, 3), np.uint8)
    columns = []
    for time_us in (0, 16_000_000, 31_900_000):
        strip = painter.paint(blank, time_us)[360:]
        white = (strip[26:110] == 255).all(axis=2).sum(axis=0)
        columns.append(int(white.argmax()))
    assert columns[0] < 60
    assert 290 < columns[1] < 370
    assert columns[2] > 600


def test_spans_without_a_score_are_hatched_and_named() -> None:
    painter = OverlayPainter(make_faceless_result())
    blank = np.zeros((360, 640, 3), np.uint8)
    canvas = painter.paint(blank, 10_000_000)
    assert (canvas[:360] != 0).any()  # the tag that says why nothing is scored
    plot = canvas[390:440, 100:300].astype(int)
    stripes = (np.abs(plot - 150).max(axis=2) < 5).mean()
    assert 0.15 < stripes < 0.4


def test_variable_rate_keeps_its_times(tmp_path: Path, sandbox: Sandbox) -> None:
    times = variable_times((10, 5, 10), (40_000, 200_000, 33_000))
    source = draw_clip(tmp_path / "vfr.mp4", width=WIDTH, height=HEIGHT, frames=len(times), times_us=times)
    result = drawn_result(source, sandbox, step=2)
    write_overlay(result, tmp_path / "out.mp4", sandbox, LIMITS)
    written, _ = read_video(tmp_path / "out.mp4")
    assert written == result.probe.frames_us.tolist()


@pytest.mark.parametrize("rotation", [90, 180])
def test_turned_videos_stand_upright(tmp_path: Path, sandbox: Sandbox, rotation: int) -> None:
    source = draw_clip(
        tmp_path / "turned.mp4", width=480, height=288, frames=50, rotation=rotation, paint=paint_grey
    )
    result = drawn_result(source, sandbox)
    write_overlay(result, tmp_path / "out.mp4", sandbox, LIMITS)
    _, frames = read_video(tmp_path / "out.mp4")
    assert [read_index(frame[:288]) for frame in frames] == list(range(50))


def test_small_pictures_are_enlarged_and_large_ones_shrunk() -> None:
    for size, expected in (((160, 121), (480, 364)), ((3841, 2160), (1280, 720)), ((720, 1280), (720, 1280))):
        result = finish_result(make_evidence({0: [1.0] * 10}), make_probe(size=size))
        painter = OverlayPainter(result)
        canvas = painter.paint(np.zeros((size[1], size[0], 3), np.uint8), 500_000)
        assert painter.width % 2 == painter.height % 2 == 0
        assert painter.width == expected[0]
        assert canvas.shape[0] - 180 < expected[1] < canvas.shape[0] - 100


def test_a_picture_gets_a_picture(tmp_path: Path, sandbox: Sandbox) -> None:
    source = tmp_path / "face.png"
    source.write_bytes(encode_picture(np.full((HEIGHT, WIDTH, 3), 110, np.uint8), "png"))
    result = drawn_picture_result(source, sandbox)
    path = tmp_path / overlay_name(result, "face")
    write_overlay(result, path, sandbox, LIMITS)
    assert path.name == "face.overlay.jpg"
    with av.open(str(path), format="jpeg_pipe") as container:
        rgb = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert rgb.shape[1] == WIDTH
    assert rgb.shape[0] > HEIGHT
    assert rgb[CROP_TOP + 30, CROP_LEFT + 30, 1] < 90  # pink, not grey


def test_names_follow_the_kind_of_media() -> None:
    assert overlay_name(make_result(), "a") == "a.overlay.mp4"
    assert overlay_name(make_picture_result(), "a") == "a.overlay.jpg"
