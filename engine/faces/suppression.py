"""Greedy non-maximum suppression and the two box manipulations of MTCNN, on plain arrays.

Boxes are float32 [n, 4] ``left, top, right, bottom`` in pixels.
"""

from typing import Literal

import numpy as np

from engine.arrays import F32, I64

Measure = Literal["union", "smaller"]


def suppress(boxes: F32, scores: F32, limit: float, measure: Measure = "union") -> I64:
    """Return indices of the boxes to keep, best score first; equal scores keep their order.

    A box goes if it overlaps a better kept one by more than ``limit``: of their union, or of the smaller of
    the two. With ``smaller`` sides count inclusive pixels (+1), as the original does in its last stage.
    """
    extra = 1.0 if measure == "smaller" else 0.0
    order = np.argsort(-scores, kind="stable")
    left, top, right, bottom = boxes[order].T
    area = (right - left + extra) * (bottom - top + extra)
    alive = np.ones(len(order), np.bool_)
    kept: list[int] = []
    for best in range(len(order)):
        if not alive[best]:
            continue
        kept.append(best)
        rest = best + 1 + np.flatnonzero(alive[best + 1 :])
        across = np.minimum(right[best], right[rest]) - np.maximum(left[best], left[rest]) + extra
        down = np.minimum(bottom[best], bottom[rest]) - np.maximum(top[best], top[rest]) + extra
        shared = np.maximum(across, 0) * np.maximum(down, 0)
        if measure == "union":
            whole = area[best] + area[rest] - shared
        else:
            whole = np.minimum(area[best], area[rest])
        alive[rest[shared > limit * whole]] = False
    return order[kept]


def suppress_groups(boxes: F32, scores: F32, group: I64, limit: float, measure: Measure = "union") -> I64:
    """Suppress within each group (frame, or frame and scale) by itself; indices in order of the groups."""
    kept = [np.empty(0, np.int64)]
    for number in np.unique(group):
        members = np.flatnonzero(group == number)
        kept.append(members[suppress(boxes[members], scores[members], limit, measure)])
    return np.concatenate(kept)


def shift_boxes(boxes: F32, offsets: F32, extra: float) -> F32:
    """Move the four sides by the network's offsets, which are shares of the box's sides plus ``extra`` px."""
    size = boxes[:, 2:] - boxes[:, :2] + np.float32(extra)
    return np.asarray(boxes + offsets * np.concatenate([size, size], axis=1), np.float32)


def square_boxes(boxes: F32) -> F32:
    """Grow each box around its centre to a square of its longer side."""
    size = boxes[:, 2:] - boxes[:, :2]
    longer = size.max(axis=1, keepdims=True)
    corner = boxes[:, :2] + size * np.float32(0.5) - longer * np.float32(0.5)
    return np.concatenate([corner, corner + longer], axis=1)
