"""The whole network: sizes, outputs of inference and training, gradients, mixed precision."""

import pytest
import torch

from engine.network.two_stream import MANIPULATED, REAL, CellVote, TwoStreamNet
from engine.network.variants import LV_COMPACT, LV_XCEPTION, build_lv_compact, map_sides, patch_areas
from tests.models import random_compact, random_crops, random_mean_head
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


def margins(*values: float) -> torch.Tensor:
    """Two logits for each cell of a square map, of which the second is above the first by the value."""
    side = int(len(values) ** 0.5)
    real = torch.full((1, 1, side, side), 0.7)
    return torch.cat([real, real + torch.tensor(values).reshape(1, 1, side, side)], dim=1)


def test_the_class_is_voted_by_the_highest_cells_each_alike() -> None:
    vote = CellVote((4, 2), (0.125, 0.5))  # the 2 and 8 highest of 16 cells, the 1 and 2 highest of 4
    vote.linear.weight.data.fill_(1.5)
    vote.linear.bias.data.fill_(-0.25)
    fine, coarse = margins(*[-4.0] * 13, 5.0, 3.0, 0.0), margins(-1.0, 2.0, 1.0, -6.0)
    word = 0.8 * ((5 + 3) / 2 + (5 + 3 - 4 * 5) / 8) / 2 + 0.2 * (2.0 + 1.5) / 2
    (real, manipulated) = vote((fine, coarse))[0].tolist()
    assert manipulated - real == pytest.approx(1.5 * word - 0.25)


def test_a_few_forged_cells_outvote_a_real_rest() -> None:
    forged = margins(*[-2.0] * 14, 6.0, 6.0)
    assert (forged[:, MANIPULATED] - forged[:, REAL]).mean() < 0
    assert CellVote((4, 2), (0.125, 0.5))((forged, margins(*[-1.0] * 4)))[0, MANIPULATED] > 0


def test_only_a_network_whose_cells_vote_answers_for_cells_of_the_second_stream(
    compact: TwoStreamNet,
) -> None:
    picture = crops(1).float() / 255
    with torch.no_grad():
        cells = compact.forward_train(picture).cell_logits
        assert cells is not None
        assert cells.shape == (1, 2, 7, 7)
        assert random_mean_head(1).forward_train(picture).cell_logits is None


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
