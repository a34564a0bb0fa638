"""The noise stream's input: three fixed high-pass filters of the Spatial Rich Model over the grey plane."""

import torch
from torch import Tensor, nn
from torch.nn import functional

_KB = (
    (0, 0, 0, 0, 0),
    (0, -1, 2, -1, 0),
    (0, 2, -4, 2, 0),
    (0, -1, 2, -1, 0),
    (0, 0, 0, 0, 0),
)
_KV = (
    (-1, 2, -2, 2, -1),
    (2, -6, 8, -6, 2),
    (-2, 8, -12, 8, -2),
    (2, -6, 8, -6, 2),
    (-1, 2, -2, 2, -1),
)
_HORIZONTAL = (
    (0, 0, 0, 0, 0),
    (0, 0, 0, 0, 0),
    (0, 1, -2, 1, 0),
    (0, 0, 0, 0, 0),
    (0, 0, 0, 0, 0),
)
NOISE_CLIP = 3.0


def srm_planes() -> Tensor:
    """Return the three filters, float32 ``[3, 1, 5, 5]``, divided by 4, 12 and 2."""
    filters = [torch.tensor(rows, dtype=torch.float64) for rows in (_KB, _KV, _HORIZONTAL)]
    scaled = [plane / divisor for plane, divisor in zip(filters, (4.0, 12.0, 2.0), strict=True)]
    return torch.stack(scaled).unsqueeze(1).float()


class SrmNoise(nn.Module):
    """Residuals of a normalised picture, truncated to [-3, 3].

    Each filter is the same for R, G and B, so the three planes are summed once and filtered once: exact in
    real arithmetic, and a third of the work of three-plane kernels. The border is zero, which is mid-grey.
    """

    planes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("planes", srm_planes(), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """float32 ``[B, 3, H, W]`` RGB in -1..1 to float32 residuals ``[B, 3, H, W]`` in -3..3."""
        # Residuals are differences of nearly equal numbers: bfloat16 would leave nothing of them.
        with torch.autocast(pictures.device.type, enabled=False):
            grey = pictures.float().sum(dim=1, keepdim=True)
            residuals = functional.conv2d(grey, self.planes, padding=2)
        return residuals.clamp(-NOISE_CLIP, NOISE_CLIP)
