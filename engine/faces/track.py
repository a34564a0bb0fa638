"""Which faces of successive sampled frames are one person's: linked by place and size within a shot.

No biometric likeness is used. A track ends at a cut and when its face is not seen for a while.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from engine.arrays import F32, I64, U8
from engine.faces.detect import FaceBoxes, FaceDetector, detect_faces
from engine.faces.link import TRACK_RULES, TrackRules, match_places, to_places
from engine.faces.quality import QUALITY_RULES, FaceQuality, QualityRules, exclude_reason, measure_quality
from engine.faces.shots import ShotCutter
from engine.results import EvidenceReason

if TYPE_CHECKING:  # types only: tracking works on any frames and needs no decoder
    from engine.decode import SampledFrames


@dataclass(frozen=True)
class FaceTracks:
    """The faces of one group of frames with their tracks, ordered by frame and track."""

    frame: I64  # [F] index in the group
    track: I64  # [F] ordinal of the track, stable over the shard, from 0
    boxes: F32  # [F, 4] x, y, w, h, fractions of the displayed picture; may reach outside of it
    confidence: F32  # [F] of the detector, 0 to 1
    landmarks: F32  # [F, 5, 2] fractions, order of FaceBoxes
    size_px: F32  # [F] and so on: see FaceQuality
    sharpness: F32  # [F]
    brightness: F32  # [F]
    yaw: F32  # [F]
    pitch: F32  # [F]
    roll: F32  # [F]
    visible: F32  # [F]
    exclude: tuple[EvidenceReason | None, ...]  # [F] why the face is not scored
    cuts_us: tuple[int, ...] = ()  # times of the frames that are the first of a new shot
    capped: tuple[int, ...] = ()  # faces of each frame beyond the detector's limit, which have no row

    def __post_init__(self) -> None:
        count = len(self.frame)
        for field in fields(self)[:12]:
            shape = getattr(self, field.name).shape
            tail = {"boxes": (4,), "landmarks": (5, 2)}.get(field.name, ())
            if shape != (count, *tail):
                raise ValueError(f"{field.name} is {(count, *tail)}, not {shape}")
        if len(self.exclude) != count:
            raise ValueError(f"{len(self.exclude)} reasons for {count} faces")
        keys = list(zip(self.frame.tolist(), self.track.tolist(), strict=True))
        if keys != sorted(set(keys)) or (keys and min(min(key) for key in keys) < 0):
            raise ValueError("faces are ordered by frame and track, and a track has one face in a frame")
        if list(self.cuts_us) != sorted(set(self.cuts_us)):
            raise ValueError(f"cuts {self.cuts_us} are not in order")


@dataclass
class _OpenTrack:
    ordinal: int
    place: F32  # [4] as of to_places
    seen_us: int
    has_slot: bool = False


@dataclass(frozen=True)
class _Row:
    frame: int
    track: int
    box: F32
    landmarks: F32
    quality: FaceQuality
    exclude: EvidenceReason | None


class FaceTracker:
    """Links faces frame by frame. One object follows one shard, fed in order of time."""

    def __init__(
        self,
        rules: TrackRules = TRACK_RULES,
        quality_rules: QualityRules = QUALITY_RULES,
        cutter: ShotCutter | None = None,
    ) -> None:
        self._rules = rules
        self._quality_rules = quality_rules
        self._cutter = cutter or ShotCutter()
        self._open: list[_OpenTrack] = []
        self._next = 0
        self._last_us: int | None = None

    @property
    def border_views(self) -> U8 | None:
        """Views of the first and last frame fed, [2, ``VIEW_SIZE``]: tell whether two shards share a shot."""
        return self._cutter.border_views

    def update(self, frames: "SampledFrames", faces: Sequence[FaceBoxes]) -> FaceTracks:
        """Follow the faces of the next group of frames; times never fall from frame to frame."""
        if len(faces) != len(frames.rgb):
            raise ValueError(f"faces of {len(faces)} frames for {len(frames.rgb)} frames")
        rows: list[_Row] = []
        cuts: list[int] = []
        for index, found in enumerate(faces):
            now_us = int(frames.pts_us[index])
            if self._last_us is not None and now_us < self._last_us:
                raise ValueError(f"the frame at {now_us} us comes after the one at {self._last_us} us")
            if self._cutter.starts_shot(frames.rgb[index]):
                cuts.append(now_us)
                self._open.clear()
            rows.extend(self._follow(frames.rgb[index], index, now_us, found))
            self._last_us = now_us
        return _as_columns(rows, tuple(dict.fromkeys(cuts)), tuple(found.capped for found in faces))

    def _follow(self, rgb: U8, index: int, now_us: int, found: FaceBoxes) -> list[_Row]:
        """Link the faces of one frame; rows in order of their tracks."""
        self._open = [track for track in self._open if self._is_near(track.seen_us, now_us)]
        order = _canonical_order(found)
        places = to_places(found.boxes[order], rgb.shape[1] / rgb.shape[0])
        before = np.array([track.place for track in self._open], np.float32).reshape(-1, 4)
        linked = {face: self._open[track] for track, face in match_places(before, places, self._rules)}
        rows: list[_Row] = []
        for face, row in enumerate(order):
            track = linked.get(face) or self._start_track()
            track.place, track.seen_us = places[face], now_us
            confidence = float(found.confidence[row])
            quality = measure_quality(rgb, found.boxes[row], found.landmarks[row], confidence)
            reason = exclude_reason(quality, self._quality_rules) or self._take_slot(track)
            rows.append(_Row(index, track.ordinal, found.boxes[row], found.landmarks[row], quality, reason))
        return sorted(rows, key=lambda each: each.track)

    def _is_near(self, seen_us: int, now_us: int) -> bool:
        longest = self._rules.max_step_us if seen_us == self._last_us else self._rules.max_gap_us
        return now_us - seen_us <= longest

    def _start_track(self) -> _OpenTrack:
        track = _OpenTrack(self._next, np.zeros(4, np.float32), 0)
        self._next += 1
        self._open.append(track)
        return track

    def _take_slot(self, track: _OpenTrack) -> EvidenceReason | None:
        """Give the track one of the places for scoring, kept to its end, or say that none is free."""
        if not track.has_slot:
            track.has_slot = sum(other.has_slot for other in self._open) < self._rules.max_tracks
        return None if track.has_slot else EvidenceReason.FACE_CAP


def _canonical_order(found: FaceBoxes) -> I64:
    """Order faces by what they are, largest first, so that the detector's order changes nothing."""
    x, y, width, height = found.boxes.T
    return np.lexsort((found.confidence, height, width, y, x, -width * height))


def _as_columns(rows: list[_Row], cuts_us: tuple[int, ...], capped: tuple[int, ...]) -> FaceTracks:
    def of_quality(name: str) -> F32:
        return np.array([getattr(row.quality, name) for row in rows], np.float32)

    return FaceTracks(
        frame=np.array([row.frame for row in rows], np.int64),
        track=np.array([row.track for row in rows], np.int64),
        boxes=np.array([row.box for row in rows], np.float32).reshape(-1, 4),
        confidence=of_quality("confidence"),
        landmarks=np.array([row.landmarks for row in rows], np.float32).reshape(-1, 5, 2),
        size_px=of_quality("size_px"),
        sharpness=of_quality("sharpness"),
        brightness=of_quality("brightness"),
        yaw=of_quality("yaw"),
        pitch=of_quality("pitch"),
        roll=of_quality("roll"),
        visible=of_quality("visible"),
        exclude=tuple(row.exclude for row in rows),
        cuts_us=cuts_us,
        capped=capped,
    )


def track_faces(frames: "SampledFrames", detector: FaceDetector, tracker: FaceTracker) -> FaceTracks:
    """Find and follow the faces of the next group of frames."""
    return tracker.update(frames, detect_faces(frames, detector))
