"""Videos that a model has yet to score: which fit a filter, where they lie, and what an order has taken."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, func, select, text, union
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, aliased

from fakesieve.filters.check import Filter
from fakesieve.filters.tree import FilterInvalid
from fakesieve.jobs.states import LIVE_STATES, BatchEnd
from fakesieve.reasons import Reason
from fakesieve.records.analysis_lists import select_standing
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.filter_sql import Source as Needed
from fakesieve.records.filter_sql import compile_filter
from fakesieve.records.idempotency import KEPT, WORK_S_MAX
from fakesieve.records.jobs import Batch, Job
from fakesieve.records.statement_bounds import QUERY_MS_MAX, bounded
from fakesieve.records.videos import Source, Video, map_sources

LOOKED_MAX = 60_000
"""Videos that a walk looks at, whether they are taken or passed over."""
WAIT_MS = 5000
"""So long whoever wants to choose videos waits for others who do. A start of many videos takes longer."""
_PLACES_AT_ONCE = 1000
_PAGE = 1000
# A page looks at all that fits, so each is larger than the one before: few of them pass over many videos.
_GROWTH = 4
_GONE = (Reason.SOURCE_NOT_FOUND, Reason.SOURCE_CHANGED)
_Row = Row[*tuple[Any, ...]]
_LOCK = 0x726573  # the first half of the lock on which videos of a tenant are to be scored again
_HOLD = text(
    "SELECT pg_advisory_xact_lock(:lock, hashtext(:tenant)),"
    f" set_config('idle_in_transaction_session_timeout', '{WORK_S_MAX}s', true)"
)
_SET_WAIT = text("SELECT set_config('lock_timeout', :wait, true)")
_NOT_AVAILABLE = "55P03"


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


class TargetWalk:
    """A walk over videos with an analysis that fits a filter, and none by the model yet, by their ids.

    It looks at no more than ``LOOKED_MAX`` of them, for 15 seconds or little more, and is not ``is_whole``
    once it has stopped there: more may fit. Raises FilterInvalid where even its first page takes that long.
    """

    def __init__(self, session: Session, tenant_id: str, model_id: str, wanted: Filter) -> None:
        self._session, self._tenant_id = session, tenant_id
        self._statement = _select_targets(tenant_id, model_id, wanted)
        self.is_whole = True

    def __iter__(self) -> Generator[Target]:
        after, size, left = "", _PAGE, LOOKED_MAX
        until = monotonic() + QUERY_MS_MAX / 1000
        while self.is_whole:
            size = min(size, left)
            page = self._fetch(after, size, until)
            for begin in range(0, len(page), _PLACES_AT_ONCE):
                if (after or begin) and monotonic() >= until:
                    self.is_whole = False
                    return
                yield from self._find_places(page[begin : begin + _PLACES_AT_ONCE])
            if len(page) < size:
                return
            after, size, left = page[-1][0], size * _GROWTH, left - size
            self.is_whole = left > 0

    def _fetch(self, after: str, size: int, until: float) -> Sequence[_Row]:
        """Return the next page; an empty one that ends the walk where it takes longer than there is time.

        Only the first may blame the filter: later ones have what those before have left.
        """
        limit_ms = max(round(1000 * (until - monotonic())), 1)
        statement = self._statement.where(Video.id > after).limit(size)
        try:
            # Taken back although it only reads: what follows is not to be held to the time of a page.
            with self._session.begin_nested() as step, bounded(self._session, limit_ms):
                page = self._session.execute(statement).all()
                step.rollback()
        except FilterInvalid:
            if not after:
                raise
            self.is_whole = False
            return ()
        return page

    def _find_places(self, part: Sequence[_Row]) -> Generator[Target]:
        ids = [row[0] for row in part if not row[2]]
        sources, gone = map_sources(self._session, ids), _find_gone(self._session, self._tenant_id, ids)
        for video_id, external_id, is_live in part:
            kept = tuple(each for each in sources.get(video_id, ()) if each.id not in gone)
            yield Target(video_id, external_id, is_live, kept)


def hold_targets(session: Session, tenant_id: str) -> bool:
    """Let nobody else choose videos of a tenant until the transaction ends; False where somebody does.

    Held from before a walk until the jobs are there, which come in transactions of their own, it lets the
    next walk see them: else two that walk at once take the same videos. None of those jobs' transactions
    waits for it. Meanwhile the transaction may be idle, as one under a key.
    """
    try:
        with session.begin_nested():
            session.execute(_SET_WAIT, {"wait": str(WAIT_MS)})
            session.execute(_HOLD, {"lock": _LOCK, "tenant": tenant_id})
    except OperationalError as fault:
        if getattr(fault.orig, "sqlstate", None) != _NOT_AVAILABLE:
            raise
        return False
    return True


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
