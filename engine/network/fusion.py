"""How the two streams meet: consistency enhancement, guided attention, patch features, bilinear fusion."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.network.layers import Activation, ConvNorm

_SQUARED_NORM_FLOOR = 1e-16  # (1e-8)^2: the floor of the reference's cosine similarity


class ConsistencyEnhancement(nn.Module):
    """CMCE: add to each map the other one, weighted by their cosine similarity at each position.

    Asymmetric on purpose: the second map takes the first one as already updated. No parameters.
    """

    def __init__(self, *, rectify: bool) -> None:
        super().__init__()
        self.rectify = rectify

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Two maps ``[B, C, H, W]`` to two maps of that shape."""
        similarity = cosine_similarity(first, second).to(first.dtype)
        first = first + similarity * second
        second = second + similarity * first
        if self.rectify:
            return functional.relu(first), functional.relu(second)
        return first, second


def cosine_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Cosine over channels, float32 ``[B, 1, H, W]``; 0 where either vector is zero."""
    with torch.autocast(first.device.type, enabled=False):
        first, second = first.float(), second.float()
        dot = (first * second).sum(dim=1, keepdim=True)
        # The clamp comes before the root, so that a zero vector has gradient 0 and not NaN.
        first_norm = first.square().sum(dim=1, keepdim=True).clamp_min(_SQUARED_NORM_FLOOR).sqrt()
        second_norm = second.square().sum(dim=1, keepdim=True).clamp_min(_SQUARED_NORM_FLOOR).sqrt()
        return dot / (first_norm * second_norm)


class GuidedAttention(nn.Module):
    """LFGA: the localisation map says where to look, the classification map is gathered there.

    As in the paper's code, dot products are not scaled by the root of their width; ``gamma`` starts at 0.
    """

    def __init__(self, channels: int, *, rectify: bool) -> None:
        super().__init__()
        inner = channels // 4
        self.rectify = rectify
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, localisation: Tensor, classification: Tensor) -> Tensor:
        """Two maps ``[B, C, g, g]`` to one of that shape."""
        query = self.query(localisation).flatten(2)
        key = self.key(localisation).flatten(2)
        value = self.value(classification).flatten(2)
        # Unscaled products grow with the width; bfloat16 would round the larger ones to whole numbers.
        with torch.autocast(query.device.type, enabled=False):
            attention = (query.float().transpose(1, 2) @ key.float()).softmax(dim=-1)
            gathered = value.float() @ attention.transpose(1, 2)
            gathered = self.gamma * gathered.view_as(classification)
        fused = gathered.to(classification.dtype) + classification
        return functional.relu(fused) if self.rectify else fused


class PatchFeatures(nn.Module):
    """MPFF: how each shallow map agrees with the deepest one, patch by patch.

    Shallow maps are padded by replication to a multiple of the grid, the deepest is repeated to their size;
    the sum over channels of tanh of the product is folded into one channel for each pixel of a patch
    (row in the patch, then column).
    """

    def __init__(self, channels: tuple[int, ...], score_channels: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.scores = nn.ModuleList(
            ConvNorm(width, score_channels, activation=Activation.RELU) for width in channels
        )

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Turn maps x0 to x5, the last ``[B, C, g, g]``, to ``[B, sum of patch areas + C, g, g]``."""
        scores = self.score_layers()
        guide = scores[-1](maps[-1])
        levels = [
            patch_agreement(pad_to_grid(score(level), self.grid), guide)
            for score, level in zip(scores[:-1], maps[:-1], strict=True)
        ]
        return torch.cat([*levels, maps[-1].float()], dim=1)

    def score_layers(self) -> list[ConvNorm]:
        """Return the score convolutions of x0 to x5."""
        return [layer for layer in self.scores if isinstance(layer, ConvNorm)]


def grid_padding(side: int, cells: int) -> tuple[int, int, int]:
    """Return padding before and after, and the cell side, that make a map of this side whole cells."""
    cell = -(-side // cells)
    missing = cell * cells - side
    return missing // 2, missing - missing // 2, cell


def pad_to_grid(features: Tensor, cells: int) -> Tensor:
    """Repeat the edges of a square ``[B, C, H, H]`` until its side is a multiple of ``cells``."""
    before, after, _ = grid_padding(features.shape[-1], cells)
    if before == after == 0:
        return features
    return functional.pad(features, (before, after, before, after), mode="replicate")


def patch_agreement(shallow: Tensor, guide: Tensor) -> Tensor:
    """``[B, C, g*w, g*w]`` and ``[B, C, g, g]`` to float32 ``[B, w*w, g, g]``."""
    batch, width, cells, _ = guide.shape
    cell = shallow.shape[-1] // cells
    # Channels last, so that repeating the guide is a broadcast and the sum runs over adjacent numbers.
    pixels = shallow.permute(0, 2, 3, 1).reshape(batch, cells, cell, cells, cell, width)
    guides = guide.permute(0, 2, 3, 1).reshape(batch, cells, 1, cells, 1, width)
    agreement = torch.tanh(pixels * guides).sum(dim=-1, dtype=torch.float32)
    return agreement.permute(0, 2, 4, 1, 3).reshape(batch, cell * cell, cells, cells)


class BilinearFusion(nn.Module):
    """HBFusion: low-rank bilinear product of the pooled shallow maps and the deepest one."""

    def __init__(self, shallow: int, deep: int, *, hidden: int, out: int, dropout: float) -> None:
        super().__init__()
        self.shallow = nn.Conv2d(shallow, hidden, 1)
        self.deep = nn.Conv2d(deep, hidden, 1)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Conv2d(hidden, out, 1)

    def forward(self, shallow: tuple[Tensor, ...], deep: Tensor) -> Tensor:
        """Join maps of any side and ``[B, deep, h, h]`` to ``[B, out, h, h]``."""
        pooled = torch.cat([pool_to_grid(level, deep.shape[-1]) for level in shallow], dim=1)
        return self.out(self.dropout(torch.tanh(self.shallow(pooled) * self.deep(deep))))


def pool_to_grid(features: Tensor, cells: int) -> Tensor:
    """Maximum of each cell of a square map, ``[B, C, H, H]`` to ``[B, C, cells, cells]``.

    Equal to padding by replication first: a repeated edge lies in the same cell as the edge.
    """
    before, after, cell = grid_padding(features.shape[-1], cells)
    return functional.max_pool2d(features, cell, stride=cell, padding=before, ceil_mode=before != after)
