"""The verdict that holds now, one row an analysis: what lists, counts, filters and policies read.

``verdict`` keeps what policies have said; this table says what counts. It repeats what a line of
a list shows and what lists are ordered and filtered by, so that a page is one walk along an index and one
row for each line, however the other tables have grown.
"""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, func, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.types import Double, Text

from engine.policy import count_peak_frames
from engine.results import FaceRegion, Outcome, SegmentKind, VerdictValue, VideoScore, VideoVerdict
from fakesieve.records.policies import Judge
from fakesieve.records.table import Base, Id, TenantOwned, choice

NO_SCORE = -1.0
"""Where an analysis without a score stands in an order by score: below all that have one."""


# What an analysis and its row here both have, under the same names: copied by the statement that writes both.
REPEATED = (
    "video_id",
    "model_id",
    "pipeline_fingerprint",
    "engine",
    "precision",
    "score_raw",
    "score_calibrated",
    "score_low",
    "score_high",
    "scored_us",
    "total_us",
    "faces_scored",
    "reasons",
    "warnings",
)


class Standing(TenantOwned, Base):
    """An analysis as lists know it. ``score`` is the calibrated one where there is one, else the raw.

    ``create_time`` is that of the analysis. ``verdict`` is what ``policy_id`` has said, null without a score,
    for ``verdict_reasons``; ``use_id`` is the tenant's newest ``policy_use`` then, 0 where there was none,
    null where a release without uses wrote it, one use has seen two policies judge, or the change that came
    to it last left it as it stood, as it is not known by what its model judges. A later change over all
    of history leaves the row as it is where its policy says the same: see ``rulings``.
    ``coverage`` is the exact share of scored time and ``peak_frames`` that of the analysis: with outcome and
    score they are all that a policy asks for.

    Of faces, spans and frames it has what decides filters about them without reading one: how many tracks
    and suspicious spans there are, the regions that these name, the highest ``patch_area`` of a frame, and in
    ``region_peaks`` the highest share of suspicious patches that a track has in each of ``FaceRegion``, in
    its order, null where none has any. The columns of ``REPEATED`` are those of the analysis.
    """

    __tablename__ = "standing"
    __table_args__ = (
        CheckConstraint("score BETWEEN 0 AND 1", name="score"),
        CheckConstraint("(verdict IS NULL) = (score IS NULL)", name="verdict_has_score"),
        # Scores at the end of a key: rows that a filter by score leaves out are left out within the index.
        Index("ix_standing_time", "tenant_id", "create_time", "analysis_id", "score", "score_raw"),
        Index(
            "ix_standing_verdict", "tenant_id", "verdict", "create_time", "analysis_id", "score", "score_raw"
        ),
        Index("ix_standing_outcome", "tenant_id", "outcome", "create_time", "analysis_id"),
        Index(
            "ix_standing_suspicious",
            "tenant_id",
            "create_time",
            "analysis_id",
            postgresql_where=text("suspicious_count > 0"),
        ),
        Index(None, "video_id"),
        # As Postgres writes the expression, so that a comparison with the migrations finds no difference.
        Index(
            "ix_standing_score",
            "tenant_id",
            text("coalesce(score, '-1'::integer::double precision)"),
            "analysis_id",
        ),
        CheckConstraint("coverage BETWEEN 0 AND 1", name="coverage"),
        # Room in the pages: what is judged again mostly keeps its verdict, and is then written in place.
        {"postgresql_with": {"fillfactor": "70"}},
    )

    analysis_id: Mapped[Id] = mapped_column(ForeignKey("analysis.id", ondelete="CASCADE"), primary_key=True)
    create_time: Mapped[datetime] = mapped_column(server_default=func.now())
    outcome: Mapped[Outcome] = mapped_column(choice(Outcome))
    score: Mapped[float | None]
    coverage: Mapped[float]
    peak_frames: Mapped[int | None]
    verdict: Mapped[VerdictValue | None] = mapped_column(choice(VerdictValue, name="verdict_value"))
    policy_id: Mapped[Id] = mapped_column(ForeignKey("policy.id", ondelete="RESTRICT"))
    use_id: Mapped[int | None]
    verdict_reasons: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    video_id: Mapped[Id]
    model_id: Mapped[Id]
    pipeline_fingerprint: Mapped[str]
    engine: Mapped[str]
    precision: Mapped[str]
    score_raw: Mapped[float | None]
    score_calibrated: Mapped[float | None]
    score_low: Mapped[float | None]
    score_high: Mapped[float | None]
    scored_us: Mapped[int]
    total_us: Mapped[int]
    faces_scored: Mapped[int]
    reasons: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    warnings: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    track_count: Mapped[int]
    suspicious_count: Mapped[int]
    span_regions: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    region_peaks: Mapped[list[float | None] | None] = mapped_column(ARRAY(Double[float]()))
    patch_area_max: Mapped[float | None]


def build_standing_row(score: VideoScore, verdict: VideoVerdict, judge: Judge) -> dict[str, object]:
    """Return the columns of a row here but those of ``REPEATED`` and those that say whose it is."""
    spans = [segment for segment in score.segments if segment.kind is SegmentKind.SUSPICIOUS]
    named = {region for span in spans for region in span.regions}
    areas = (frame.patch_area for track in score.tracks for frame in track.frames)
    return {
        "outcome": score.outcome,
        "score": score.raw if score.calibrated is None else score.calibrated,
        "coverage": score.coverage.ratio,
        "peak_frames": count_peak_frames(score),
        **_build_judged(verdict, judge),
        "track_count": len(score.tracks),
        "suspicious_count": len(spans),
        "span_regions": [region.value for region in FaceRegion if region in named],
        "region_peaks": _find_peaks(score),
        "patch_area_max": max((area for area in areas if area is not None), default=None),
    }


def _find_peaks(score: VideoScore) -> list[float | None] | None:
    """Return the highest share of a track by region; None where no track has a share of any."""
    shares = [share for track in score.tracks for share in track.regions]
    if not shares:
        return None
    return [max((share for of, share in shares if of is region), default=None) for region in FaceRegion]


def set_standing(session: Session, analysis_id: str, verdict: VideoVerdict, judge: Judge) -> None:
    """Say which verdict of a stored analysis holds from now on."""
    held = update(Standing).where(Standing.analysis_id == analysis_id).values(_build_judged(verdict, judge))
    session.execute(held, execution_options={"synchronize_session": False})


def _build_judged(verdict: VideoVerdict, judge: Judge) -> dict[str, object]:
    """Return the columns that another verdict changes."""
    return {
        "verdict": verdict.value,
        "policy_id": judge.policy_id,
        "use_id": judge.use_id,
        "verdict_reasons": [reason.value for reason in verdict.reasons],
    }
