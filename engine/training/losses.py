"""Losses of the two heads, and semi-supervised patch similarity learning (SSPSL).

The supervised total is classification plus localisation (Locate and Verify, section 3.4), each with weight
1 by default. Localisation is binary cross-entropy against the replaced share of each cell, in which a run
counts forged cells six times (``RunSettings.forged_weight``; the paper: once); where cells vote, a term for
the cells of the classification stream joins it. Three faults of the published training code are mended:
cells of the mask are those of the features (``targets.patch_targets``), a term over an empty selection is
left out instead of being NaN, and the projection head receives a gradient. What of the paper's training was
not taken stands in docs/decisions/0010.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class SimilarityTerms(NamedTuple):
    """The two parts of SSPSL, each a scalar."""

    segmentation: Tensor  # patch logits against pseudo-labels
    projection: Tensor  # pulls patches to the reference of their pseudo-label


def classification_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of ``logits`` [B, 2] against ``labels`` [B] (0 real, 1 manipulated)."""
    return functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)


def patch_loss(patch_logits: Tensor, targets: Tensor, forged_weight: float = 1.0) -> Tensor:
    """Cross-entropy of ``patch_logits`` [B, 2, g, g] against shares of replaced pixels [B, g, g].

    ``forged_weight`` counts forged cells that many times. They are one cell in seven of a batch, half of
    which is real faces, so that without it a cell needs strong evidence to be called forged.
    """
    margin = (patch_logits[:, 1] - patch_logits[:, 0]).float()
    weight = torch.tensor(forged_weight)
    return functional.binary_cross_entropy_with_logits(margin, targets, pos_weight=weight)


def similarity_loss(
    patch_logits: Tensor, projection: Tensor, labels: Tensor, regions: Tensor, temperature: float = 0.1
) -> SimilarityTerms | None:
    """SSPSL over a batch: patches of forged faces are labelled by their likeness to two references.

    ``projection`` [B, C, g, g]; ``regions`` [B, g, g] marks, on forged faces, patches taken as surely
    forged. The real reference is the mean direction of all patches of real faces, the forged one that
    of the marked patches; a patch of a forged face is labelled forged when it is nearer to the latter.
    Faces of which no patch is marked take no part. Returns ``None`` when either reference is empty.
    The pseudo-labels carry no gradient; the projection learns by a softmax over the two cosines.
    """
    directions = functional.normalize(projection.float(), dim=1)
    flat = directions.permute(0, 2, 3, 1)
    real = labels == 0
    marked = (regions > 0.5) & ~real[:, None, None]
    used = real | marked.flatten(1).any(1)
    if not bool(real.any()) or not bool(marked.any()):
        return None
    references = torch.stack([flat[real].flatten(0, 2).mean(0), flat[marked].mean(0)])
    cosines = flat @ functional.normalize(references, dim=1).T  # [B, g, g, 2]
    with torch.no_grad():
        pseudo = (cosines[..., 1] > cosines[..., 0]).long()
        pseudo[real] = 0
        anchored = torch.where(marked, torch.ones_like(pseudo), pseudo)
    segmentation = functional.cross_entropy(patch_logits.float()[used], pseudo[used])
    similarity = (cosines / temperature).permute(0, 3, 1, 2)
    return SimilarityTerms(segmentation, functional.cross_entropy(similarity[used], anchored[used]))
