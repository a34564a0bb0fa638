"""A face swap that this program makes itself, so that there is something to find and its place is known.

Another person's face is laid on the face of every frame: moved by an affine map of five points, given the
colours of the face that it covers (mean and spread in CIELAB: Reinhard et al., Color Transfer between Images,
2001), and blended through a feathered mask. The mask is the ground truth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from engine.arrays import F32, F64, U8

# A face seen from the front: origin between the eyes, x along them, y to the mouth, in distances between the
# eyes. Rows: eyes, nose, mouth corners, each from the picture's left.
FRONT = np.array([(-0.5, 0.0), (0.5, 0.0), (0.0, 0.58), (-0.42, 1.08), (0.42, 1.08)])
_TOP = [(-0.97, -0.2), (-0.85, -0.5), (-0.4, -0.6), (0.0, -0.53), (0.4, -0.6), (0.85, -0.5), (0.97, -0.2)]
WHOLE_FACE = np.array(
    [*_TOP, (0.96, 0.4), (0.86, 1.02), (0.5, 1.5), (0.0, 1.68), (-0.5, 1.5), (-0.86, 1.02), (-0.96, 0.4)]
)
UPPER_FACE = np.array(
    [*_TOP, (0.95, 0.47), (0.5, 0.58), (0.2, 0.58), (-0.1, 0.53), (-0.5, 0.47), (-0.95, 0.42)]
)
"""What is swapped, in the frame of ``FRONT``. The upper part stays clear of a hand at the mouth."""

_FEATHER = 0.06  # softness of the mask's edge, in distances between the eyes
_GAIN_LIMITS = (0.6, 1.6)  # of the spread of colours: beyond, noise would be stretched


@dataclass(frozen=True)
class Donor:
    """The picture whose face is laid over another one."""

    rgb: U8  # [H, W, 3]
    points: F64  # [5, 2] eyes, nose, mouth corners in its pixels

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.points.shape != (5, 2):
            raise ValueError(f"a donor is a picture with five points: {self.rgb.shape}, {self.points.shape}")


@dataclass(frozen=True)
class Forgery:
    """A forged frame and where it was forged."""

    rgb: U8  # [H, W, 3]
    mask: F32  # [H, W] opacity of the pasted face, 0 to 1

    def __post_init__(self) -> None:
        if self.rgb.shape[:2] != self.mask.shape:
            raise ValueError(f"frame {self.rgb.shape} and mask {self.mask.shape} differ")


def swap_face(rgb: U8, points: F64, donor: Donor, outline: F64 = WHOLE_FACE) -> Forgery:
    """Lay the donor's face over the one at ``points`` [5, 2], in pixels of ``rgb`` [H, W, 3].

    ``outline`` [k, 2] says how much of the face is covered, in the frame of ``FRONT``.
    """
    height, width = rgb.shape[:2]
    laid = cv2.warpAffine(
        donor.rgb,
        fit_affine(donor.points, points),
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    mask = draw_mask(points, outline, width, height)
    laid = match_colours(np.asarray(laid, np.uint8), rgb, mask)
    mixed = laid.astype(np.float32) * mask[..., None] + rgb.astype(np.float32) * (1 - mask[..., None])
    return Forgery((mixed + 0.5).astype(np.uint8), mask)


def fit_affine(source: F64, target: F64) -> F64:
    """Return the [2, 3] affine map that brings points [n, 2] nearest to others, by least squares."""
    design = np.concatenate([source, np.ones((len(source), 1))], axis=1)
    return np.asarray(np.linalg.lstsq(design, target, rcond=None)[0].T, np.float64)


def draw_mask(points: F64, outline: F64, width: int, height: int) -> F32:
    """Return the feathered mask [height, width] of an outline laid on the face at ``points``."""
    place = fit_affine(FRONT, points)
    corners = outline @ place[:, :2].T + place[:, 2]
    hard = np.zeros((height, width), np.uint8)
    cv2.fillPoly(hard, [np.rint(corners * 16).astype(np.int32)], (255,), cv2.LINE_AA, 4)
    softness = _FEATHER * float(np.hypot(*(points[1] - points[0])))
    # The edge is moved inwards by as much as the feather reaches outwards, so that hair stays as it is.
    hard = cv2.erode(hard, np.ones((3, 3), np.uint8), iterations=max(1, round(2 * softness)))
    soft = cv2.GaussianBlur(hard, (0, 0), max(0.5, softness))
    return np.asarray(soft, np.float32) / np.float32(255)


def match_colours(source: U8, target: U8, mask: F32) -> U8:
    """Give ``source`` the mean and spread of ``target`` in CIELAB under the mask, all [H, W(, 3)]."""
    inside = mask > 0.5
    if int(inside.sum()) < 16:
        return source
    ours, theirs = (cv2.cvtColor(each, cv2.COLOR_RGB2LAB).astype(np.float32) for each in (source, target))
    gain = np.clip(theirs[inside].std(axis=0) / (ours[inside].std(axis=0) + 1e-3), *_GAIN_LIMITS)
    moved = (ours - ours[inside].mean(axis=0)) * gain + theirs[inside].mean(axis=0)
    return np.asarray(cv2.cvtColor(np.clip(moved, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB), np.uint8)


def choose_steady(candidates: F64) -> F64:
    """Return [m, 5, 2] points over time from [m, k, 5, 2] findings: at each time those that moved least.

    The first time takes the mean. A hand before the face leads a detector astray for many frames on end, but
    hardly ever in the picture and in its mirror image alike.
    """
    chosen = [candidates[0].mean(axis=0)]
    for found in candidates[1:]:
        moved = np.square(found - chosen[-1]).sum(axis=(1, 2))
        chosen.append(found[int(moved.argmin())])
    return np.stack(chosen)


def follow_points(
    times_us: Sequence[int], seen_us: Sequence[int], seen: F64, *, softness_us: int = 80_000
) -> F64:
    """Return the points at ``times_us`` as [n, 5, 2], from those [m, 5, 2] found at some of the times.

    Straight between findings, then smoothed over time so that the pasted face does not tremble.
    """
    flat = seen.reshape(len(seen), -1)
    columns = [np.interp(times_us, seen_us, column).astype(np.float64) for column in flat.T]
    times = np.asarray(times_us, np.float64)
    weight = np.exp(-0.5 * np.square((times[:, None] - times[None, :]) / softness_us))
    smooth = (weight / weight.sum(axis=1, keepdims=True)) @ np.stack(columns, axis=1)
    return smooth.reshape(-1, 5, 2)
