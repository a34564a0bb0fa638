"""The whole network: sizes, outputs of inference and training, gradients, mixed precision."""

import pytest
import torch

from engine.network.two_stream import MANIPULATED, REAL, TwoStreamNet
from engine.network.variants import LV_COMPACT, LV_XCEPTION, build_lv_compact, map_sides, patch_areas
from tests.models import random_compact, random_crops
from tests.tolerance import BF16_LOGITS, LAYER_F32


@pytest.fixture(scope="module")
def compact() -> TwoStreamNet:
    return random_compact(1, projection=True)


def crops(count: int = 2) -> torch.Tensor:
    return torch.from_numpy(random_crops(count, 224))


def test_maps_have_the_described_sides() -> None:
    assert map_sides(LV_XCEPTION) == (150, 75, 38, 19, 19, 19)
    assert map_sides(LV_COMPACT) == (112, 56, 28, 14, 14, 14)
    assert patch_areas(LV_XCEPTION) + LV_XCEPTION.channels[5] == 814


def test_compact_stays_within_its_budget_of_parameters() -> None:
    assert sum(p.numel() for p in build_lv_compact().parameters()) < 5_000_000


def test_logits_and_patch_logits_have_their_shapes(compact: TwoStreamNet) -> None:
    with torch.no_grad():
        logits, patches = compact(crops())
    assert logits.shape == (2, 2)
    assert patches.shape == (2, 2, 14, 14)
    assert {REAL, MANIPULATED} == {0, 1}


def test_training_sees_what_inference_sees(compact: TwoStreamNet) -> None:
    with torch.no_grad():
        logits, patches = compact(crops())
        outputs = compact.forward_train(crops().float() / 255)
        triage = compact.class_logits(crops())
    torch.testing.assert_close(outputs.logits, logits, atol=LAYER_F32, rtol=0)
    torch.testing.assert_close(outputs.patch_logits, patches, atol=LAYER_F32, rtol=0)
    torch.testing.assert_close(triage, logits, atol=LAYER_F32, rtol=0)
    assert outputs.projection is not None
    assert outputs.projection.shape == (2, 256, 14, 14)


def test_a_face_is_scored_alike_alone_and_in_company(compact: TwoStreamNet) -> None:
    with torch.no_grad():
        together, alone = compact(crops(3))[0][1:2], compact(crops(3)[1:2])[0]
    torch.testing.assert_close(together, alone, atol=LAYER_F32, rtol=0)


def test_crops_of_another_size_are_refused(compact: TwoStreamNet) -> None:
    with pytest.raises(ValueError, match="224"):
        compact(torch.zeros(1, 3, 299, 299, dtype=torch.uint8))


def test_every_parameter_learns_under_mixed_precision() -> None:
    net = random_compact(2, projection=True).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = net.forward_train(crops(4).float() / 255)
    assert outputs.projection is not None
    assert {output.dtype for output in outputs if output is not None} == {torch.float32}
    loss = outputs.logits.square().mean() + outputs.patch_logits.square().mean()
    (loss + outputs.projection.square().mean()).backward()
    idle = [
        name
        for name, parameter in net.named_parameters()
        if parameter.grad is None
        or not torch.isfinite(parameter.grad).all()
        or not parameter.grad.abs().max() > 0
    ]
    # A key's bias adds the same to all scores of a query: softmax does not see it.
    assert [name for name in idle if not name.endswith("key.bias")] == []


def test_mixed_precision_stays_near_float32(compact: TwoStreamNet) -> None:
    with torch.no_grad():
        exact = compact(crops())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = compact(crops())
    for ours, theirs in zip(rounded, exact, strict=True):
        torch.testing.assert_close(ours, theirs, atol=BF16_LOGITS, rtol=0)
