"""Convolution with its norm and activation, the unit that the export folds into one node."""

from enum import StrEnum

from torch import Tensor, nn
from torch.nn import functional


class Activation(StrEnum):
    """What follows the norm."""

    NONE = "none"
    RELU = "relu"
    RELU6 = "relu6"


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, activation; ``pads`` is (left and top, right and bottom)."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        pads: tuple[int, int] | None = None,
        activation: Activation = Activation.NONE,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        before, after = pads if pads is not None else (kernel // 2, kernel // 2)
        self.pads = (before, after)
        self.activation = activation
        symmetric = before if before == after else 0
        self.conv = nn.Conv2d(
            channels_in, channels_out, kernel, stride=stride, padding=symmetric, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(channels_out, eps=eps, momentum=momentum)

    def forward(self, features: Tensor) -> Tensor:
        """``[B, in, H, W]`` to ``[B, out, H', W']``."""
        before, after = self.pads
        if before != after:
            features = functional.pad(features, (before, after, before, after))
        return activate(self.norm(self.conv(features)), self.activation)


def activate(features: Tensor, activation: Activation) -> Tensor:
    """Apply the activation in place where it may: its input belongs to no one else."""
    if activation is Activation.RELU:
        return functional.relu(features, inplace=True)
    if activation is Activation.RELU6:
        return functional.relu6(features, inplace=True)
    return features
