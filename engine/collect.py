"""Gather what the steps find about one shard into its evidence, and batch crops for the network.

A group of frames rarely holds as many faces as the engine likes to take at once. Crops wait here until a
whole batch is there; at most one group of crops and one batch wait at a time.
"""

from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.arrays import F32, I64, U8
from engine.decode import DecodeReport, SampledFrames
from engine.evidence import MissingSample, ShardEvidence
from engine.faces.align import FaceBatch
from engine.faces.shots import STILL_DIFFERENCE, VIEW_SIZE
from engine.faces.track import FaceTracks
from engine.predict import FramePredictions
from engine.probe import Probe
from engine.results import MediaWarning

_Column = TypeVar("_Column", bound=NDArray[Any])
_STILL_SIDE = 64  # px of the thumbnails by which a still is told from a video


class CropQueue:
    """Crops that wait for a batch of ``batch`` to be full, in the order in which they came."""

    def __init__(self, batch: int) -> None:
        if batch < 1:
            raise ValueError(f"a batch of {batch} crops")
        self._batch = batch
        self._waiting: list[FaceBatch] = []

    def put(self, crops: FaceBatch) -> None:
        """Append the crops of one group of frames."""
        if len(crops.crops):
            self._waiting.append(crops)

    def take(self) -> FaceBatch | None:
        """Return as many crops as fill whole batches, None if there are too few."""
        count = sum(len(waiting.crops) for waiting in self._waiting)
        whole = count - count % self._batch
        if not whole:
            return None
        joined = join_batches(self._waiting)
        self._waiting = [_slice_batch(joined, whole, count)] if whole < count else []
        return _slice_batch(joined, 0, whole)

    def take_rest(self) -> FaceBatch | None:
        """Return all that is left, None if nothing is."""
        waiting, self._waiting = self._waiting, []
        return join_batches(waiting) if waiting else None


def join_batches(batches: list[FaceBatch]) -> FaceBatch:
    """Join batches; ``frame``, which counts within a group of frames, keeps its values."""
    return FaceBatch(
        crops=np.concatenate([each.crops for each in batches]),
        track=np.concatenate([each.track for each in batches]),
        pts_us=np.concatenate([each.pts_us for each in batches]),
        to_frame=np.concatenate([each.to_frame for each in batches]),
        frame=np.concatenate([each.frame for each in batches]),
    )


def _slice_batch(batch: FaceBatch, start: int, end: int) -> FaceBatch:
    # Copies: a view would keep the crops of the whole batch alive.
    return FaceBatch(
        crops=batch.crops[start:end].copy(),
        track=batch.track[start:end],
        pts_us=batch.pts_us[start:end],
        to_frame=batch.to_frame[start:end],
        frame=batch.frame[start:end],
    )


@dataclass
class EvidenceCollector:
    """Takes the groups of one shard in order, then the predictions in the same order, and joins them."""

    probe: Probe
    crop_size: int
    grid: int
    faces: int = 0  # found so far
    _tracks: list[FaceTracks] = field(default_factory=list[FaceTracks])
    _rows_us: list[I64] = field(default_factory=list[I64])
    _samples_us: list[I64] = field(default_factory=list[I64])
    _per_sample: list[I64] = field(default_factory=list[I64])
    _to_frame: list[F32] = field(default_factory=list[F32])
    _logit: list[F32] = field(default_factory=list[F32])
    _patches: list[U8] = field(default_factory=list[U8])
    _first_thumb: U8 | None = None
    _is_still: bool = True

    def add_group(self, frames: SampledFrames, tracks: FaceTracks, crops: FaceBatch) -> None:
        """Take what was found in one group of frames."""
        self._tracks.append(tracks)
        self._rows_us.append(frames.pts_us[tracks.frame])
        self._samples_us.append(frames.pts_us)
        held = np.bincount(tracks.frame, minlength=len(frames)).astype(np.int64)
        self._per_sample.append(held + np.array(tracks.capped or [0] * len(frames), np.int64))
        self._to_frame.append(crops.to_frame)
        self.faces += len(tracks.frame)
        for rgb in frames.rgb:
            self._compare(rgb)

    def add_predictions(self, predictions: FramePredictions) -> None:
        """Take the network's answer for the next crops. Raises ValueError if it has no patch maps."""
        if predictions.patches is None:
            raise ValueError("evidence has patch maps, which a triage graph does not give")
        self._logit.append(predictions.logit)
        self._patches.append(predictions.patches)

    def build(self, report: DecodeReport, border_views: U8 | None = None) -> ShardEvidence:
        """Return the evidence. Raises ValueError if the network did not answer for every crop.

        ``border_views`` are those of the tracker that followed the shard; None if it gave no sample.
        """
        exclude = tuple(reason for tracks in self._tracks for reason in tracks.exclude)
        scored = np.array([reason is None for reason in exclude], bool)
        rows = len(exclude)
        logit = np.full(rows, np.nan, np.float32)
        to_frame = np.zeros((rows, 2, 3), np.float32)
        patches = np.zeros((rows, self.grid, self.grid), np.uint8)
        logit[scored] = _join(self._logit, np.empty(0, np.float32))
        to_frame[scored] = _join(self._to_frame, np.empty((0, 2, 3), np.float32))
        patches[scored] = _join(self._patches, np.empty((0, self.grid, self.grid), np.uint8))
        return ShardEvidence(
            track=self._column("track", np.empty(0, np.int64)),
            pts_us=_join(self._rows_us, np.empty(0, np.int64)),
            box=self._column("boxes", np.empty((0, 4), np.float32)),
            confidence=self._floats("confidence"),
            landmarks=self._column("landmarks", np.empty((0, 5, 2), np.float32)),
            to_frame=to_frame,
            size_px=self._floats("size_px"),
            sharpness=self._floats("sharpness"),
            brightness=self._floats("brightness"),
            yaw=self._floats("yaw"),
            pitch=self._floats("pitch"),
            roll=self._floats("roll"),
            visible=self._floats("visible"),
            exclude=exclude,
            logit=logit,
            patches=patches,
            samples_us=_join(self._samples_us, np.empty(0, np.int64)),
            faces_per_sample=_join(self._per_sample, np.empty(0, np.int64)),
            border_views=np.empty((0, VIEW_SIZE), np.uint8) if border_views is None else border_views,
            cuts_us=tuple(cut for tracks in self._tracks for cut in tracks.cuts_us),
            missing=tuple(MissingSample(item.pts_us, item.reason, item.detail) for item in report.missing),
            warnings=self._warnings(report),
            requested=report.requested,
            decoded=report.decoded,
            frame_width=self.probe.width,
            frame_height=self.probe.height,
            crop_size=self.crop_size,
        )

    def _column(self, name: str, empty: _Column) -> _Column:
        return _join([getattr(tracks, name) for tracks in self._tracks], empty)

    def _floats(self, name: str) -> F32:
        return self._column(name, np.empty(0, np.float32))

    def _compare(self, rgb: U8) -> None:
        if not self._is_still:
            return
        small = cv2.resize(rgb, (_STILL_SIDE, _STILL_SIDE), interpolation=cv2.INTER_AREA)
        thumb = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        if self._first_thumb is None:
            self._first_thumb = thumb
        difference = np.abs(thumb.astype(np.int16) - self._first_thumb)
        self._is_still = int(difference.max()) <= STILL_DIFFERENCE

    def _warnings(self, report: DecodeReport) -> tuple[MediaWarning, ...]:
        samples = sum(len(times) for times in self._samples_us)
        is_capped = any(any(tracks.capped) for tracks in self._tracks)
        found = dict.fromkeys((*self.probe.warnings, *report.warnings))
        if is_capped:
            found[MediaWarning.FACE_CAP] = None
        if self._is_still and samples > 1:
            found[MediaWarning.STATIC_IMAGE] = None
        return tuple(found)


def _join(parts: list[_Column], empty: _Column) -> _Column:
    return cast(_Column, np.concatenate([empty, *parts]))
