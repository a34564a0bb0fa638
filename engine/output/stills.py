"""The frames that a reader should look at first, each once plain and once with its patch map."""

import base64
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from engine.arrays import F64, U8
from engine.limits import Limits
from engine.output.drawing import PatchMap, draw_patch_map
from engine.output.encode import encode_jpeg
from engine.output.frames import plan_times, read_frames
from engine.output.paths import FacePath
from engine.results import TrackScore
from engine.sandbox.handle import Sandbox
from engine.scan_result import ScanResult

MOST_OF_TRACK = 4
MOST_STILLS = 8
_SIDE_PX = 320
_AROUND = 1.9  # side of the view over the longer side of the box
_APART_US = 700_000


@dataclass(frozen=True)
class Still:
    """One face at one of its peaks, as two JPEG pictures in data URLs."""

    ordinal: int
    pts_us: int
    score: float
    patch_area: float
    plain: str
    mapped: str


def make_stills(result: ScanResult, sandbox: Sandbox, limits: Limits) -> tuple[Still, ...]:
    """Return the stills of the faces with the highest scores, in order of face and time."""
    assert result.score is not None
    assert result.probe is not None
    chosen = choose_stills(result.score.tracks)
    targets = plan_times(result.probe, [time for _, time in chosen])
    frames: dict[int, U8] = {}
    for time, rgb in read_frames(result, targets, sandbox, limits) if targets else ():
        frames[time] = rgb.copy()  # the group that it is a part of is large
    stills = [_make_still(result, track, time, frames[time]) for track, time in chosen if time in frames]
    return tuple(sorted(stills, key=lambda still: (still.ordinal, still.pts_us)))


def choose_stills(tracks: Sequence[TrackScore]) -> list[tuple[TrackScore, int]]:
    """Return tracks and times: the highest peak of each, highest track first, then the second ones."""
    scored = sorted((track for track in tracks if track.score is not None), key=lambda t: -(t.score or 0.0))
    peaks = [(track, choose_peaks(track)) for track in scored]
    turns = (
        (track, times[turn]) for turn in range(MOST_OF_TRACK) for track, times in peaks if turn < len(times)
    )
    return list(itertools.islice(turns, MOST_STILLS))


def choose_peaks(track: TrackScore) -> list[int]:
    """Return the times of a track's highest scores, leaving out those next to one already taken."""
    kept: list[int] = []
    for time in track.peak_pts_us:
        if all(abs(time - other) >= _APART_US for other in kept):
            kept.append(time)
    return kept[:MOST_OF_TRACK]


def _make_still(result: ScanResult, track: TrackScore, time_us: int, rgb: U8) -> Still:
    state = FacePath(result, track).at(time_us)
    assert state is not None
    assert state.sample.score is not None
    size = np.array([rgb.shape[1], rgb.shape[0]] * 2, np.float64)
    view, place = cut_view(rgb, state.box * size)
    mapped = view.copy()
    if state.shown is not None:
        affine = place @ np.vstack([state.shown.to_frame.astype(np.float64), (0.0, 0.0, 1.0)])
        shown = PatchMap(state.shown.patches, affine.astype(np.float32), state.shown.crop_size)
        draw_patch_map(mapped, shown)
    return Still(
        ordinal=track.ordinal,
        pts_us=time_us,
        score=state.sample.score,
        patch_area=state.sample.patch_area or 0.0,
        plain=data_url(view),
        mapped=data_url(mapped),
    )


def cut_view(rgb: U8, box_px: F64) -> tuple[U8, F64]:
    """Return a square view around a box, and the [2, 3] map from frame pixels to its pixels.

    Both in continuous coordinates. The view stays inside of the frame unless the box itself is larger.
    """
    x, y, width, height = (float(value) for value in box_px)
    longer, shortest = max(width, height), float(min(rgb.shape[:2]))
    side = max(longer, min(_AROUND * longer, shortest))
    left = _fit(x + width / 2 - side / 2, side, rgb.shape[1])
    top = _fit(y + height / 2 - side / 2, side, rgb.shape[0])
    zoom = _SIDE_PX / side
    place = np.array([[zoom, 0.0, -left * zoom], [0.0, zoom, -top * zoom]])
    # cv2 counts from the middle of the first pixel, half a pixel off continuous coordinates.
    centered = place.copy()
    centered[:, 2] += 0.5 * zoom - 0.5
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    view = cv2.warpAffine(rgb, centered, (_SIDE_PX, _SIDE_PX), flags=how)
    return np.asarray(view, np.uint8), place


def _fit(start: float, side: float, length: int) -> float:
    """Return where a view of that side begins, moved inside of the picture if it fits."""
    return min(max(start, 0.0), length - side) if side <= length else start


def data_url(rgb: U8) -> str:
    """Return a picture as a data URL, for pages that load nothing."""
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(rgb)).decode("ascii")
