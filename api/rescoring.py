"""Scoring videos again by another model: what that would take, and its start; for programs and for pages."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from sqlalchemy.orm import Session

from api.acts import note_act
from api.problems import Problem
from api.request_jobs import open_quota
from fakesieve.filters.check import Filter
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.jobs.states import Lane
from fakesieve.jobs.submit import NewBatch, NewJob, submit_batch
from fakesieve.objects import VideoRef
from fakesieve.places import Places
from fakesieve.reasons import Reason
from fakesieve.records.model_lists import ModelLine, Target, count_hosts, find_targets
from fakesieve.records.tenants import Caller
from fakesieve.records.videos import map_sources


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


@dataclass(frozen=True)
class RescorePlan:
    """Jobs by video: those that the filter finds and the model has not scored, where they can be reached.

    ``video_count`` counts all of them; ``other_hosts`` running hosts with another model, or an unknown one.
    """

    line: ModelLine
    video_count: int
    jobs: Mapping[str, NewJob]
    other_hosts: int

    @property
    def unreachable(self) -> int:
        """Videos whose object the tenant may not name now."""
        return self.video_count - len(self.jobs)

    @property
    def can_run(self) -> bool:
        """Whether every running host has the model."""
        return self.line.hosts > 0 and self.other_hosts == 0


def plan_rescore(session: Session, caller: Caller, places: Places, order: RescoreOrder) -> RescorePlan:
    """Return what an order would start; nothing is started."""
    line, hosts = order.line, count_hosts(session)
    targets = find_targets(session, caller.tenant_id, line.id, order.wanted, limit=order.videos_max)
    return RescorePlan(
        line,
        len(targets),
        _make_jobs(session, caller, places, order, targets),
        sum(count for model_id, count in hosts.items() if model_id != line.id),
    )


def check_start(session: Session, tenant_id: str, plan: RescorePlan) -> None:
    """Raise ``Problem`` for what cannot be started now: ENGINE_UNAVAILABLE, QUOTA_EXCEEDED."""
    _check_hosts(plan.line, plan.other_hosts)
    open_quota(session, tenant_id, wanted=len(plan.jobs))


def start_rescore(
    jobs: SqlJobStore, begin: Begin, caller: Caller, plan: RescorePlan, order: RescoreOrder
) -> str:
    """Submit the jobs of a plan in steps and return the id of their batch. Raises as ``check_start``."""
    with begin() as session:
        check_start(session, caller.tenant_id, plan)
    batch = NewBatch(
        caller.tenant_id,
        f"rescore by {plan.line.name}",
        order.lane,
        idempotency_key=None if order.key is None else f"api:{order.key}",
    )
    batch_id = submit_batch(jobs, batch, list(plan.jobs.values())).batch_id
    details = {"model_id": plan.line.id, "jobs": len(plan.jobs)}
    with begin() as session:
        note_act(session, caller, "analyses.rescored", batch_id, details)
    return batch_id


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


def _make_jobs(
    session: Session, caller: Caller, places: Places, order: RescoreOrder, targets: Sequence[Target]
) -> dict[str, NewJob]:
    """Return a job for the newest place of each video that the tenant may still name."""
    sources = map_sources(session, [target.video_id for target in targets])
    # By video, not by place in the list: what was scored meanwhile is missing when the call is sent again.
    key = order.key
    prefix = None if key is None else f"rescore/{hashlib.sha256(key.encode()).hexdigest()[:32]}"
    jobs = dict[str, NewJob]()
    for target in targets:
        for source in reversed(sources.get(target.video_id, ())):
            ref = VideoRef(source.bucket, source.key, source.version_id, source.etag, source.size_bytes)
            if places.may_read(ref):
                new = NewJob(
                    caller.tenant_id, ref, order.lane, external_id=target.external_id, source_kind=source.kind
                )
                named = None if prefix is None else f"{prefix}/{target.video_id}"
                jobs[target.video_id] = replace(new, idempotency_key=named)
                break
    return jobs
