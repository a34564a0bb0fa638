"""Results on the wire. Scores are P(manipulated), 0 to 1; times in a video are integer microseconds."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue, SerializerFunctionWrapHandler, model_serializer

from api.schemas.shape import Answer, Time
from engine.results import (
    EvidenceReason,
    FaceRegion,
    MediaWarning,
    Outcome,
    SegmentKind,
    VerdictReason,
    VerdictValue,
)
from fakesieve.values.reviews import Disposition

Share = Annotated[float, Field(ge=0, le=1)]
Micros = Annotated[int, Field(ge=0)]


class View(StrEnum):
    """How much of an analysis is shown: ``full`` has its tracks, segments and scores over time."""

    BASIC = "basic"
    FULL = "full"


class ScoreOut(Answer):
    """The score of a video. All null where there was no evidence."""

    raw: Share | None
    calibrated: Share | None
    interval: tuple[Share, Share] | None


class ThresholdsOut(Answer):
    """Below ``low`` nothing was found; at or over ``high`` the video is likely manipulated."""

    low: Share
    high: Share


class VerdictOut(Answer):
    """What a policy says of the score: a reason to look, never a finding. Null without a score."""

    value: VerdictValue | None
    policy: Annotated[str, Field(examples=["balanced@1"])]
    thresholds: ThresholdsOut
    reasons: list[VerdictReason]


class MissingOut(Answer):
    """Sampled frames that were not decoded, all for one cause, which is in ``detail``.

    ``pts_us`` are the times of all of them; null where only the first and the last were kept, as by releases
    before this field. Of more than 8 causes the last entry has the rest.
    """

    reason: EvidenceReason
    detail: str
    count: int
    first_us: Micros
    last_us: Micros
    pts_us: list[Micros] | None = None


class CoverageOut(Answer):
    """How much of the video the score rests on.

    ``missing`` names the sampled frames that were not decoded, by cause; null where they were not
    kept, as by releases before this field, and in the short view.
    """

    ratio: Share
    scored_us: Micros
    total_us: Micros
    faces_scored: int
    faces_detected: int | None = None
    frames_in_video: int | None = None
    frames_sampled: int | None = None
    frames_decoded: int | None = None
    frames_with_face: int | None = None
    faces_rejected: dict[EvidenceReason, int] | None = None
    missing: list[MissingOut] | None = None


class ModelUsed(Answer):
    """The model that made the score and how it was run."""

    id: str
    name: str
    weights_sha256: str
    engine: str
    precision: str


class TrackOut(Answer):
    """One face over time. ``regions`` are the mean shares of suspicious patches by part of the face."""

    object: Literal["track"] = "track"
    id: str
    ordinal: int
    start_us: Micros
    end_us: Micros
    outcome: Outcome
    score: Share | None
    frame_count: int
    scored_count: int
    peak_pts_us: list[Micros]
    regions: dict[FaceRegion, Share]
    patch_persistence: Share | None
    reasons: list[EvidenceReason]
    maps: Annotated[str | None, Field(description="Where its patch maps are; null where there are none.")]


class BoxOut(Answer):
    """A face in the displayed picture, in fractions of its width and height."""

    x: float
    y: float
    w: float
    h: float


class FrameOut(Answer):
    """One face in one sampled frame. Without a score there is a reason."""

    object: Literal["frame"] = "frame"
    track: int
    pts_us: Micros
    box: BoxOut
    confidence: float
    score: Share | None
    patch_max: Share | None
    patch_area: Share | None
    exclude_reason: EvidenceReason | None


class SegmentOut(Answer):
    """A span that stands out, half open. Without a track it concerns the whole picture."""

    object: Literal["segment"] = "segment"
    kind: SegmentKind
    start_us: Micros
    end_us: Micros
    track: int | None
    score_max: Share | None
    score_mean: Share | None
    reason: EvidenceReason | None
    regions: list[FaceRegion]


class ExcludedOut(Answer):
    """A span without a scored face, and why."""

    start_us: Micros
    end_us: Micros
    reason: EvidenceReason


class SeriesOut(Answer):
    """Scores over time as columns: one entry for each decoded sample."""

    pts_us: list[Micros]
    score: list[Share | None]
    track: list[int | None]
    excluded: list[ExcludedOut]


_FULL = "Null unless `view=full`."


class AnalysisOut(Answer):
    """What one pipeline found in one video. The last five fields are null unless ``view=full``.

    ``disposition`` is left out for a key without ``review:read``: null would say that nobody has looked.
    """

    object: Literal["analysis"] = "analysis"
    id: str
    video_id: str
    external_id: str | None
    create_time: Time
    outcome: Outcome
    score: ScoreOut
    verdict: VerdictOut
    coverage: CoverageOut
    duration_us: Micros | None
    reasons: list[EvidenceReason]
    warnings: list[MediaWarning]
    tags: dict[str, str]
    model: ModelUsed
    fingerprint: str
    disposition: Annotated[
        Disposition | None,
        Field(
            description=(
                "What people say: the newest decision in a review that stands. Null where they say nothing;"
                " left out for a key without `review:read`."
            )
        ),
    ] = None
    tracks: Annotated[list[TrackOut] | None, Field(description=_FULL)] = None
    segments: Annotated[list[SegmentOut] | None, Field(description=_FULL)] = None
    time_series: Annotated[
        SeriesOut | None, Field(description="Null unless `view=full`, and where none was kept.")
    ] = None
    timings_ms: Annotated[dict[str, int] | None, Field(description=_FULL)] = None
    peak_track: Annotated[
        int | None,
        Field(
            description=(
                "Ordinal of the track with the highest score. Null unless `view=full`, and without a score."
            )
        ),
    ] = None

    @property
    def tells_words(self) -> bool:
        """Whether ``disposition`` was told, so that None means that people say nothing."""
        return "disposition" in self.model_fields_set

    @model_serializer(mode="wrap")
    def _leave_out_untold(self, write: SerializerFunctionWrapHandler) -> Any:
        written: dict[str, JsonValue] = write(self)
        if not self.tells_words:
            written.pop("disposition", None)
        return written


FULL_ONLY = ("tracks", "segments", "time_series", "timings_ms", "peak_track")
"""What an analysis has in ``view=full`` alone."""


class PartialAnalysis(Answer):
    """An analysis of which ``fields`` asked for a part: the shape of an analysis, without the rest."""

    model_config = ConfigDict(extra="allow", frozen=True)


class MapOut(Answer):
    """The patch map of one frame. ``to_frame`` leads from pixels of the crop to those of the frame."""

    pts_us: Micros
    u8: Annotated[str, Field(description="base64 of grid x grid bytes by rows, 255 is P = 1")]
    to_frame: list[list[float]]


class RunsOut(Answer):
    """The patch map of one frame cut at a threshold."""

    pts_us: Micros
    counts: Annotated[list[int], Field(description="runs below and over the threshold in turn, by rows")]
    to_frame: list[list[float]]


class MapsOut(Answer):
    """Patch maps of one track."""

    object: Literal["patch_maps"] = "patch_maps"
    kind: Literal["trained_patch"] = "trained_patch"
    track: int
    grid: int
    crop_size: int
    maps: list[MapOut]


class MasksOut(Answer):
    """Patch maps of one track, cut at a threshold."""

    object: Literal["patch_masks"] = "patch_masks"
    kind: Literal["trained_patch"] = "trained_patch"
    track: int
    grid: int
    crop_size: int
    threshold: Share
    maps: list[RunsOut]


class ArtifactKind(StrEnum):
    """What can be fetched beside a result."""

    VIDEO = "video"
    PATCH_MAPS = "patch_maps"
    DOCUMENT = "document"


class ArtifactOut(Answer):
    """Where one thing is. A link to the object store is made now, is a secret and expires."""

    object: Literal["artifact"] = "artifact"
    kind: ArtifactKind
    track: int | None
    media_type: str
    href: str
    expire_time: Time | None


class GroupOut(Answer):
    """One line of counts; ``keys`` has a value for each thing that was counted by."""

    keys: dict[str, str | None]
    count: int


class CountsOut(Answer):
    """How many analyses there are of each kind.

    ``total`` is how many analyses these are in all: by a list an analysis counts several times or not at all.
    ``is_cut`` says that there are more lines than are shown.
    """

    object: Literal["counts"] = "counts"
    by: list[str]
    total: int
    is_cut: bool = False
    data: list[GroupOut]


Document = dict[str, JsonValue]
