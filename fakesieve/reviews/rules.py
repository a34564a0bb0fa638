"""Which analyses a queue holds: a filter that can be kept as JSON, and the same as a condition of SQL."""

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy import cast as cast_sql
from sqlalchemy.types import Double

from engine.results import FaceRegion
from fakesieve.records.analysis_tables import Analysis, FaceTrack
from fakesieve.records.standings import Standing
from fakesieve.records.tags import VideoTag
from fakesieve.records.videos import Video
from fakesieve.values.reviews import QueueRule


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
