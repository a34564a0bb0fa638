"""Which analyses a queue holds: a filter that can be kept as JSON, and the same as a condition of SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar, cast

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy import cast as cast_sql
from sqlalchemy.types import Double

from engine.results import FaceRegion, Outcome, VerdictValue
from fakesieve.records.analysis_tables import Analysis, FaceTrack
from fakesieve.records.standings import Standing
from fakesieve.records.tags import VideoTag
from fakesieve.records.videos import Video

Value = TypeVar("Value", bound=StrEnum)
TAGS_MAX = 20


@dataclass(frozen=True)
class QueueRule:
    """A filter over analyses. An empty list does not restrict; all parts must hold.

    ``sample_rate`` keeps that share of the matches, always the same ones: with ``score_max`` just under a
    threshold it shows people what the policy lets pass.
    """

    verdicts: tuple[VerdictValue, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    score_min: float | None = None
    score_max: float | None = None
    coverage_max: float | None = None
    region: FaceRegion | None = None  # a face has this part among those that look forged ...
    region_share_min: float = 0.5  # ... with at least this share of it
    tags: tuple[tuple[str, str], ...] = ()
    since: datetime | None = None
    sample_rate: float = 1.0

    def __post_init__(self) -> None:
        shares = {
            "score_min": self.score_min,
            "score_max": self.score_max,
            "coverage_max": self.coverage_max,
            "region_share_min": self.region_share_min,
            "sample_rate": self.sample_rate,
        }
        for name, value in shares.items():
            if value is not None and not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is {value}, outside 0 to 1")
        if self.score_min is not None and self.score_max is not None and self.score_min > self.score_max:
            raise ValueError("score_min lies above score_max")
        if self.sample_rate == 0.0:
            raise ValueError("a sample_rate of 0 keeps nothing")
        if len(self.tags) > TAGS_MAX:
            raise ValueError(f"{len(self.tags)} tags, over {TAGS_MAX}")
        if self.since is not None and self.since.tzinfo is None:
            raise ValueError("since needs a time zone")

    def to_json(self) -> dict[str, object]:
        """Return the form that a queue keeps."""
        form = asdict(self)
        form["since"] = None if self.since is None else self.since.isoformat()
        return form

    @classmethod
    def from_json(cls, form: Mapping[str, object]) -> "QueueRule":
        """Read the form of ``to_json``. Raises ValueError where it is none."""
        since, region = form.get("since"), form.get("region")
        return cls(
            verdicts=_read_choices(form, "verdicts", VerdictValue),
            outcomes=_read_choices(form, "outcomes", Outcome),
            score_min=_read_share(form, "score_min"),
            score_max=_read_share(form, "score_max"),
            coverage_max=_read_share(form, "coverage_max"),
            region=None if region is None else FaceRegion(str(region)),
            region_share_min=_read_share(form, "region_share_min") or 0.0,
            tags=tuple((str(name), str(value)) for name, value in _read_list(form, "tags")),
            since=None if since is None else datetime.fromisoformat(str(since)),
            sample_rate=_read_share(form, "sample_rate") or 0.0,
        )


def _read_list(form: Mapping[str, object], name: str) -> Sequence[Sequence[object]]:
    return cast("Sequence[Sequence[object]]", form.get(name) or ())


def _read_choices(form: Mapping[str, object], name: str, values: type[Value]) -> tuple[Value, ...]:
    return tuple(values(str(value)) for value in cast("Sequence[object]", form.get(name) or ()))


def _read_share(form: Mapping[str, object], name: str) -> float | None:
    value = form.get(name)
    return float(value) if isinstance(value, int | float) else None


def match_rule(rule: QueueRule) -> ColumnElement[bool]:
    """Return the condition over ``standing``. Deleted videos are left out."""
    parts: list[ColumnElement[bool]] = [
        exists()
        .where(Analysis.id == Standing.analysis_id, Video.id == Analysis.video_id)
        .where(Video.delete_time.is_(None), *_match_video(rule))
    ]
    if rule.verdicts:
        parts.append(Standing.verdict.in_(rule.verdicts))
    if rule.outcomes:
        parts.append(Standing.outcome.in_(rule.outcomes))
    if rule.score_min is not None:
        parts.append(Standing.score >= rule.score_min)
    if rule.score_max is not None:
        parts.append(Standing.score <= rule.score_max)
    if rule.since is not None:
        parts.append(Standing.create_time >= rule.since)
    if rule.region is not None:
        parts.append(_match_region(rule.region, rule.region_share_min))
    if rule.sample_rate < 1.0:
        spread = func.hashtextextended(Standing.analysis_id, 0).op("&")(0xFFFF)
        parts.append(spread < round(rule.sample_rate * 0x10000))
    return and_(*parts)


def _match_video(rule: QueueRule) -> list[ColumnElement[bool]]:
    parts: list[ColumnElement[bool]] = []
    if rule.coverage_max is not None:
        parts.append(Analysis.coverage_ratio <= rule.coverage_max)
    for name, value in rule.tags:
        tagged = select(VideoTag.video_id).where(VideoTag.name == name, VideoTag.value == value)
        parts.append(Video.id.in_(tagged))
    return parts


def _match_region(region: FaceRegion, share_min: float) -> ColumnElement[bool]:
    share = cast_sql(func.jsonb_extract_path_text(FaceTrack.regions, region.value), Double)
    return exists().where(FaceTrack.analysis_id == Standing.analysis_id, share >= share_min)
