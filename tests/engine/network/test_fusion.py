"""How the streams meet, layer by layer against loops over positions in float64."""

import numpy as np
import pytest
import torch

from engine.network.fusion import (
    BilinearFusion,
    ConsistencyEnhancement,
    GuidedAttention,
    PatchFeatures,
    cosine_similarity,
    grid_padding,
    pad_to_grid,
    patch_agreement,
    pool_to_grid,
)
from tests.engine.network import oracle
from tests.models import randomise
from tests.tolerance import LAYER_F32


def maps(channels: int, side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (channels, side, side))


def tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values[None]).float()


@pytest.mark.parametrize("rectify", [True, False])
def test_enhancement_gives_the_second_map_the_updated_first(rectify: bool) -> None:
    first, second = maps(6, 5, 1), maps(6, 5, 2)
    seen = ConsistencyEnhancement(rectify=rectify)(tensor(first), tensor(second))
    wanted = oracle.enhance(first, second)
    for ours, theirs in zip(seen, wanted, strict=True):
        expected = oracle.relu(theirs) if rectify else theirs
        np.testing.assert_allclose(ours[0].numpy(), expected, atol=LAYER_F32)


def test_enhancement_is_not_symmetric() -> None:
    first, second = tensor(maps(6, 5, 1)), tensor(maps(6, 5, 2))
    module = ConsistencyEnhancement(rectify=False)
    swapped = module(second, first)
    assert not torch.allclose(module(first, second)[1], swapped[0])


def test_a_zero_vector_has_similarity_zero_and_a_finite_gradient() -> None:
    first = torch.zeros(1, 4, 2, 2, requires_grad=True)
    second = torch.ones(1, 4, 2, 2, requires_grad=True)
    similarity = cosine_similarity(first, second)
    assert similarity.abs().max() == 0
    similarity.sum().backward()
    assert first.grad is not None
    assert torch.isfinite(first.grad).all()


@pytest.mark.parametrize("rectify", [True, False])
def test_attention_gathers_without_scaling_the_products(rectify: bool) -> None:
    module = GuidedAttention(8, rectify=rectify)
    module.gamma.data.fill_(0.7)
    x, y = maps(8, 5, 1), maps(8, 5, 2)
    weights = {"lfe0.gamma": np.array([0.7])}
    for kind in ("query", "key", "value"):
        layer = getattr(module, kind)
        weights[f"lfe0.{kind}_conv.weight"] = layer.weight.detach().double().numpy()
        weights[f"lfe0.{kind}_conv.bias"] = layer.bias.detach().double().numpy()
    expected = oracle.attend(x, y, weights, "lfe0")
    seen = module(tensor(x), tensor(y))[0].detach().numpy()
    np.testing.assert_allclose(seen, oracle.relu(expected) if rectify else expected, atol=LAYER_F32)


def test_a_fresh_attention_passes_its_map_through() -> None:
    y = tensor(maps(8, 5, 2))
    assert torch.equal(GuidedAttention(8, rectify=False)(tensor(maps(8, 5, 1)), y), y)


# The table of the network's description: side -> padding before, padding after, window.
@pytest.mark.parametrize(
    ("side", "expected"), [(150, (1, 1, 8)), (75, (0, 1, 4)), (38, (0, 0, 2)), (19, (0, 0, 1))]
)
def test_padding_to_the_patch_grid_is_as_described(side: int, expected: tuple[int, int, int]) -> None:
    assert grid_padding(side, 19) == expected


@pytest.mark.parametrize(("side", "cells"), [(150, 19), (75, 19), (38, 19), (19, 19), (112, 14), (7, 3)])
def test_patch_agreement_orders_pixels_by_row_then_column(side: int, cells: int) -> None:
    shallow, guide = maps(3, side, 1), maps(3, cells, 2)
    padded = pad_to_grid(tensor(shallow), cells)
    seen = patch_agreement(padded, tensor(guide))[0].numpy()
    np.testing.assert_allclose(seen, oracle.patch_features(shallow, guide), atol=LAYER_F32)


def test_patch_features_stand_in_order_with_the_raw_deepest_map_last() -> None:
    channels, sides, grid = (2, 3, 4, 5, 6, 6), (11, 6, 3, 3, 3, 3), 3
    module = PatchFeatures(channels, 7, grid).eval()
    randomise(module, 4)
    levels = [
        maps(width, side, index) for index, (width, side) in enumerate(zip(channels, sides, strict=True))
    ]
    weights = {
        key.replace("scores.", "score").replace(".norm.", ".bn."): value.double().numpy()
        for key, value in module.state_dict().items()
    }
    guide = oracle.score(levels[5], weights, 5)
    expected = [oracle.patch_features(oracle.score(levels[k], weights, k), guide) for k in range(5)]
    with torch.no_grad():
        seen = module(tuple(tensor(level) for level in levels))[0].numpy()
    assert [len(part) for part in expected] == [16, 4, 1, 1, 1]
    np.testing.assert_allclose(seen, np.concatenate([*expected, levels[5]]), atol=LAYER_F32)


@pytest.mark.parametrize(
    ("side", "cells"), [(150, 10), (75, 10), (38, 10), (19, 10), (112, 7), (14, 7), (5, 2)]
)
def test_pooling_equals_replication_padding_first(side: int, cells: int) -> None:
    values = maps(2, side, 3)
    seen = pool_to_grid(tensor(values), cells)[0].numpy()
    np.testing.assert_array_equal(seen, oracle.pool_to(values, cells).astype(np.float32))


def test_bilinear_fusion_multiplies_both_projections() -> None:
    module = BilinearFusion(5, 4, hidden=6, out=7, dropout=0.5).eval()
    shallow, deep = [maps(2, 8, 1), maps(3, 5, 2)], maps(4, 3, 3)
    names = {"shallow": "Trans1", "deep": "Trans2", "out": "OutTrans"}
    weights = {}
    for ours, theirs in names.items():
        layer = getattr(module, ours)
        weights[f"HBFusion.{theirs}.weight"] = layer.weight.detach().double().numpy()[:, :, 0, 0]
        weights[f"HBFusion.{theirs}.bias"] = layer.bias.detach().double().numpy()
    expected = oracle.fuse([oracle.pool_to(level, 3) for level in shallow], deep, weights)
    with torch.no_grad():
        seen = module(tuple(tensor(level) for level in shallow), tensor(deep))[0].numpy()
    np.testing.assert_allclose(seen, expected, atol=LAYER_F32)
