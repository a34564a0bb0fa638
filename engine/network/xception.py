"""Xception cut into the seven parts between which the two streams meet.

Two things differ from the network as it is commonly ported: both stem convolutions are padded by one
(299 gives 150, not 147), and every block hands on its sum before the ReLU.
"""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from engine.network.layers import Activation, ConvNorm


class SeparableConvNorm(nn.Module):
    """Depthwise 3x3, pointwise 1x1, batch norm; ReLU before it where ``rectify`` says so."""

    def __init__(self, channels_in: int, channels_out: int, *, rectify: bool) -> None:
        super().__init__()
        self.rectify = rectify
        self.depthwise = nn.Conv2d(channels_in, channels_in, 3, padding=1, groups=channels_in, bias=False)
        self.pointwise = nn.Conv2d(channels_in, channels_out, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, features: Tensor) -> Tensor:
        """``[B, in, H, W]`` to ``[B, out, H, W]``."""
        # Not in place: the block's skip path reads the same tensor without the ReLU.
        rectified = functional.relu(features) if self.rectify else features
        return self.norm(self.pointwise(self.depthwise(rectified)))


class XceptionBlock(nn.Module):
    """Separable convolutions and a skip; with ``downsample`` a max pool and a strided 1x1 skip."""

    def __init__(self, widths: tuple[int, ...], *, downsample: bool, starts_with_relu: bool = True) -> None:
        super().__init__()
        self.separable = nn.ModuleList(
            SeparableConvNorm(before, after, rectify=starts_with_relu or index > 0)
            for index, (before, after) in enumerate(pairwise(widths))
        )
        self.skip = ConvNorm(widths[0], widths[-1], stride=2) if downsample else None

    def forward(self, features: Tensor) -> Tensor:
        """``[B, first, H, W]`` to the sum, not rectified, ``[B, last, H', W']``."""
        branch = features
        for layer in self.separable:
            branch = layer(branch)
        if self.skip is None:
            return branch + features
        return functional.max_pool2d(branch, 3, stride=2, padding=1) + self.skip(features)


def _stem() -> nn.Sequential:
    return nn.Sequential(
        ConvNorm(3, 32, 3, stride=2, activation=Activation.RELU),
        ConvNorm(32, 64, 3, activation=Activation.RELU),
    )


def _middle() -> nn.Sequential:
    return nn.Sequential(*(XceptionBlock((728, 728, 728, 728), downsample=False) for _ in range(4)))


class XceptionExit(nn.Module):
    """Block 12 (which widens at its second convolution), conv3 with ReLU, conv4 without a ReLU after it."""

    def __init__(self) -> None:
        super().__init__()
        self.block = XceptionBlock((728, 728, 1024), downsample=True)
        self.conv3 = SeparableConvNorm(1024, 1536, rectify=False)
        self.conv4 = SeparableConvNorm(1536, 2048, rectify=True)

    def forward(self, features: Tensor) -> Tensor:
        """``[B, 728, 19, 19]`` to ``[B, 2048, 10, 10]``, signed."""
        return self.conv4(self.conv3(self.block(features)))


class XceptionStream(nn.Module):
    """One Xception in parts. The localisation stream goes without its exit, whose output nobody reads."""

    def __init__(self, *, with_exit: bool) -> None:
        super().__init__()
        self.part1_0 = _stem()
        self.part1_1 = XceptionBlock((64, 128, 128), downsample=True, starts_with_relu=False)
        self.part1_2 = XceptionBlock((128, 256, 256), downsample=True)
        self.part1_3 = XceptionBlock((256, 728, 728), downsample=True)
        self.part2_0 = _middle()
        self.part2_1 = _middle()
        self.part3 = XceptionExit() if with_exit else None
