"""Training targets on the patch grid."""

import cv2
import numpy as np

from engine.arrays import F32, U8

FORGED_OPACITY = 0.15  # a pixel counts as replaced from this share of foreign light on


def warp_to_crop(mask: F32, to_picture: F32, size: int) -> F32:
    """Bring a mask [H, W] into the crop [size, size]; ``to_picture`` [2, 3] maps crop to picture pixels."""
    warped = cv2.warpAffine(
        mask,
        to_picture,
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
    )
    return np.asarray(warped, np.float32)


def patch_targets(mask: F32, grid: int) -> F32:
    """Share of replaced pixels in each cell, [grid, grid] in 0 to 1, from a crop's mask [S, S].

    Cell (r, c) covers exactly the crop's rows S*r/grid to S*(r+1)/grid and columns likewise. The
    reference pools masks without the padding that its features have, so that its cells drift by up to
    11 pixels against them; here cells and features cover the crop alike.
    """
    replaced = (mask >= FORGED_OPACITY).astype(np.float32)
    return np.asarray(cv2.resize(replaced, (grid, grid), interpolation=cv2.INTER_AREA), np.float32)


def flip_crop(crop: U8, mask: F32) -> tuple[U8, F32]:
    """Mirror a crop and its mask left to right."""
    return np.ascontiguousarray(crop[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
