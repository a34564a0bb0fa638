"""The two-stream network: face crops in, two class logits and a map of patch logits out."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.network.fusion import BilinearFusion, ConsistencyEnhancement, GuidedAttention, PatchFeatures
from engine.network.noise import SrmNoise

REAL, MANIPULATED = 0, 1  # index of the two logits, of a face and of a patch alike


class Stream(Protocol):
    """A backbone in seven parts; the localisation stream may lack the last."""

    @property
    def part1_0(self) -> nn.Module: ...
    @property
    def part1_1(self) -> nn.Module: ...
    @property
    def part1_2(self) -> nn.Module: ...
    @property
    def part1_3(self) -> nn.Module: ...
    @property
    def part2_0(self) -> nn.Module: ...
    @property
    def part2_1(self) -> nn.Module: ...
    @property
    def part3(self) -> nn.Module | None: ...


@dataclass(frozen=True)
class Sizes:
    """The numbers in which lv-xception and lv-compact differ."""

    network: str
    input_px: int
    grid: int  # side of the patch map
    channels: tuple[int, int, int, int, int, int]  # of x0 to x5
    deep_channels: int  # of y6
    score_channels: int
    fusion_hidden: int
    fusion_out: int
    rectify: bool  # ReLU after CMCE and LFGA
    projection_channels: int = 256
    dropout: float = 0.5
    vote_shares: tuple[float, ...] = ()  # parts of the cells, highest first, that vote; none: mean of all

    def __post_init__(self) -> None:
        if min(self.input_px, self.grid, *self.channels, self.deep_channels, self.score_channels) < 1:
            raise ValueError("a size of the network is below one")


class TrainOutputs(NamedTuple):
    """What the losses need, all float32. ``projection`` is null unless the network was built with it."""

    logits: Tensor  # [B, 2]
    patch_logits: Tensor  # [B, 2, g, g]
    projection: Tensor | None  # [B, 256, g, g], not normalised
    cell_logits: Tensor | None  # [B, 2, h, h] of the classification stream where cells vote


class StreamMaps(NamedTuple):
    """What the two streams hand to the heads."""

    localisation: tuple[Tensor, ...]  # x0 to x5
    pooled: tuple[Tensor, ...]  # y0, y1, y2, y3, y5: y4 is left out of the fusion
    deep: Tensor  # y6


class ClassHead(nn.Module):
    """Norm, ReLU, mean over positions, dropout, linear."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(channels, 2)

    def forward(self, features: Tensor) -> Tensor:
        """``[B, C, h, h]`` to float32 logits ``[B, 2]``."""
        with torch.autocast(features.device.type, enabled=False):
            pooled = functional.relu(self.norm(features.float())).mean(dim=(2, 3))
            return self.linear(self.dropout(pooled))


class PatchHead(nn.Module):
    """Norm, ReLU, 1x1 convolution without bias."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, out, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """``[B, C, g, g]`` to float32 ``[B, out, g, g]``."""
        with torch.autocast(features.device.type, enabled=False):
            return self.conv(functional.relu(self.norm(features.float())))


class CellHead(nn.Module):
    """Norm, ReLU, dropout, 1x1 convolution: two logits at each position, for ``CellVote`` to join."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)
        self.conv = nn.Conv2d(channels, 2, 1)

    def forward(self, features: Tensor) -> Tensor:
        """``[B, C, h, h]`` to float32 logits ``[B, 2, h, h]``."""
        with torch.autocast(features.device.type, enabled=False):
            return self.conv(self.dropout(functional.relu(self.norm(features.float()))))


class CellVote(nn.Module):
    """The logits of a face from those of its cells: the means of the highest ones, each cell's word alike.

    A mean over all positions thins a small forgery out, and lets the head judge by the picture as a whole,
    which did not carry over to forgeries of other makers (docs/decisions, "Cells vote on the class"). Only
    scale and offset are learned: free weights would follow the map that fits the training forgeries best.
    """

    def __init__(self, sides: tuple[int, ...], shares: tuple[float, ...]) -> None:
        """``sides`` are those of the maps that vote, ``shares`` the parts of their cells to average."""
        super().__init__()
        self.counts = tuple(tuple(max(1, round(share * side * side)) for share in shares) for side in sides)
        cells = sum(side * side for side in sides)
        self.weights = tuple(side * side / cells / len(shares) for side in sides for _ in shares)
        self.linear = nn.Linear(1, 1)
        nn.init.ones_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        """float32 logits ``[B, 2, s, s]`` of each map to logits ``[B, 2]``, one the other's negative."""
        with torch.autocast(maps[0].device.type, enabled=False):
            means: list[Tensor] = []
            for logits, counts in zip(maps, self.counts, strict=True):
                margins = (logits[:, MANIPULATED] - logits[:, REAL]).flatten(1)
                highest = margins.topk(max(counts), dim=1).values
                means += [highest[:, :count].mean(1) for count in counts]
            word = torch.stack(means, dim=1) @ torch.tensor(self.weights, device=maps[0].device)[:, None]
            vote = self.linear(word) * 0.5
            return torch.cat([-vote, vote], dim=1)


class TwoStreamNet(nn.Module):
    """Locate and Verify: a localisation stream on the picture, a classification stream on its noise."""

    def __init__(
        self, sizes: Sizes, rgb: Stream, noise: Stream, *, patch_areas: int, projection: bool
    ) -> None:
        """``patch_areas`` is the number of channels that the levels x0 to x4 give to the patch features."""
        super().__init__()
        channels = sizes.channels
        self.sizes = sizes
        self.srm = SrmNoise()
        self.rgb = rgb
        self.noise = noise
        self.enhance = ConsistencyEnhancement(rectify=sizes.rectify)
        attentions = [GuidedAttention(width, rectify=sizes.rectify) for width in channels[3:]]
        self.attend = nn.ModuleList(attentions)
        self.patch_features = PatchFeatures(channels, sizes.score_channels, sizes.grid)
        self.fusion = BilinearFusion(
            sum(channels) - channels[4],
            sizes.deep_channels,
            hidden=sizes.fusion_hidden,
            out=sizes.fusion_out,
            dropout=sizes.dropout,
        )
        head = CellHead if sizes.vote_shares else ClassHead
        self.class_head: ClassHead | CellHead = head(sizes.fusion_out, sizes.dropout)
        self.patch_head = PatchHead(patch_areas + channels[5], 2)
        sides = (sizes.grid, -(-sizes.grid // 2))
        self.vote = CellVote(sides, sizes.vote_shares) if sizes.vote_shares else None
        self.projection = PatchHead(channels[5], sizes.projection_channels) if projection else None

    def attention_layers(self) -> list[GuidedAttention]:
        """Return the guided attentions behind x3, x4 and x5."""
        return [layer for layer in self.attend if isinstance(layer, GuidedAttention)]

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 RGB ``[B, 3, H, W]`` to logits ``[B, 2]`` and patch logits ``[B, 2, g, g]``, float32."""
        logits, patch_logits, _ = self._answer(self.stream_maps(normalise(crops)))
        return logits, patch_logits

    def class_logits(self, crops: Tensor) -> Tensor:
        """uint8 RGB ``[B, 3, H, W]`` to logits ``[B, 2]`` alone: the triage form."""
        maps = self.stream_maps(normalise(crops))
        return self._class_head(maps) if self.vote is None else self._answer(maps)[0]

    def forward_train(self, images: Tensor) -> TrainOutputs:
        """float32 RGB in 0..1 ``[B, 3, H, W]`` to all outputs, the projection included."""
        maps = self.stream_maps(images * 2.0 - 1.0)
        projection = None if self.projection is None else self.projection(maps.localisation[-1])
        logits, patch_logits, cells = self._answer(maps)
        return TrainOutputs(logits, patch_logits, projection, cells)

    def _answer(self, maps: StreamMaps) -> tuple[Tensor, Tensor, Tensor | None]:
        """Class logits, patch logits and, where cells vote, those of the classification stream."""
        patch_logits = self.patch_head(self.patch_features(maps.localisation))
        classified = self._class_head(maps)
        if self.vote is None:
            return classified, patch_logits, None
        return self.vote((patch_logits, classified)), patch_logits, classified

    def _class_head(self, maps: StreamMaps) -> Tensor:
        return self.class_head(self.fusion(maps.pooled, maps.deep))

    def stream_maps(self, pictures: Tensor) -> StreamMaps:
        """Run both streams on normalised pictures, float32 ``[B, 3, H, W]`` in -1..1."""
        side = self.sizes.input_px
        if pictures.shape[1:] != (3, side, side):
            raise ValueError(f"crops are {tuple(pictures.shape)}, not [B, 3, {side}, {side}]")
        # Channels last makes convolution and pooling a fifth to a third faster on CPU.
        x = pictures.contiguous(memory_format=torch.channels_last)
        y = self.srm(pictures).contiguous(memory_format=torch.channels_last)
        x0, y0 = self.enhance(self.rgb.part1_0(x), self.noise.part1_0(y))
        x1, y1 = self.enhance(self.rgb.part1_1(x0), self.noise.part1_1(y0))
        x2, y2 = self.enhance(self.rgb.part1_2(x1), self.noise.part1_2(y1))
        both = x2 + y2
        x3 = self.rgb.part1_3(both)
        y3 = self.attend[0](x3, self.noise.part1_3(both))
        x4 = self.rgb.part2_0(x3)
        y4 = self.attend[1](x4, self.noise.part2_0(y3))
        x5 = self.rgb.part2_1(x4)
        y5 = self.attend[2](x5, self.noise.part2_1(y4))
        assert self.noise.part3 is not None
        return StreamMaps((x0, x1, x2, x3, x4, x5), (y0, y1, y2, y3, y5), self.noise.part3(y5))


def normalise(crops: Tensor) -> Tensor:
    """uint8 ``[B, 3, H, W]`` to float32 in -1..1."""
    return crops.float() / 127.5 - 1.0
