"""Degradation acts alike on real and forged pictures and keeps the geometry."""

from dataclasses import replace

import numpy as np
import pytest

from engine.arrays import U8
from engine.training.degrade import Degradation, compress_as_video, degrade_picture, draw_degradation
from tests.assets import astronaut


@pytest.fixture(scope="module")
def picture() -> U8:
    return astronaut()[40:191, 150:301]


def _psnr(a: U8, b: U8) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


@pytest.mark.parametrize("frames", [1, 3])
def test_video_compression_keeps_odd_sizes_and_place(picture: U8, frames: int) -> None:
    coded = compress_as_video(picture, 18, frames, "veryfast")
    assert coded.shape == picture.shape
    assert _psnr(coded, picture) > 30
    assert _psnr(np.roll(coded, 1, 1), picture) < _psnr(coded, picture) - 3


def test_a_higher_rate_factor_loses_more(picture: U8) -> None:
    psnr = [_psnr(compress_as_video(picture, crf, 2, "veryfast"), picture) for crf in (14, 24, 35)]
    assert psnr[0] > psnr[1] > psnr[2]


def test_one_chain_treats_equal_pictures_equally(picture: U8) -> None:
    for seed in range(12):
        chain = draw_degradation(100.0, np.random.default_rng(seed))
        np.testing.assert_array_equal(degrade_picture(picture, chain), degrade_picture(picture.copy(), chain))


def test_strength_zero_leaves_the_picture(picture: U8) -> None:
    chain = draw_degradation(100.0, np.random.default_rng(1), strength=0.0)
    np.testing.assert_array_equal(degrade_picture(picture, chain), picture)


def test_scale_gives_the_size_of_the_result(picture: U8) -> None:
    chain: Degradation = replace(draw_degradation(100.0, np.random.default_rng(1), strength=0.0), scale=0.5)
    assert degrade_picture(picture, chain).shape == (76, 76, 3)


def test_sharpening_raises_the_energy_of_fine_detail(picture: U8) -> None:
    chain = replace(draw_degradation(100.0, np.random.default_rng(1), strength=0.0), sharpening=1.5)
    sharper = degrade_picture(picture, chain).astype(float)
    assert (
        np.abs(np.diff(sharper, axis=1)).mean() > 1.3 * np.abs(np.diff(picture.astype(float), axis=1)).mean()
    )


def test_small_faces_are_not_shrunk_below_what_can_be_scored() -> None:
    scales = [draw_degradation(60.0, np.random.default_rng(seed)).scale for seed in range(200)]
    assert min(scales) * 60.0 >= 56.0
