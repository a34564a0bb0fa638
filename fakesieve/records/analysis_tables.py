"""Tables of what one pipeline found in one video: scores, faces, frames, maps, spans and verdicts."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    REAL,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    SmallInteger,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import BigInteger, Double, Text

from engine.results import EvidenceReason, Outcome, SegmentKind, VerdictValue
from fakesieve.ids import IdPrefix
from fakesieve.records.table import Base, CreateTime, Id, TenantOwned, choice, public_id

_HAS_SCORE = "outcome IN ('scored', 'partially_scored')"
TRACK_KEY = ["face_track.analysis_id", "face_track.ordinal"]


def _fraction(name: str) -> CheckConstraint:
    """A value from 0 to 1, or none. NaN sorts above every number in Postgres and is refused too."""
    return CheckConstraint(f"{name} BETWEEN 0 AND 1", name=name)


class Analysis(TenantOwned, CreateTime, Base):
    """One pipeline over one video. Scores are P(manipulated), 0 to 1; null without evidence.

    ``score_low`` and ``score_high`` are the 95 % interval of the calibrated score where there is one, else
    of the raw one. ``peak_frames`` counts the frames that reach the score of ``peak_track``, null where that
    says nothing. The ``series_`` columns are the scores over time, one entry for each decoded sample.
    """

    __tablename__ = "analysis"
    __table_args__ = (
        UniqueConstraint("video_id", "pipeline_fingerprint"),
        CheckConstraint(f"(score_raw IS NOT NULL) = ({_HAS_SCORE})", name="outcome_has_score"),
        CheckConstraint("score_calibrated IS NULL OR score_raw IS NOT NULL", name="calibrated_has_raw"),
        CheckConstraint("score_low IS NULL OR score_raw IS NOT NULL", name="interval_has_raw"),
        CheckConstraint("(score_low IS NULL) = (score_high IS NULL)", name="interval_is_whole"),
        CheckConstraint("score_low <= score_high", name="interval_order"),
        *(_fraction(name) for name in ("score_raw", "score_calibrated", "score_low", "score_high")),
        CheckConstraint("frames_decoded <= frames_sampled", name="frames_decoded"),
        CheckConstraint("faces_scored <= faces_detected", name="faces_scored"),
        _fraction("coverage_ratio"),
        CheckConstraint("jsonb_typeof(missing) = 'array'", name="missing"),
        CheckConstraint(
            "cardinality(series_pts_us) = cardinality(series_score)"
            " AND cardinality(series_pts_us) = cardinality(series_track)",
            name="series_lengths",
        ),
        Index(None, "tenant_id", "create_time", "id"),
        Index(None, "tenant_id", "outcome", "create_time"),
    )

    id: Mapped[Id] = public_id(IdPrefix.ANALYSIS)
    video_id: Mapped[Id] = mapped_column(ForeignKey("video.id", ondelete="CASCADE"))
    pipeline_fingerprint: Mapped[str]
    model_id: Mapped[Id] = mapped_column(ForeignKey("model.id", ondelete="RESTRICT"))
    engine: Mapped[str]
    precision: Mapped[str]
    outcome: Mapped[Outcome] = mapped_column(choice(Outcome))
    score_raw: Mapped[float | None]
    score_calibrated: Mapped[float | None]
    score_low: Mapped[float | None]
    score_high: Mapped[float | None]
    peak_track: Mapped[int | None] = mapped_column(SmallInteger)
    peak_frames: Mapped[int | None]
    reasons: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    warnings: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    frames_in_video: Mapped[int]
    frames_sampled: Mapped[int]
    frames_decoded: Mapped[int]
    frames_with_face: Mapped[int]
    faces_detected: Mapped[int]
    faces_scored: Mapped[int]
    faces_rejected: Mapped[dict[str, int]] = mapped_column(JSONB)
    scored_us: Mapped[int]
    total_us: Mapped[int]
    coverage_ratio: Mapped[float] = mapped_column(REAL)
    # Entries as ``engine.result_forms.form_missing`` makes them; null in rows older than the column.
    missing: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB(none_as_null=True))
    series_pts_us: Mapped[list[int] | None] = mapped_column(ARRAY(BigInteger()))
    series_score: Mapped[list[float | None] | None] = mapped_column(ARRAY(Double[float]()))
    series_track: Mapped[list[int | None] | None] = mapped_column(ARRAY(SmallInteger()))
    series_excluded: Mapped[list[tuple[int, int, str]] | None] = mapped_column(JSONB(none_as_null=True))
    timings_ms: Mapped[dict[str, int]] = mapped_column(JSONB)


class FaceTrack(TenantOwned, Base):
    """One face over time. ``regions`` is the mean share of suspicious patches by part of the face."""

    __tablename__ = "face_track"
    __table_args__ = (
        UniqueConstraint("analysis_id", "ordinal"),
        CheckConstraint("0 <= start_us AND start_us <= end_us", name="span"),
        CheckConstraint(f"(score IS NOT NULL) = ({_HAS_SCORE})", name="outcome_has_score"),
        _fraction("score"),
        _fraction("patch_persistence"),
    )

    id: Mapped[Id] = public_id(IdPrefix.TRACK)
    analysis_id: Mapped[Id] = mapped_column(ForeignKey("analysis.id", ondelete="CASCADE"))
    ordinal: Mapped[int] = mapped_column(SmallInteger)
    start_us: Mapped[int]
    end_us: Mapped[int]
    outcome: Mapped[Outcome] = mapped_column(choice(Outcome))
    score: Mapped[float | None]
    frame_count: Mapped[int]
    scored_count: Mapped[int]
    peak_pts_us: Mapped[list[int]] = mapped_column(ARRAY(BigInteger()))
    regions: Mapped[dict[str, float]] = mapped_column(JSONB)
    reasons: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    patch_persistence: Mapped[float | None]


class FrameScore(TenantOwned, Base):
    """One face in one sampled frame. Boxes are fractions of the displayed picture.

    Kept in one partition for each month of the analysis, so that old rows leave by dropping a table.
    """

    __tablename__ = "frame_score"
    __table_args__ = (
        ForeignKeyConstraint(["analysis_id", "ordinal"], TRACK_KEY, ondelete="CASCADE"),
        CheckConstraint("(score IS NULL) = (exclude_reason IS NOT NULL)", name="score_or_reason"),
        _fraction("score"),
        _fraction("patch_max"),
        _fraction("patch_area"),
        {"postgresql_partition_by": "RANGE (analysis_time)"},
    )

    analysis_id: Mapped[Id] = mapped_column(primary_key=True)
    ordinal: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    pts_us: Mapped[int] = mapped_column(primary_key=True)
    # The time of the analysis: both are the time of the transaction that wrote them.
    analysis_time: Mapped[datetime] = mapped_column(primary_key=True, server_default=func.now())
    box_x: Mapped[float] = mapped_column(REAL)
    box_y: Mapped[float] = mapped_column(REAL)
    box_w: Mapped[float] = mapped_column(REAL)
    box_h: Mapped[float] = mapped_column(REAL)
    confidence: Mapped[float] = mapped_column(REAL)
    score: Mapped[float | None]
    patch_max: Mapped[float | None]
    patch_area: Mapped[float | None]
    exclude_reason: Mapped[EvidenceReason | None] = mapped_column(choice(EvidenceReason))


class PatchMap(TenantOwned, Base):
    """The patch maps of a track, by time: zlib over n x grid x grid bytes, each 255 * P(manipulated).

    ``to_frame`` holds 6 numbers for each map, a 2 x 3 matrix by rows that leads from pixels of the crop,
    ``crop_size`` a side, to pixels of the displayed frame. ``regions`` is zlib over n x 7 bytes, each 255 *
    the share of hot cells in one of ``FaceRegion``, in its order; null where it was not kept.
    """

    __tablename__ = "patch_map"
    __table_args__ = (
        ForeignKeyConstraint(["analysis_id", "ordinal"], TRACK_KEY, ondelete="CASCADE"),
        CheckConstraint("grid BETWEEN 1 AND 255", name="grid"),
        CheckConstraint("crop_size > 0", name="crop_size"),
        CheckConstraint("cardinality(to_frame) = 6 * cardinality(pts_us)", name="to_frame"),
        CheckConstraint("kind = 'trained_patch'", name="kind"),
    )

    analysis_id: Mapped[Id] = mapped_column(primary_key=True)
    ordinal: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    kind: Mapped[str] = mapped_column(server_default="trained_patch")
    grid: Mapped[int] = mapped_column(SmallInteger)
    crop_size: Mapped[int] = mapped_column(SmallInteger)
    pts_us: Mapped[list[int]] = mapped_column(ARRAY(BigInteger()))
    to_frame: Mapped[list[float]] = mapped_column(ARRAY(REAL[float]()))
    # Already compressed: a second try by the database would cost time and gain nothing.
    packed: Mapped[bytes] = mapped_column(LargeBinary)
    regions: Mapped[bytes | None] = mapped_column(LargeBinary)


class Segment(TenantOwned, Base):
    """A span that stands out; without a track it concerns the whole picture."""

    __tablename__ = "segment"
    __table_args__ = (
        ForeignKeyConstraint(["analysis_id", "ordinal"], TRACK_KEY, ondelete="CASCADE"),
        CheckConstraint("0 <= start_us AND start_us <= end_us", name="span"),
        CheckConstraint("(reason IS NOT NULL) = (kind = 'excluded')", name="reason_of_excluded"),
        CheckConstraint("kind = 'suspicious' OR cardinality(regions) = 0", name="regions_of_suspicious"),
        _fraction("score_max"),
        _fraction("score_mean"),
        Index(None, "tenant_id", "kind", "analysis_id"),
    )

    analysis_id: Mapped[Id] = mapped_column(ForeignKey("analysis.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    kind: Mapped[SegmentKind] = mapped_column(choice(SegmentKind))
    ordinal: Mapped[int | None] = mapped_column(SmallInteger)
    start_us: Mapped[int]
    end_us: Mapped[int]
    score_max: Mapped[float | None]
    score_mean: Mapped[float | None]
    reason: Mapped[EvidenceReason | None] = mapped_column(choice(EvidenceReason))
    regions: Mapped[list[str]] = mapped_column(ARRAY(Text()))


class Verdict(TenantOwned, CreateTime, Base):
    """What one version of a policy says of an analysis; null where there is no score to judge."""

    __tablename__ = "verdict"
    __table_args__ = (
        CheckConstraint("(value IS NULL) = (score_used IS NULL)", name="value_has_score"),
        _fraction("score_used"),
        Index(None, "policy_id"),
    )

    analysis_id: Mapped[Id] = mapped_column(ForeignKey("analysis.id", ondelete="CASCADE"), primary_key=True)
    policy_id: Mapped[Id] = mapped_column(ForeignKey("policy.id", ondelete="RESTRICT"), primary_key=True)
    value: Mapped[VerdictValue | None] = mapped_column(choice(VerdictValue))
    score_used: Mapped[float | None]
    reasons: Mapped[list[str]] = mapped_column(ARRAY(Text()))
