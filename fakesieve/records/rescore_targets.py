"""Videos that a model has yet to score: which fit a filter, where they lie, and what an order has taken."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, select, union
from sqlalchemy.orm import Session, aliased

from fakesieve.filters.check import Filter
from fakesieve.jobs.states import LIVE_STATES, BatchEnd
from fakesieve.reasons import Reason
from fakesieve.records.analysis_lists import bounded, select_standing
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.filter_sql import Source as Needed
from fakesieve.records.filter_sql import compile_filter
from fakesieve.records.idempotency import KEPT
from fakesieve.records.jobs import Batch, Job
from fakesieve.records.videos import Source, Video, map_sources

_PLACES_AT_ONCE = 1000
_PAGE = 1000
# A page looks at all that fits, so each is larger than the one before: few of them pass over many videos.
_GROWTH = 4
_GONE = (Reason.SOURCE_NOT_FOUND, Reason.SOURCE_CHANGED)


@dataclass(frozen=True)
class Target:
    """A video that the model has not scored. ``is_live``: one of its jobs waits or runs.

    ``sources`` are the places where one that is not live may still lie, oldest first: not those at which the
    last job found no object, or another one.
    """

    video_id: str
    external_id: str | None
    is_live: bool
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Begun:
    """What an order has taken under its key. ``places`` is how many jobs it has still to bring.

    That is None where somebody has ended the batch meanwhile: nobody knows any more. ``request_hash`` is the
    digest of the order. One that is not ``is_recent`` is older than any answer is kept: a call under its key
    may be meant as a new one.
    """

    batch_id: str
    request_hash: str
    is_recent: bool
    video_ids: frozenset[str]
    places: int | None


def walk_targets(session: Session, tenant_id: str, model_id: str, wanted: Filter) -> Generator[Target]:
    """Yield videos with an analysis that fits a filter, and none by the model yet, by their ids.

    Raises FilterInvalid for a filter that takes longer than 15 seconds.
    """
    statement = _select_targets(tenant_id, model_id, wanted)
    after, size = "", _PAGE
    while True:
        with bounded(session):
            page = session.execute(statement.where(Video.id > after).limit(size)).all()
        for begin in range(0, len(page), _PLACES_AT_ONCE):
            part = page[begin : begin + _PLACES_AT_ONCE]
            ids = [row[0] for row in part if not row[2]]
            sources, gone = map_sources(session, ids), _find_gone(session, tenant_id, ids)
            for video_id, external_id, is_live in part:
                kept = tuple(each for each in sources.get(video_id, ()) if each.id not in gone)
                yield Target(video_id, external_id, is_live, kept)
        if len(page) < size:
            return
        after, size = page[-1][0], size * _GROWTH


def find_begun(session: Session, tenant_id: str, batch_key: str, job_prefix: str) -> Begun | None:
    """Return what was taken under a key; None for one that is new.

    ``job_prefix`` is what stands before the id of the video in the keys of its jobs.
    """
    is_recent = Batch.create_time > func.now() - KEPT
    batch = session.execute(
        select(
            Batch.id, Batch.places, Batch.end_reason, Batch.request_hash, is_recent.label("is_recent")
        ).where(Batch.tenant_id == tenant_id, Batch.idempotency_key == batch_key)
    ).one_or_none()
    if batch is None:
        return None
    keys = session.scalars(select(Job.idempotency_key).where(Job.batch_id == batch.id))
    taken = frozenset(key.removeprefix(job_prefix) for key in keys if key and key.startswith(job_prefix))
    is_whole = batch.end_reason in {None, BatchEnd.JOBS_ENDED}
    places = batch.places if is_whole else None
    return Begun(batch.id, batch.request_hash, batch.is_recent, taken, places)


def _select_targets(tenant_id: str, model_id: str, wanted: Filter) -> Select[*tuple[Any, ...]]:
    scored = aliased(Analysis)
    done = select(scored.video_id).where(scored.tenant_id == tenant_id, scored.model_id == model_id)
    return (
        select_standing(compile_filter(wanted, tenant_id), tenant_id, needs=(Needed.VIDEO,))
        .with_only_columns(Video.id, Video.external_id, _is_live(tenant_id).label("is_live"))
        .where(Video.id.not_in(done))
        .distinct()
        .order_by(Video.id)
    )


def _is_live(tenant_id: str) -> ColumnElement[bool]:
    """Return whether a job of a video waits or runs. Before it has read the file, only the place says so."""
    job, source = aliased(Job), aliased(Source)
    is_live = and_(job.tenant_id == tenant_id, job.state.in_(LIVE_STATES))
    prepared = select(job.video_id).where(is_live, job.video_id.is_not(None))
    placed = select(source.video_id).join(job, _is_place(job, source)).where(is_live)
    return Video.id.in_(union(prepared, placed))


def _is_place(job: type[Job], source: type[Source]) -> ColumnElement[bool]:
    return and_(
        job.tenant_id == source.tenant_id,
        job.source_bucket == source.bucket,
        job.source_key == source.key,
        job.source_version_id.is_not_distinct_from(source.version_id),
        job.source_etag.is_not_distinct_from(source.etag),
    )


def _find_gone(session: Session, tenant_id: str, video_ids: Sequence[str]) -> set[str]:
    """Return the ids of places whose last job has ended because the object was not there any more."""
    last = (
        select(Job.error_reason.in_(_GONE))
        .where(_is_place(Job, Source), Job.end_time.is_not(None))
        .order_by(Job.end_time.desc(), Job.id.desc())
        .limit(1)
        .correlate(Source)
        .scalar_subquery()
    )
    found = select(Source.id).where(Source.tenant_id == tenant_id, Source.video_id.in_(video_ids), last)
    return set(session.scalars(found))
