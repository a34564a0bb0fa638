"""Where each face is at any time between the samples, and which patch map belongs there."""

from dataclasses import dataclass

import numpy as np

from engine.arrays import F32, F64, I64
from engine.output.drawing import PatchMap
from engine.output.patches import find_rows
from engine.results import FrameScore, TrackScore
from engine.scan_result import ScanResult

MAX_BRIDGE_US = 2_500_000
"""Between samples further apart than this nobody knows where the face was."""
HOLD_US = 250_000
"""A patch map is shown this long before and after its sample; longer, it would claim frames not looked at."""


@dataclass(frozen=True)
class FaceState:
    """One face at one time."""

    ordinal: int
    box: F64  # [4] x, y, w, h as fractions of the displayed picture
    sample: FrameScore  # the sample nearest in time
    is_between: bool  # the box was interpolated
    shown: PatchMap | None  # placed for this time, in pixels of the displayed frame
    strength: float  # 1 at the sample, falling with the distance from it


class FacePath:
    """One track, to be asked for any time."""

    def __init__(self, result: ScanResult, track: TrackScore) -> None:
        assert result.evidence is not None
        self._evidence = result.evidence
        self._track = track
        self._rows = find_rows(result, track)
        self._times: I64 = np.array([frame.pts_us for frame in track.frames], np.int64)
        self._boxes: F64 = np.array([frame.box for frame in track.frames], np.float64)
        self._holds = _hold_times(self._times)

    def at(self, time_us: int, *, sample_slack_us: int = 0) -> FaceState | None:
        """Return where the face is at a time, None where that is not known.

        A time within ``sample_slack_us`` of a sample counts as that sample.
        """
        nearest = int(np.abs(self._times - time_us).argmin())
        distance = abs(int(self._times[nearest]) - time_us)
        is_between = distance > sample_slack_us
        box = self._boxes[nearest]
        if is_between:
            bridged = self._bridge(time_us)
            if bridged is None and distance > self._holds[nearest]:
                return None
            box = box if bridged is None else bridged
        sample = self._track.frames[nearest]
        hold = int(self._holds[nearest])
        row = self._rows.get(sample.pts_us) if distance <= hold or not is_between else None
        shown = None if row is None else self._place_map(row, self._boxes[nearest], box)
        strength = 1.0 - 0.5 * min(1.0, distance / max(1, hold))
        return FaceState(self._track.ordinal, box, sample, is_between, shown, strength)

    def _bridge(self, time_us: int) -> F64 | None:
        """Return the box between two samples that are near enough, by straight lines."""
        after = int(np.searchsorted(self._times, time_us))
        if not 0 < after < len(self._times):
            return None
        first, last = int(self._times[after - 1]), int(self._times[after])
        if last - first > MAX_BRIDGE_US or self._was_missed(first, last):
            return None
        share = (time_us - first) / (last - first)
        return self._boxes[after - 1] * (1 - share) + self._boxes[after] * share

    def _was_missed(self, first_us: int, last_us: int) -> bool:
        """Whether a sample between two others was looked at and the face not found there."""
        first, last = np.searchsorted(self._evidence.samples_us, [first_us + 1, last_us])
        return bool(last > first)

    def _place_map(self, row: int, sampled: F64, box: F64) -> PatchMap:
        """Return the patch map, moved along with the box from where it was sampled."""
        evidence = self._evidence
        size = np.array([evidence.frame_width, evidence.frame_height] * 2, np.float64)
        affine = move_affine(evidence.to_frame[row], sampled * size, box * size)
        return PatchMap(evidence.patches[row], affine, evidence.crop_size)


def _hold_times(times: I64) -> I64:
    """Return for each sample how far its map reaches: half the way to its neighbours, ``HOLD_US`` at most."""
    holds = np.full(len(times), HOLD_US, np.int64)
    half = np.diff(times) // 2
    holds[:-1] = np.minimum(holds[:-1], half)
    holds[1:] = np.minimum(holds[1:], half)
    return holds


def move_affine(to_frame: F32, before_px: F64, after_px: F64) -> F32:
    """Carry an affine [2, 3] along with a box ``x, y, w, h`` that moved and grew."""
    growth = float(np.sqrt(after_px[2] * after_px[3] / (before_px[2] * before_px[3])))
    center_before = before_px[:2] + before_px[2:] / 2
    center_after = after_px[:2] + after_px[2:] / 2
    moved = to_frame.astype(np.float64) * growth
    moved[:, 2] += center_after - growth * center_before
    return moved.astype(np.float32)
