"""From the evidence of a video to its score, or to the reason why it has none.

Whether there is evidence is asked first. A track is scored from ``min_frames`` scored frames on, a video from
one scored track on, provided that at least half of the planned samples could be decoded; otherwise there is
an outcome with reasons and no number. The numbers are those of ``engine.aggregate``.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from engine.aggregate import (
    AggregationParams,
    QualityParams,
    TrackFrames,
    bootstrap_interval,
    quality_weights,
    sigmoid,
    track_logit,
    video_logit,
    window_logits,
)
from engine.arrays import F64, I64, Bool
from engine.calibrate import Calibration
from engine.container import MediaKind
from engine.evidence import NO_TRACK, ShardEvidence
from engine.missing import group_missing
from engine.regions import REGIONS, hot_cells, label_faces, map_persistence, region_shares
from engine.results import (
    Coverage,
    EvidenceReason,
    FaceRegion,
    FrameScore,
    MediaWarning,
    Outcome,
    Segment,
    TrackScore,
    VideoScore,
)
from engine.segments import (
    SampleCells,
    SegmentParams,
    build_time_series,
    find_cuts,
    find_excluded,
    find_suspicious,
    rank_reasons,
    sample_cells,
    scored_time_us,
)


@dataclass(frozen=True)
class ScoringParams:
    """Everything that scoring can be told; part of the pipeline's fingerprint."""

    version: int = 1  # of the formulas
    aggregation: AggregationParams = field(default_factory=AggregationParams)
    quality: QualityParams = field(default_factory=QualityParams)
    segments: SegmentParams = field(default_factory=SegmentParams)
    min_frames: int = 8  # scored frames that a track of a video needs
    map_threshold: float = 0.5  # P(patch manipulated) from which a patch is hot
    least_decoded: float = 0.5  # share of planned samples below which a video has no score
    whole_decoded: float = 0.95  # and below which it is partially scored
    peaks: int = 5
    replicates: int = 200
    seed: int = 1

    def __post_init__(self) -> None:
        if self.min_frames < self.aggregation.window:
            raise ValueError("a scored track fills at least one window")
        if not 0.0 < self.least_decoded <= self.whole_decoded <= 1.0 or not 0.0 < self.map_threshold <= 1.0:
            raise ValueError("shares lie in 0 to 1, and the least one below that of a whole video")
        if self.peaks < 1 or self.replicates < 40:
            raise ValueError("at least one peak, and 40 replicates for the ends of a 95 % interval")

    def for_kind(self, kind: MediaKind) -> "ScoringParams":
        """Return the parameters for a picture, whose tracks have one frame, or these for a video."""
        if kind is MediaKind.VIDEO:
            return self
        return replace(self, aggregation=replace(self.aggregation, window=1), min_frames=1)


def window_logits_by_track(evidence: ShardEvidence, params: ScoringParams) -> list[F64]:
    """Return the windows of each track of a video that has enough frames: what its score is made of."""
    weight = _quality(evidence, params)
    found: list[F64] = []
    for rows in _track_rows(evidence):
        kept = rows[evidence.is_scored[rows]]
        if len(kept) >= params.min_frames:
            logit = evidence.logit[kept].astype(np.float64)
            found.append(window_logits(logit, weight[kept], params.aggregation))
    return found


def _quality(evidence: ShardEvidence, params: ScoringParams) -> F64:
    return quality_weights(
        evidence.size_px, evidence.sharpness, evidence.yaw, evidence.confidence, params.quality
    )


@dataclass(frozen=True)
class _Faces:
    """What is computed once for all rows of the evidence."""

    score: F64  # [n] NaN where excluded
    weight: F64  # [n]
    scored: Bool  # [n]
    hot: Bool  # [n, g, g]
    shares: F64  # [n, R] hot patches by region, zeros where excluded


@dataclass(frozen=True)
class _Track:
    """One track while it is scored; ``logit`` None means that it has too little evidence."""

    record: TrackScore
    rows: I64  # its scored rows in the evidence
    frames: TrackFrames
    logit: float | None


def score_video(
    evidence: ShardEvidence,
    *,
    duration_us: int,
    kind: MediaKind,
    calibration: Calibration | None = None,
    params: ScoringParams | None = None,
    frame_count: int | None = None,
) -> VideoScore:
    """Score a video or picture from all of its evidence, as ``merge_shards`` gives it.

    ``duration_us`` is the time from the first to after the last frame, 0 for a picture; ``frame_count`` the
    number of frames that the container holds, by default those that were asked for. ``calibrated`` stays
    None without a calibration. Pure: the same evidence and parameters give the same score.
    """
    params = (params or ScoringParams()).for_kind(kind)
    faces = _measure(evidence, params)
    cells = sample_cells(evidence, duration_us)
    tracks = [_score_track(evidence, faces, rows, cells, params) for rows in _track_rows(evidence)]
    records = tuple(track.record for track in tracks)
    segments = _find_segments(evidence, faces, tracks, cells, params) if kind is MediaKind.VIDEO else ()
    numbers = _join_tracks(
        tracks, calibration, params, is_still=MediaWarning.STATIC_IMAGE in evidence.warnings
    )
    outcome, reasons = _judge_evidence(evidence, params, has_score=numbers.raw is not None)
    return VideoScore(
        outcome=outcome,
        raw=numbers.raw,
        calibrated=numbers.calibrated,
        interval=numbers.interval,
        tracks=records,
        segments=segments,
        coverage=_coverage(evidence, cells, duration_us, frame_count),
        peak_track=numbers.peak_track,
        reasons=reasons,
        time_series=build_time_series(evidence, faces.score, segments),
    )


def share_regions(evidence: ShardEvidence, params: ScoringParams) -> F64:
    """Return [n, R]: the share of hot cells in each part of the face, for each face of the evidence.

    R is in the order of ``FaceRegion``; faces without a score have zeros. ``params`` are of the video's kind.
    """
    scored = evidence.is_scored
    hot = hot_cells(evidence.patches, params.map_threshold)
    labels = label_faces(
        evidence.landmarks[scored],
        evidence.to_frame[scored],
        (evidence.frame_width, evidence.frame_height),
        evidence.patches.shape[1],
        evidence.crop_size,
    )
    shares = np.zeros((len(scored), len(REGIONS)))
    shares[scored] = region_shares(hot[scored], labels)
    return shares


def _measure(evidence: ShardEvidence, params: ScoringParams) -> _Faces:
    scored = evidence.is_scored
    score = np.full(len(scored), np.nan)
    score[scored] = sigmoid(evidence.logit[scored].astype(np.float64))
    hot = hot_cells(evidence.patches, params.map_threshold)
    return _Faces(score, _quality(evidence, params), scored, hot, share_regions(evidence, params))


def _track_rows(evidence: ShardEvidence) -> list[I64]:
    """Return the rows of each track, tracks by ordinal and rows in order of time."""
    ordinals = np.unique(evidence.track[evidence.track != NO_TRACK])
    return [np.flatnonzero(evidence.track == ordinal) for ordinal in ordinals]


def _score_track(
    evidence: ShardEvidence, faces: _Faces, rows: I64, cells: SampleCells, params: ScoringParams
) -> _Track:
    """Score one track from its own rows alone: what else is in the video does not move it."""
    kept = rows[faces.scored[rows]]
    frames = TrackFrames(evidence.logit[kept].astype(np.float64), faces.weight[kept])
    reasons = rank_reasons([evidence.exclude[int(row)] for row in rows])
    logit = None
    if _decoded_share(evidence) < params.least_decoded:
        reasons = (EvidenceReason.PARTIAL_DECODE, *reasons)
    elif len(kept) >= params.min_frames:
        logit = float(
            track_logit(window_logits(frames.logit, frames.weight, params.aggregation), params.aggregation)
        )
    elif len(kept):
        reasons = (EvidenceReason.TOO_FEW_FRAMES, *reasons)
    start_us, end_us = cells.span(int(evidence.pts_us[rows[0]]), int(evidence.pts_us[rows[-1]]))
    highest = kept[np.argsort(-evidence.logit[kept], kind="stable")][: params.peaks]
    record = TrackScore(
        ordinal=int(evidence.track[rows[0]]),
        start_us=start_us,
        end_us=end_us,
        outcome=Outcome.INSUFFICIENT_EVIDENCE if logit is None else Outcome.SCORED,
        score=None if logit is None else float(sigmoid(np.array(logit))),
        frames=tuple(_build_frame(evidence, faces, row) for row in rows.tolist()),
        peak_pts_us=tuple(evidence.pts_us[highest].tolist()),
        regions=_track_regions(evidence, faces, kept),
        reasons=reasons if logit is None else (),
        patch_persistence=map_persistence(faces.hot[kept]),
    )
    return _Track(record, kept, frames, logit)


def _track_regions(evidence: ShardEvidence, faces: _Faces, kept: I64) -> tuple[tuple[FaceRegion, float], ...]:
    """Return the mean share of hot patches by region, over the suspicious frames if there are any.

    A track without a scored frame has no map, and so no shares.
    """
    if not len(kept):
        return ()
    suspicious = kept[evidence.logit[kept] >= 0.0]
    told = suspicious if len(suspicious) else kept
    shares = faces.shares[told].mean(axis=0)
    return tuple(zip(REGIONS, shares.tolist(), strict=True))


def _build_frame(evidence: ShardEvidence, faces: _Faces, row: int) -> FrameScore:
    x, y, width, height = (float(value) for value in evidence.box[row])
    scored = bool(faces.scored[row])
    return FrameScore(
        pts_us=int(evidence.pts_us[row]),
        box=(x, y, width, height),
        score=float(faces.score[row]) if scored else None,
        patch_max=float(evidence.patches[row].max()) / 255 if scored else None,
        patch_area=float(faces.hot[row].mean()) if scored else None,
        exclude_reason=evidence.exclude[row],
        confidence=float(evidence.confidence[row]),
    )


def _find_segments(
    evidence: ShardEvidence,
    faces: _Faces,
    tracks: Sequence[_Track],
    cells: SampleCells,
    params: ScoringParams,
) -> tuple[Segment, ...]:
    """Return suspicious and excluded spans and cuts, in order of time."""
    records = [track.record for track in tracks]
    segments = [*find_excluded(evidence, records, cells), *find_cuts(evidence)]
    for track in tracks:
        if track.logit is None:
            continue
        frames = [frame for frame in track.record.frames if frame.score is not None]
        shares = faces.shares[track.rows]
        found = find_suspicious(
            track.record.ordinal, frames, track.frames.logit, shares, cells, params.segments
        )
        segments.extend(found)
    return tuple(sorted(segments, key=lambda s: (s.start_us, s.end_us, s.kind, s.track or 0)))


@dataclass(frozen=True)
class _Numbers:
    """The numbers of a video; all None when no track has a score."""

    raw: float | None = None
    calibrated: float | None = None
    interval: tuple[float, float] | None = None
    peak_track: int | None = None


def _join_tracks(
    tracks: Sequence[_Track], calibration: Calibration | None, params: ScoringParams, *, is_still: bool
) -> _Numbers:
    """Score the video from the tracks that have a logit.

    The frames of a still are one sample, however many they are: they say nothing of the spread of others.
    """
    scored = [(track, track.logit) for track in tracks if track.logit is not None]
    if not scored:
        return _Numbers()
    logits = np.array([logit for _, logit in scored])
    video = video_logit(logits, params.aggregation)
    frames = [track.frames for track, _ in scored]
    ends = None
    if not is_still:
        ends = bootstrap_interval(frames, params.aggregation, replicates=params.replicates, seed=params.seed)
    shown = sigmoid if calibration is None else calibration.apply
    return _Numbers(
        raw=float(sigmoid(video)),
        calibrated=None if calibration is None else float(calibration.apply(video)),
        interval=None if ends is None else (float(shown(np.array(ends[0]))), float(shown(np.array(ends[1])))),
        peak_track=scored[int(logits.argmax())][0].record.ordinal,
    )


def _decoded_share(evidence: ShardEvidence) -> float:
    return evidence.decoded / evidence.requested if evidence.requested else 0.0


def _judge_evidence(
    evidence: ShardEvidence, params: ScoringParams, *, has_score: bool
) -> tuple[Outcome, tuple[EvidenceReason, ...]]:
    """Say whether there is a score, and what a reader must know about what it rests on."""
    caveats: list[EvidenceReason] = []
    lost = {MediaWarning.CORRUPT_FRAMES, MediaWarning.DECODE_BROKEN_OFF}.intersection(evidence.warnings)
    if lost or _decoded_share(evidence) < params.whole_decoded:
        caveats.append(EvidenceReason.PARTIAL_DECODE)
    capped = (
        int(evidence.faces_per_sample.sum()) > len(evidence.track)
        or MediaWarning.FACE_CAP in evidence.warnings
    )
    if capped or EvidenceReason.FACE_CAP in evidence.exclude:
        caveats.append(EvidenceReason.FACE_CAP)
    if has_score:
        outcome = Outcome.PARTIALLY_SCORED if caveats else Outcome.SCORED
        if MediaWarning.STATIC_IMAGE in evidence.warnings:
            caveats.append(EvidenceReason.STATIC_IMAGE)
        return outcome, tuple(caveats)
    if _decoded_share(evidence) < params.least_decoded:
        return Outcome.INSUFFICIENT_EVIDENCE, (EvidenceReason.PARTIAL_DECODE, *rank_reasons(evidence.exclude))
    if not evidence.faces_per_sample.any():
        return Outcome.NO_FACE, (EvidenceReason.NO_FACE, *caveats)
    reasons = [*rank_reasons(evidence.exclude), *caveats]
    if evidence.is_scored.any():
        reasons.insert(0, EvidenceReason.TOO_FEW_FRAMES)
    return Outcome.INSUFFICIENT_EVIDENCE, tuple(dict.fromkeys(reasons))


def _coverage(
    evidence: ShardEvidence, cells: SampleCells, duration_us: int, frame_count: int | None
) -> Coverage:
    rejected = Counter(reason for reason in evidence.exclude if reason is not None)
    beyond = int(evidence.faces_per_sample.sum()) - len(evidence.track)
    if beyond:
        rejected[EvidenceReason.FACE_CAP] += beyond
    return Coverage(
        frames_in_video=evidence.requested if frame_count is None else frame_count,
        frames_sampled=evidence.requested,
        frames_decoded=evidence.decoded,
        frames_with_face=int((evidence.faces_per_sample > 0).sum()),
        faces_detected=int(evidence.faces_per_sample.sum()),
        faces_scored=int(evidence.is_scored.sum()),
        faces_rejected=tuple(sorted(rejected.items(), key=lambda item: (-item[1], item[0]))),
        scored_us=scored_time_us(evidence, cells),
        total_us=duration_us,
        missing=group_missing(evidence.missing),
    )
