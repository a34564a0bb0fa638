"""What screening a video can answer: closed lists and the records of a score and a verdict.

Standard library only, so that every package may import it. Times are integer microseconds from the
first presented frame, spans are half open, scores are P(manipulated) in 0 to 1, absent is ``None``.
"""

import itertools
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """Was there evidence? Kept apart from the score and from the verdict."""

    SCORED = "scored"
    PARTIALLY_SCORED = "partially_scored"
    NO_FACE = "no_face"
    INSUFFICIENT_EVIDENCE = "insufficient_evidence"
    UNSCORABLE = "unscorable"

    @property
    def has_score(self) -> bool:
        """Whether a score exists at all under this outcome."""
        return self in (Outcome.SCORED, Outcome.PARTIALLY_SCORED)


class VerdictValue(StrEnum):
    """What a policy says of a score. Never 'authentic', never 'fake'."""

    LIKELY_MANIPULATED = "likely_manipulated"
    INCONCLUSIVE = "inconclusive"
    NO_MANIPULATION_FOUND = "no_manipulation_found"


class RejectReason(StrEnum):
    """Why an input was refused or a run ended without an answer."""

    EMPTY = "EMPTY"
    NOT_VIDEO = "NOT_VIDEO"
    UNSUPPORTED_CONTAINER = "UNSUPPORTED_CONTAINER"
    UNSUPPORTED_CODEC = "UNSUPPORTED_CODEC"
    TRUNCATED = "TRUNCATED"
    CORRUPT = "CORRUPT"
    NO_FRAMES = "NO_FRAMES"
    NO_VIDEO_STREAM = "NO_VIDEO_STREAM"
    ENCRYPTED = "ENCRYPTED"
    TOO_SMALL = "TOO_SMALL"
    RESOLUTION_CHANGE = "RESOLUTION_CHANGE"
    LIMIT_PIXELS = "LIMIT_PIXELS"
    LIMIT_FRAMES = "LIMIT_FRAMES"
    LIMIT_DURATION = "LIMIT_DURATION"
    LIMIT_STREAMS = "LIMIT_STREAMS"
    LIMIT_MEMORY = "LIMIT_MEMORY"
    SOURCE_TOO_LARGE = "SOURCE_TOO_LARGE"
    SOURCE_NOT_FOUND = "SOURCE_NOT_FOUND"
    SOURCE_ACCESS_DENIED = "SOURCE_ACCESS_DENIED"
    SOURCE_CHANGED = "SOURCE_CHANGED"
    DECODE_TIMEOUT = "DECODE_TIMEOUT"
    DECODER_CRASHED = "DECODER_CRASHED"
    SANDBOX_UNAVAILABLE = "SANDBOX_UNAVAILABLE"
    ENGINE_UNAVAILABLE = "ENGINE_UNAVAILABLE"
    MODEL_INVALID = "MODEL_INVALID"
    INVALID_MANIFEST = "INVALID_MANIFEST"
    OUTPUT_FAILED = "OUTPUT_FAILED"
    CANCELLED_BY_CALLER = "CANCELLED_BY_CALLER"
    INTERNAL = "INTERNAL"


class EvidenceReason(StrEnum):
    """Why a face, a sample, a span or a whole video carries no score, or carries one with a caveat."""

    NO_FACE = "no_face"
    FACE_TOO_SMALL = "face_too_small"
    TOO_BLURRED = "too_blurred"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    EXTREME_POSE = "extreme_pose"
    CUT_OFF = "cut_off"
    LOW_CONFIDENCE = "low_confidence"
    FACE_CAP = "face_cap"
    NOT_DECODED = "not_decoded"
    TOO_FEW_FRAMES = "too_few_frames"
    PARTIAL_DECODE = "partial_decode"
    STATIC_IMAGE = "static_image"


class MediaWarning(StrEnum):
    """What is unusual about an accepted input and may bear on its score."""

    HDR = "hdr"
    INTERLACED = "interlaced"
    VARIABLE_RATE = "variable_rate"
    BAD_TIMESTAMPS = "bad_timestamps"
    CORRUPT_FRAMES = "corrupt_frames"
    DECODE_BROKEN_OFF = "decode_broken_off"
    RESOLUTION_CHANGE = "resolution_change"
    ATTACHED_PICTURE = "attached_picture"
    SEVERAL_VIDEO_STREAMS = "several_video_streams"
    EXTENSION_MISMATCH = "extension_mismatch"
    DURATION_MISMATCH = "duration_mismatch"
    FACE_CAP = "face_cap"
    STATIC_IMAGE = "static_image"


class SegmentKind(StrEnum):
    """What a span of a track or a video stands out for."""

    SUSPICIOUS = "suspicious"
    EXCLUDED = "excluded"
    CUT = "cut"


class VerdictReason(StrEnum):
    """Why a verdict reads as it does."""

    HIGH_TRACK_SCORE = "HIGH_TRACK_SCORE"
    LOW_TRACK_SCORES = "LOW_TRACK_SCORES"
    SCORE_BETWEEN_THRESHOLDS = "SCORE_BETWEEN_THRESHOLDS"
    LOW_COVERAGE = "LOW_COVERAGE"
    PARTIAL_EVIDENCE = "PARTIAL_EVIDENCE"
    NO_EVIDENCE = "NO_EVIDENCE"
    SINGLE_FRAME_PEAK = "SINGLE_FRAME_PEAK"
    SINGLE_PICTURE = "SINGLE_PICTURE"
    UNCALIBRATED = "UNCALIBRATED"
    EXTRAPOLATED_THRESHOLD = "EXTRAPOLATED_THRESHOLD"


class FaceRegion(StrEnum):
    """Parts of a face, in which the share of suspicious patches is told."""

    LEFT_EYE = "left_eye"
    RIGHT_EYE = "right_eye"
    NOSE = "nose"
    MOUTH = "mouth"
    CHEEKS_JAW = "cheeks_jaw"
    FOREHEAD = "forehead"
    BACKGROUND = "background"


def _check_fraction(name: str, value: float | None) -> None:
    if value is not None and not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} is {value}, outside 0 to 1")


def _check_span(start_us: int, end_us: int) -> None:
    if not 0 <= start_us <= end_us:
        raise ValueError(f"span [{start_us}, {end_us}) is negative or reversed")


MISSING_GROUPS = 8
"""Causes of missing samples that a result tells apart; with more, the last entry has the rest."""


@dataclass(frozen=True)
class MissingSamples:
    """Samples that were asked for and did not come, all for one cause. Times in microseconds.

    ``pts_us`` are the times of all of them, in order; None in results of releases that kept only their ends.
    """

    reason: EvidenceReason
    detail: str  # what was seen; of a run that was broken off, beginning with its ``RejectReason``
    count: int
    first_us: int
    last_us: int
    pts_us: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 <= self.first_us <= self.last_us:
            raise ValueError(f"{self.count} samples are missing from {self.first_us} to {self.last_us} us")
        if self.pts_us is not None and (
            len(self.pts_us) != self.count
            or list(self.pts_us) != sorted(self.pts_us)
            or (self.pts_us[0], self.pts_us[-1]) != (self.first_us, self.last_us)
        ):
            raise ValueError(
                f"{self.pts_us} are not {self.count} times from {self.first_us} to {self.last_us} us"
            )


@dataclass(frozen=True)
class Coverage:
    """How much of a video the score rests on. Counts of frames and faces, times in microseconds.

    ``missing`` names every sample that did not come, by cause; None where that was not kept.
    """

    frames_in_video: int
    frames_sampled: int
    frames_decoded: int
    frames_with_face: int
    faces_detected: int
    faces_scored: int
    faces_rejected: tuple[tuple[EvidenceReason, int], ...]
    scored_us: int
    total_us: int
    missing: tuple[MissingSamples, ...] | None = None

    def __post_init__(self) -> None:
        if self.frames_decoded > self.frames_sampled:
            raise ValueError("more frames decoded than asked for")
        if self.faces_scored + sum(n for _, n in self.faces_rejected) != self.faces_detected:
            raise ValueError("every detected face is either scored or rejected with a reason")
        if self.missing is not None and len(self.missing) > MISSING_GROUPS:
            raise ValueError(
                f"missing samples have {len(self.missing)} entries, not {MISSING_GROUPS} at most"
            )

    @property
    def is_picture(self) -> bool:
        """Whether it is of a still picture: every video has a duration."""
        return self.total_us == 0

    @property
    def ratio(self) -> float:
        """Share of the video's time that was scored, 0 to 1; a picture counts as a whole."""
        if self.is_picture:
            return 1.0 if self.faces_scored else 0.0
        return min(1.0, self.scored_us / self.total_us)


@dataclass(frozen=True)
class FrameScore:
    """One face in one sampled frame. ``score`` is null exactly when ``exclude_reason`` is set."""

    pts_us: int
    box: tuple[float, float, float, float]  # x, y, w, h as fractions of the displayed picture
    score: float | None
    patch_max: float | None
    patch_area: float | None  # share of patches at or above the map threshold
    exclude_reason: EvidenceReason | None
    confidence: float = 1.0

    def __post_init__(self) -> None:
        if (self.score is None) != (self.exclude_reason is not None):
            raise ValueError("a face has either a score or a reason for having none")
        for name in ("score", "patch_max", "patch_area"):
            _check_fraction(name, getattr(self, name))


@dataclass(frozen=True)
class TrackScore:
    """One face over time. ``score`` is null unless the outcome has one."""

    ordinal: int
    start_us: int
    end_us: int
    outcome: Outcome
    score: float | None
    frames: tuple[FrameScore, ...]
    peak_pts_us: tuple[int, ...]
    regions: tuple[tuple[FaceRegion, float], ...]  # mean share of suspicious patches by region
    reasons: tuple[EvidenceReason, ...] = ()
    patch_persistence: float | None = None

    def __post_init__(self) -> None:
        _check_span(self.start_us, self.end_us)
        _check_fraction("score", self.score)
        if (self.score is not None) != self.outcome.has_score:
            raise ValueError(f"track outcome {self.outcome} contradicts score {self.score}")

    @property
    def scored_count(self) -> int:
        """Number of frames of this track that carry a score."""
        return sum(f.score is not None for f in self.frames)


@dataclass(frozen=True)
class Segment:
    """A span that stands out; ``track`` is null when it concerns the whole picture."""

    start_us: int
    end_us: int
    kind: SegmentKind
    track: int | None = None
    score_max: float | None = None
    score_mean: float | None = None
    reason: EvidenceReason | None = None
    regions: tuple[FaceRegion, ...] = ()

    def __post_init__(self) -> None:
        _check_span(self.start_us, self.end_us)
        if (self.reason is not None) != (self.kind is SegmentKind.EXCLUDED):
            raise ValueError("an excluded span has a reason, other spans have none")


@dataclass(frozen=True)
class TimeSeries:
    """The scores of a video over time as columns: one entry for each decoded sample, in order of time."""

    pts_us: tuple[int, ...]
    score: tuple[float | None, ...]  # highest face score of the sample; null where no face was scored
    track: tuple[int | None, ...]  # ordinal of the track with that score
    excluded: tuple[tuple[int, int, EvidenceReason], ...]  # spans without a scored face, and why

    def __post_init__(self) -> None:
        if not len(self.pts_us) == len(self.score) == len(self.track):
            raise ValueError("columns of a time series have different lengths")
        if any(later <= earlier for earlier, later in itertools.pairwise(self.pts_us)):
            raise ValueError("times of a time series do not increase")
        for score, track in zip(self.score, self.track, strict=True):
            _check_fraction("score", score)
            if (score is None) != (track is None):
                raise ValueError("a sample has a score exactly when it has a track")
        for start_us, end_us, _ in self.excluded:
            _check_span(start_us, end_us)


@dataclass(frozen=True)
class VideoScore:
    """The score of one video under one pipeline, with the evidence that it rests on.

    ``interval`` is the 95 % interval of ``calibrated`` where there is one, else of ``raw``; null for a
    picture and for a still shown as a video, whose frames are one sample.
    """

    outcome: Outcome
    raw: float | None
    calibrated: float | None
    interval: tuple[float, float] | None
    tracks: tuple[TrackScore, ...]
    segments: tuple[Segment, ...]
    coverage: Coverage
    peak_track: int | None = None
    reasons: tuple[EvidenceReason, ...] = ()
    time_series: TimeSeries | None = None

    def __post_init__(self) -> None:
        if (self.raw is not None) != self.outcome.has_score:
            raise ValueError(f"outcome {self.outcome} contradicts raw score {self.raw}")
        if self.raw is None and (self.calibrated is not None or self.interval is not None):
            raise ValueError("no calibrated score or interval without a raw score")
        _check_fraction("raw", self.raw)
        _check_fraction("calibrated", self.calibrated)


@dataclass(frozen=True)
class VideoVerdict:
    """What one policy version says of one score; ``value`` is null when there is no score."""

    value: VerdictValue | None
    policy: str
    policy_version: int
    low: float
    high: float
    score_used: float | None
    reasons: tuple[VerdictReason, ...]

    def __post_init__(self) -> None:
        if (self.value is None) != (self.score_used is None):
            raise ValueError("a verdict stands on a score and a score leads to a verdict")
