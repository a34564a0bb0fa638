"""Losses stay finite where the published training code gives NaN or no gradient."""

import math

import torch

from engine.training.losses import classification_loss, patch_loss, similarity_loss


def test_sure_and_right_logits_cost_nothing() -> None:
    logits = torch.tensor([[20.0, -20.0], [-20.0, 20.0]])
    assert classification_loss(logits, torch.tensor([0, 1])).item() < 1e-6


def test_undecided_patches_cost_log_two() -> None:
    loss = patch_loss(torch.zeros(2, 2, 3, 3), torch.rand(2, 3, 3))
    assert math.isclose(loss.item(), math.log(2), rel_tol=1e-6)


def test_a_partly_forged_cell_asks_for_its_share() -> None:
    """The minimum for a cell that is replaced by one quarter lies at a probability of one quarter."""
    share = torch.full((1, 1, 1), 0.25)
    losses = {p: patch_loss(_patch_logits(p), share).item() for p in (0.1, 0.25, 0.4)}
    assert losses[0.25] < losses[0.1]
    assert losses[0.25] < losses[0.4]


def test_forged_cells_may_count_more_than_real_ones() -> None:
    wrong = _patch_logits(0.1)
    plain, weighted = (patch_loss(wrong, torch.ones(1, 1, 1), weight).item() for weight in (1.0, 2.5))
    assert math.isclose(weighted, 2.5 * plain, rel_tol=1e-6)
    assert math.isclose(patch_loss(wrong, torch.zeros(1, 1, 1), 2.5).item(), -math.log(0.9), rel_tol=1e-6)


def _patch_logits(probability: float) -> torch.Tensor:
    return torch.tensor([0.0, math.log(probability / (1 - probability))]).reshape(1, 2, 1, 1)


def _scene() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two real and two forged faces on a 4 x 4 grid; the forged top half points elsewhere."""
    generator = torch.Generator().manual_seed(0)
    projection = torch.randn(4, 8, 4, 4, generator=generator) * 0.1
    projection[:, 0] += 1.0
    projection[2:, 0, :2] -= 1.0
    projection[2:, 1, :2] += 1.0
    regions = torch.zeros(4, 4, 4)
    regions[2:, 0, :] = 1.0
    return projection.requires_grad_(), torch.tensor([0, 0, 1, 1]), regions


def test_similarity_labels_the_patches_that_resemble_the_marked_ones() -> None:
    projection, labels, regions = _scene()
    forged = torch.full((4, 2, 4, 4), -8.0)
    forged[:, 0] = 8.0
    forged[2:, 0, :2], forged[2:, 1, :2] = -8.0, 8.0
    terms = similarity_loss(forged, projection, labels, regions)
    assert terms is not None
    assert terms.segmentation.item() < 1e-5


def test_the_projection_head_receives_a_gradient() -> None:
    projection, labels, regions = _scene()
    terms = similarity_loss(torch.zeros(4, 2, 4, 4), projection, labels, regions)
    assert terms is not None
    terms.projection.backward()
    assert projection.grad is not None
    assert projection.grad.abs().sum().item() > 0.0


def test_batches_without_a_reference_are_left_out() -> None:
    projection, labels, regions = _scene()
    logits = torch.zeros(4, 2, 4, 4)
    assert similarity_loss(logits, projection, torch.ones_like(labels), regions) is None
    assert similarity_loss(logits, projection, labels, torch.zeros_like(regions)) is None


def test_a_forged_face_without_a_marked_region_takes_no_part() -> None:
    projection, labels, regions = _scene()
    regions[3] = 0.0
    logits = torch.zeros(4, 2, 4, 4, requires_grad=True)
    terms = similarity_loss(logits, projection, labels, regions)
    assert terms is not None
    terms.segmentation.backward()
    assert logits.grad is not None
    assert logits.grad[3].abs().sum().item() == 0.0
    assert logits.grad[2].abs().sum().item() > 0.0
