"""The noise stream's input against the filters' tables, applied pixel by pixel."""

import numpy as np
import torch

from engine.network.noise import SrmNoise, srm_planes
from tests.engine.network.oracle import srm
from tests.tolerance import LAYER_F32


def random_picture(side: int) -> np.ndarray:
    return np.random.default_rng(3).uniform(-1, 1, (3, side, side))


def test_residuals_follow_the_tables_with_a_zero_border() -> None:
    picture = random_picture(17)
    seen = SrmNoise()(torch.from_numpy(picture[None]).float())[0].numpy()
    np.testing.assert_allclose(seen, srm(picture), atol=LAYER_F32)


def test_residuals_are_cut_at_three() -> None:
    checkers = np.indices((12, 12)).sum(axis=0) % 2 * 2.0 - 1.0
    picture = np.stack([checkers] * 3)
    seen = SrmNoise()(torch.from_numpy(picture[None]).float())[0].numpy()
    assert seen.max() == 3.0
    assert seen.min() == -3.0
    np.testing.assert_allclose(seen, srm(picture), atol=LAYER_F32)


def test_filters_sum_to_zero_and_have_the_stated_weight() -> None:
    planes = srm_planes()[:, 0].double()
    np.testing.assert_allclose(planes.sum(dim=(1, 2)), 0.0, atol=LAYER_F32)
    np.testing.assert_allclose(3 * planes.abs().sum(dim=(1, 2)), [12.0, 24.0, 6.0], atol=LAYER_F32)


def test_residuals_keep_their_precision_under_autocast() -> None:
    picture = torch.from_numpy(random_picture(16)[None]).float() * 0.01 + 0.7
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen = SrmNoise()(picture)
    assert seen.dtype == torch.float32
    np.testing.assert_allclose(seen[0].numpy(), srm(picture[0].double().numpy()), atol=LAYER_F32)
