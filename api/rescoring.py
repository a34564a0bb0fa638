"""Scoring videos again by another model: what that would take, and its start; for programs and for pages."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy.orm import Session

from api.acts import note_act
from api.problems import Problem
from api.request_jobs import open_quota
from fakesieve.errors import RequestRefused
from fakesieve.filters.check import Filter
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.jobs.states import Lane
from fakesieve.jobs.submit import BatchEnded, NewBatch, NewJob, submit_batch
from fakesieve.objects import VideoRef
from fakesieve.places import Places
from fakesieve.reasons import Reason
from fakesieve.records.model_lists import ModelLine, count_hosts
from fakesieve.records.rescore_targets import Begun, Target, TargetWalk, find_begun, hold_targets
from fakesieve.records.tenants import Caller, list_older_keys

NAMED_MAX = 100
"""Videos out of reach that are named; all of them are counted."""
_ANEW = "count again and start anew, over the API under a new Idempotency-Key"


class Begin(Protocol):
    """Opens a transaction of the request; each block with it is one."""

    def __call__(self) -> AbstractContextManager[Session]: ...


@dataclass(frozen=True)
class RescoreOrder:
    """What is asked for. Two calls under one ``key`` go on in one batch; None is a batch of its own."""

    line: ModelLine
    wanted: Filter
    videos_max: int
    lane: Lane
    key: str | None = None

    @property
    def batch_key(self) -> str | None:
        """The key of its batch."""
        return None if self.key is None else f"api:{self.key}"

    @property
    def job_prefix(self) -> str | None:
        """What stands before the id of a video in the key of its job.

        By video, not by place in the list: what was scored meanwhile is missing when the call is sent again.
        """
        return None if self.key is None else f"rescore/{hashlib.sha256(self.key.encode()).hexdigest()[:32]}/"

    def make_batch(self, tenant_id: str, asker: str) -> NewBatch:
        """Return the batch of the order as asked for by a key of the API, or by a person."""
        asked = json.dumps([self.line.id, self.wanted.text, self.videos_max, asker])
        name = f"rescore by {self.line.name}"
        return NewBatch(tenant_id, name, self.lane, idempotency_key=self.batch_key, asked=asked)


@dataclass
class _Found:
    """What a walk over the videos that fit has come by: jobs by video, and those that have none."""

    jobs: dict[str, NewJob] = field(default_factory=dict[str, NewJob])
    live: int = 0
    unreachable: int = 0
    named: list[str] = field(default_factory=list[str])
    is_whole: bool = True


@dataclass(frozen=True)
class RescorePlan:
    """Jobs by video to be started in ``batch``; ``begun`` is what a call under the same key has started.

    ``unreachable`` counts videos whose object the tenant may not name now, or that was not there when a job
    last looked; the first of them are in ``unreachable_ids``. ``live`` counts those that are left out as one
    of their jobs waits or runs. Both are those on the way to the last video that is taken. Where the plan is
    not ``is_whole``, the walk has stopped at a bound of its own before it came to as many as are wanted: more
    may fit. ``other_hosts`` counts running hosts with another model, or an unknown one.
    """

    line: ModelLine
    batch: NewBatch
    jobs: Mapping[str, NewJob]
    unreachable: int
    unreachable_ids: tuple[str, ...]
    live: int
    is_whole: bool
    other_hosts: int
    begun: Begun | None = None

    @property
    def job_count(self) -> int:
        """Jobs of the order, those that were started before with them."""
        return len(self.jobs) + (0 if self.begun is None else len(self.begun.video_ids))

    @property
    def video_count(self) -> int:
        """Videos of the order: those with a job and those out of reach."""
        return self.job_count + self.unreachable

    @property
    def can_run(self) -> bool:
        """Whether every running host has the model."""
        return self.line.hosts > 0 and self.other_hosts == 0


def take_turn(session: Session, tenant_id: str) -> None:
    """Keep others of the tenant from planning a start: theirs then leaves out what this one has taken.

    To be called before ``plan_rescore``, in a transaction that ends after the start; it need not be the one
    in which the plan is made. Raises ``Problem`` (REQUEST_IN_PROGRESS) where the start of somebody else goes
    on for longer than one waits.
    """
    if not hold_targets(session, tenant_id):
        seen = "another order of this organisation to score videos again is being started"
        hint = "ask again in a moment: then its videos are left out"
        raise Problem(Reason.REQUEST_IN_PROGRESS, seen, hint=hint, headers={"Retry-After": "1"})


def plan_rescore(session: Session, caller: Caller, places: Places, order: RescoreOrder) -> RescorePlan:
    """Return what an order would start; nothing is started.

    Under a key that was begun with, that is what was counted then and has not been started yet. Raises
    ``Problem`` (IDEMPOTENCY_CONFLICT) where the key was begun with for another order, or too long ago.
    """
    hosts = count_hosts(session)
    batch, begun = _find_batch(session, caller, order)
    found = _find_jobs(session, caller, places, order, begun)
    return RescorePlan(
        order.line,
        batch,
        found.jobs,
        found.unreachable,
        tuple(found.named),
        found.live,
        found.is_whole,
        sum(count for model_id, count in hosts.items() if model_id != order.line.id),
        begun,
    )


def check_start(session: Session, tenant_id: str, plan: RescorePlan) -> None:
    """Raise ``Problem`` for what cannot be started now: ENGINE_UNAVAILABLE, QUOTA_EXCEEDED.

    The rest of a call that was cut off has its share of live jobs: ``submit_batch`` alone looks whether it
    still fits. What may be billed in a month is held against it, as against the rest of a list.
    """
    if plan.begun is None or plan.jobs:
        _check_hosts(plan.line, plan.other_hosts)
        open_quota(session, tenant_id, wanted=len(plan.jobs) if plan.begun is None else 0)


def start_rescore(jobs: SqlJobStore, begin: Begin, caller: Caller, plan: RescorePlan) -> str:
    """Submit the jobs of a plan in steps and return the id of their batch.

    Raises as ``check_start``, and ``Problem`` where somebody has ended the batch: IDEMPOTENCY_CONFLICT where
    it was that of a call that was cut off, STATE_CONFLICT after some steps.
    """
    with begin() as session:
        check_start(session, caller.tenant_id, plan)
    try:
        batch_id = submit_batch(jobs, plan.batch, list(plan.jobs.values())).batch_id
    except RequestRefused as fault:
        if fault.reason is Reason.STATE_CONFLICT or isinstance(fault, BatchEnded):
            # What a list is advised to do is not for whoever has sent a filter.
            raise Problem(fault.reason, fault.seen, hint=f"what it has stays; {_ANEW}") from fault
        raise
    details = {"model_id": plan.line.id, "jobs": plan.job_count}
    with begin() as session:
        note_act(session, caller, "analyses.rescored", batch_id, details)
    return batch_id


def _find_batch(session: Session, caller: Caller, order: RescoreOrder) -> tuple[NewBatch, Begun | None]:
    """Return the batch of an order, and what was begun of it under its key.

    The answer to a call is kept for a while only. When it is gone, a batch that was found by the key alone
    would pass for the answer to another order, or to the same one of last week.
    """
    batch = order.make_batch(caller.tenant_id, caller.key_id)
    if order.batch_key is None or order.job_prefix is None:
        return batch, None
    begun = find_begun(session, caller.tenant_id, order.batch_key, order.job_prefix)
    if begun is None:
        return batch, None
    # As for kept answers: a key of the API goes on with what the one has begun that it has taken over from.
    older = list_older_keys(session, caller.key_id)
    for each in (batch, *(order.make_batch(caller.tenant_id, asker) for asker in older)):
        if each.request_hash == begun.request_hash and begun.is_recent:
            return each, begun
    known = "for another order" if begun.is_recent else "more than 48 hours ago"
    seen = f"{order.key!r} was used {known}, batch {begun.batch_id}"
    raise Problem(Reason.IDEMPOTENCY_CONFLICT, seen, hint=_ANEW)


def _check_hosts(line: ModelLine, others: int) -> None:
    """Refuse what no host would do, or what hosts with another model might take."""
    short = f"{line.name} ({line.weights_sha256[:8]})"
    if line.hosts == 0:
        raise Problem(
            Reason.ENGINE_UNAVAILABLE,
            f"no running host has {short}",
            hint="start hosts with FAKESIEVE_MODEL set to it, then ask again",
        )
    if others:
        raise Problem(
            Reason.ENGINE_UNAVAILABLE,
            f"{others} of {others + line.hosts} running hosts have another model than {short}",
            hint="a job cannot choose its host: set FAKESIEVE_MODEL on all of them, then ask again",
        )


def _find_jobs(
    session: Session, caller: Caller, places: Places, order: RescoreOrder, begun: Begun | None
) -> _Found:
    """Walk over the videos that fit until as many as are wanted can be reached.

    A call that goes on walks as far as it did the first time, so that it counts the same.
    """
    taken = frozenset[str]() if begun is None else begun.video_ids
    room = order.videos_max - len(taken)
    if begun is not None and begun.places is not None:
        room = begun.places
    is_short = len(taken) + room < order.videos_max  # all that there were: no video ended the walk
    last, found = max(taken, default=""), _Found()
    walk = TargetWalk(session, caller.tenant_id, order.line.id, order.wanted)
    for target in walk:
        is_full = len(found.jobs) >= room
        if is_full and not is_short and target.video_id > last:
            break
        if target.video_id in taken:
            continue
        if target.is_live:
            found.live += 1
            continue
        new = _make_job(caller, places, order, target)
        if new is None:
            found.unreachable += 1
            found.named += [target.video_id][: NAMED_MAX - len(found.named)]
        elif not is_full:
            found.jobs[target.video_id] = new
    found.is_whole = walk.is_whole or (len(found.jobs) >= room and not is_short)
    return found


def _make_job(caller: Caller, places: Places, order: RescoreOrder, target: Target) -> NewJob | None:
    """Return a job for the newest place of a video that the tenant may still name; None without one."""
    prefix = order.job_prefix
    for source in reversed(target.sources):
        ref = VideoRef(source.bucket, source.key, source.version_id, source.etag, source.size_bytes)
        if places.may_read(ref):
            return NewJob(
                caller.tenant_id,
                ref,
                order.lane,
                idempotency_key=None if prefix is None else f"{prefix}{target.video_id}",
                external_id=target.external_id,
                source_kind=source.kind,
            )
    return None
