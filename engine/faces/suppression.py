"""Greedy non-maximum suppression and the two box manipulations of MTCNN, on plain arrays.

Boxes are float32 [n, 4] ``left, top, right, bottom`` in pixels.
"""

from typing import Literal

import numpy as np

from engine.arrays import F32, I64, Bool

Measure = Literal["union", "smaller"]
_BLOCK = 64  # boxes compared all with all: 32 frames of much texture take 47 ms, one by one 187


def suppress(boxes: F32, scores: F32, limit: float, measure: Measure = "union") -> I64:
    """Return indices of the boxes to keep, best score first; equal scores keep their order.

    A box goes if it overlaps a better kept one by more than ``limit``: of their union, or of the smaller of
    the two. With ``smaller`` sides count inclusive pixels (+1), as the original does in its last stage.
    """
    order = np.argsort(-scores, kind="stable")
    kept = [order[:0]]
    while len(order):  # a block of the best against itself, then what it keeps against all the rest
        block, order = order[:_BLOCK], order[_BLOCK:]
        block = block[_best_apart(_overlap(boxes[block], boxes[block], limit, measure))]
        kept.append(block)
        order = order[~_overlap(boxes[block], boxes[order], limit, measure).any(axis=0)]
    return np.concatenate(kept)


def _overlap(boxes: F32, others: F32, limit: float, measure: Measure) -> Bool:
    """Tell of each of ``boxes`` [n, 4] whether it overlaps each of ``others`` by too much: [n, m]."""
    extra = np.float32(measure == "smaller")
    near, far = (corners.T[..., None] for corners in (boxes[:, :2], boxes[:, 2:]))
    across, down = (
        np.minimum(far[axis], others[:, 2 + axis]) - np.maximum(near[axis], others[:, axis]) + extra
        for axis in (0, 1)
    )
    shared = np.maximum(across, 0) * np.maximum(down, 0)
    own, theirs = (_areas(each, extra) for each in (boxes, others))
    whole = own[:, None] + theirs - shared if measure == "union" else np.minimum(own[:, None], theirs)
    return shared > np.float32(limit) * whole


def _areas(boxes: F32, extra: np.float32) -> F32:
    sides = boxes[:, 2:] - boxes[:, :2] + extra
    return np.asarray(sides[:, 0] * sides[:, 1], np.float32)


def _best_apart(overlaps: Bool) -> list[int]:
    """Choose greedily from the first on; ``overlaps`` [n, n] holds for each with itself."""
    kept: list[int] = []
    alive = np.ones(len(overlaps), np.bool_)
    for place in range(len(overlaps)):
        if alive[place]:
            kept.append(place)
            alive &= ~overlaps[place]
    return kept


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
