"""Colour arithmetic that files cannot show: the tone curve, strips, fields."""

import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import given
from hypothesis import strategies as st

from engine.decoders.colour import FrameConverter, keep_first_field
from engine.decoders.geometry import Orientation
from engine.decoders.tone import compress_highlights, tone_map
from tests.media import Clip, displayed_frame, rgb_to_yuv, yuv_frame


def pq_code(nits: float) -> int:
    """12-bit code of a luminance by the forward curve of SMPTE ST 2084."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = (nits / 10_000) ** m1
    return round(4095 * ((c1 + c2 * power) / (1 + c3 * power)) ** m2)


def srgb_level(linear: float) -> float:
    return 255 * (12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize(
    ("nits", "linear"), [(0, 0), (20.3, 0.1), (101.5, 0.5), (142.1, 0.7), (203, 0.85), (1000, 0.9791)]
)
def test_grey_of_known_luminance_lands_where_the_curve_says(nits: float, linear: float) -> None:
    code = np.full((2, 3), pq_code(nits), np.uint16)
    assert np.abs(tone_map(code, code, code, "pq") - srgb_level(linear)).max() <= 1.5


@given(st.floats(0, 50), st.floats(0, 50))
def test_highlights_keep_their_order_and_never_pass_the_top(a: float, b: float) -> None:
    low, high = compress_highlights(np.array(sorted([a, b]), dtype=np.float32))
    assert low <= high <= 1
    assert low == np.float32(min(a, b)) or min(a, b) > 0.7


def test_tone_mapping_does_not_depend_on_the_strips() -> None:
    planes = list(np.random.default_rng(1).integers(0, 4096, (3, 700, 500), dtype=np.uint16))
    whole = tone_map(*planes, "hlg")
    rows = np.concatenate([tone_map(*(p[i : i + 1] for p in planes), "hlg") for i in range(0, 700, 7)])
    assert np.array_equal(whole[::7], rows)


def test_a_bright_skin_tone_keeps_its_hue_from_bt2020_to_srgb() -> None:
    skin = np.array([1.2, 0.7, 0.5])  # linear BT.709, in units of diffuse white: brighter than sRGB can be
    to_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
    wide = np.linalg.solve(to_709, skin)
    planes = [np.array([[pq_code(203 * float(value))]], np.uint16) for value in wide]
    shown = tone_map(*planes, "pq")[0, 0] / 255
    linear = ((shown + 0.055) / 1.055) ** 2.4
    assert linear[0] == pytest.approx(1 - 0.09 / (1.2 - 0.4), abs=0.01)
    assert linear / linear[0] == pytest.approx(skin / skin[0], abs=0.02)


def test_one_field_keeps_its_lines_and_fills_between() -> None:
    rgb = np.zeros((6, 2, 3), np.uint8)
    rgb[0::2] = np.array([10, 20, 40])[:, None, None]
    rgb[1::2] = 255  # the other moment
    assert keep_first_field(rgb)[:, 0, 0].tolist() == [10, 15, 20, 30, 40, 40]
    assert keep_first_field(rgb[:5])[:, 0, 0].tolist() == [10, 15, 20, 30, 40]


def test_smooth_chroma_has_no_steps_inside_a_ramp() -> None:
    # Red rises by 8 over two pixels: taking each chroma sample twice makes steps of 8, interpolation none.
    ramp = np.zeros((32, 64, 3), np.uint8)
    ramp[..., 0] = np.arange(64) * 4
    frame = yuv_frame(np.round(rgb_to_yuv(ramp, "bt601", is_full=True, bits=8)), "yuv420p")
    frame.color_range = 2
    steps: dict[bool, int] = {}
    for is_smooth in (False, True):
        converter = FrameConverter(64, 32, Orientation(), is_chroma_smooth=is_smooth)
        red = converter.convert(frame)[16, 8:56, 0].astype(int)
        steps[is_smooth] = int(np.diff(red).max())
    assert steps[True] <= 6 < 7 <= steps[False]


def test_a_converter_keeps_right_when_the_size_changes() -> None:
    picture = displayed_frame(Clip(), 5)
    converter = FrameConverter(160, 120, Orientation())
    for size in ((320, 240), (160, 120), (640, 480)):
        frame = VideoFrame.from_ndarray(picture, format="rgb24").reformat(*size, format="yuv444p")
        shown = converter.convert(frame)
        assert shown.shape == (120, 160, 3)
        small = picture.reshape(120, 2, 160, 2, 3).mean(axis=(1, 3))
        assert np.abs(shown - small).mean() < 6
