"""What is drawn on a frame: patch maps as blocks in their place, boxes, and short labels.

Frames are RGB [H, W, 3] and are drawn on in place. Text is ASCII: the built-in letters know no other.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from engine.arrays import F32, F64, U8

Colour = tuple[int, int, int]
Point = tuple[int, int]

# Of Okabe and Ito, Color Universal Design, 2008: told apart with any common kind of colour vision. Those on
# which black letters cannot be read are left out.
TRACK_COLOURS: tuple[Colour, ...] = (
    (86, 180, 233),
    (240, 228, 66),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
)
HOT: Colour = (255, 0, 128)
"""Colour of the patch map: no skin has it, and it differs from skin in lightness for every eye."""
GREY: Colour = (150, 150, 150)
WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)

HOT_THRESHOLD = 0.5
_LEAST_SHOWN = 0.15  # P(patch manipulated) below which a block stays clear
_MOST_OPAQUE = 0.62
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class PatchMap:
    """The patch map of one face and its way to the frame it is drawn on."""

    patches: U8  # [g, g] 255 * P(patch manipulated)
    to_frame: F32  # [2, 3] crop pixels to frame pixels, continuous coordinates
    crop_size: int

    def __post_init__(self) -> None:
        if self.patches.ndim != 2 or self.patches.shape[0] != self.patches.shape[1]:
            raise ValueError(f"a patch map is [g, g], not {self.patches.shape}")
        if self.to_frame.shape != (2, 3) or self.crop_size < 1:
            raise ValueError("a patch map needs its affine [2, 3] and the size of its crop")

    @property
    def grid_to_frame(self) -> F64:
        """[2, 3] map of continuous grid coordinates, cell (row i, column j) covering [j, j+1) x [i, i+1)."""
        affine = self.to_frame.astype(np.float64)
        return np.column_stack([affine[:, :2] * (self.crop_size / len(self.patches)), affine[:, 2]])


def track_colour(ordinal: int) -> Colour:
    """Return the colour of a track; it repeats after five."""
    return TRACK_COLOURS[ordinal % len(TRACK_COLOURS)]


def draw_patch_map(rgb: U8, shown: PatchMap, strength: float = 1.0) -> None:
    """Lay a patch map over its face: every cell one flat block, more opaque the likelier it is manipulated.

    Cells from ``HOT_THRESHOLD`` on are outlined together. ``strength`` 0 to 1 fades the whole map.
    """
    probability = shown.patches.astype(np.float32) / 255
    opacity = np.where(probability >= _LEAST_SHOWN, probability * np.float32(_MOST_OPAQUE * strength), 0)
    rows, columns, alpha = _spread_cells(shown, opacity.astype(np.float32), rgb.shape[1], rgb.shape[0])
    if alpha.size:
        part = np.ascontiguousarray(rgb[rows, columns])
        rgb[rows, columns] = cv2.blendLinear(part, np.full_like(part, HOT), 1 - alpha, alpha)
    for start, end in outline_hot(shown):
        cv2.line(rgb, start, end, WHITE if strength >= 0.6 else HOT, 1, cv2.LINE_AA)


def _spread_cells(shown: PatchMap, cells: F32, width: int, height: int) -> tuple[slice, slice, F32]:
    """Return the part of the frame that the map covers, and for each of its pixels the value of its cell."""
    grid, place = len(cells), shown.grid_to_frame
    corners = np.array([(0, 0), (grid, 0), (0, grid), (grid, grid)]) @ place[:, :2].T + place[:, 2]
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, (width, height)).astype(int).tolist()
    right, bottom = np.clip(np.ceil(corners.max(axis=0)), 0, (width, height)).astype(int).tolist()
    rows, columns = slice(top, bottom), slice(left, right)
    if left >= right or top >= bottom:
        return rows, columns, np.empty((0, 0), np.float32)
    # The middle of a pixel decides its cell: from pixel (x, y) to the cell whose middle is nearest.
    back = np.linalg.inv(place[:, :2])
    shift = back @ (np.array([left, top]) + 0.5 - place[:, 2]) - 0.5
    spread = cv2.warpAffine(
        cells,
        np.column_stack([back, shift]),
        (right - left, bottom - top),
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0.0,),
    )
    return rows, columns, np.asarray(spread, np.float32)


def outline_hot(shown: PatchMap) -> list[tuple[Point, Point]]:
    """Return the lines around the cells from ``HOT_THRESHOLD`` on, in whole pixels of the frame."""
    hot = np.pad(shown.patches >= round(255 * HOT_THRESHOLD), 1)
    lines: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for row, column in np.argwhere(hot[:, 1:] != hot[:, :-1]).tolist():
        lines.append(((column, row - 1), (column, row)))
    for row, column in np.argwhere(hot[1:] != hot[:-1]).tolist():
        lines.append(((column - 1, row), (column, row)))
    if not lines:
        return []
    place = shown.grid_to_frame
    corners = np.array(lines, np.float64) @ place[:, :2].T + place[:, 2]
    ends = np.rint(corners).astype(int).tolist()
    return [((x0, y0), (x1, y1)) for (x0, y0), (x1, y1) in ends]


def draw_box(rgb: U8, box_px: F64, colour: Colour, *, is_between: bool = False) -> None:
    """Draw a box ``x, y, w, h``; dashed and thin where its place was interpolated between two samples."""
    x, y, width, height = (round(float(value)) for value in box_px)
    if not is_between:
        cv2.rectangle(rgb, (x, y), (x + width, y + height), BLACK, 4)
        cv2.rectangle(rgb, (x, y), (x + width, y + height), colour, 2)
        return
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    for start, end in zip(corners, [*corners[1:], corners[0]], strict=True):
        draw_dashed(rgb, start, end, colour)


def draw_dashed(rgb: U8, start: Point, end: Point, colour: Colour, *, dash_px: int = 6) -> None:
    """Draw a thin dashed line."""
    length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
    steps = np.arange(0.0, length, 2 * dash_px)
    direction = (np.array(end) - np.array(start)) / max(length, 1e-9)
    for step in steps.tolist():
        first = np.array(start) + direction * step
        last = np.array(start) + direction * min(length, step + dash_px)
        cv2.line(rgb, _whole(first), _whole(last), colour, 1, cv2.LINE_AA)


def _whole(point: F64) -> Point:
    return round(float(point[0])), round(float(point[1]))


def text_width(text: str, scale: float) -> int:
    """Return the width of a text in pixels."""
    return cv2.getTextSize(text, FONT, scale, 1)[0][0]


def draw_text(rgb: U8, text: str, place: Point, scale: float, colour: Colour) -> None:
    """Write ASCII text; ``place`` is the left end of its base line."""
    cv2.putText(rgb, text, place, FONT, scale, colour, 1, cv2.LINE_AA)


def draw_tag(rgb: U8, text: str, corner: Point, colour: Colour, scale: float = 0.45) -> None:
    """Write black text on a filled tag whose lower left corner is given; kept inside of the frame."""
    (width, height), base = cv2.getTextSize(text, FONT, scale, 1)
    left = max(0, min(corner[0], rgb.shape[1] - width - 8))
    bottom = max(height + base + 6, min(corner[1], rgb.shape[0]))
    cv2.rectangle(rgb, (left, bottom - height - base - 6), (left + width + 8, bottom), colour, cv2.FILLED)
    draw_text(rgb, text, (left + 4, bottom - base - 2), scale, BLACK)


def hatch(rgb: U8, left: int, top: int, right: int, bottom: int) -> None:
    """Fill a rectangle with slanted lines: the sign for "not scored"."""
    left, top = max(0, left), max(0, top)
    right, bottom = min(rgb.shape[1], max(right, left + 1)), min(rgb.shape[0], bottom)
    ys, xs = np.mgrid[top:bottom, left:right]
    rgb[top:bottom, left:right][(xs + ys) % 8 < 2] = GREY
