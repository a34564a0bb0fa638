"""A tenant's change of policy: it judges what comes from now on, and history again, step by step."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial

from sqlalchemy.orm import Session

from engine.policy import Policy
from fakesieve.database import Database
from fakesieve.errors import RequestRefused
from fakesieve.filters.check import EVERYTHING, Filter
from fakesieve.reasons import Reason
from fakesieve.records.audit import record_audit
from fakesieve.records.policies import Judge, activate_policy, begin_judging, ensure_policy, hold_policy
from fakesieve.records.policy_sql import APPLY_AT_ONCE, Moved, apply_policy
from fakesieve.values.webhooks import EventType
from fakesieve.webhooks.events import record_events


@dataclass(frozen=True)
class Change:
    """What came of a change: analyses that were judged again, and those whose verdict is another now.

    Of a change over all of history the first are all that it was held against, also where they stood by the
    policy already; of a change with a filter those that stood by another one.
    """

    judged: int
    moved: int


def change_policy(
    database: Database,
    tenant_id: str,
    policy: Policy,
    wanted: Filter = EVERYTHING,
    *,
    actor: str,
    is_activated: bool = True,
    step: int = APPLY_AT_ONCE,
) -> Change:
    """Judge a tenant's analyses with a policy; nothing is scored again.

    Each step is a transaction of its own. A change that was cut off is completed by making it again. With
    ``is_activated`` new analyses are judged so from before the first step on, so that none is missed. Each
    verdict that moves is told as ``analysis.verdict_changed`` to those who want that, and the audit log has
    an entry for the begin and one for the end.

    Raises RequestRefused (STATE_CONFLICT) where another change of the tenant begins meanwhile, one that
    activates nothing too: that one judges what this one has judged again, and this one must not go on behind
    it.
    """
    asked = _Asked(tenant_id, policy, wanted, actor, is_activated)
    judge = database.run_transaction(partial(_begin, asked), tenant_id=tenant_id)
    so_far, last_id = Change(0, 0), ""
    while True:
        take_step = partial(_take_step, asked, judge, so_far, after_id=last_id, limit=step)
        so_far, last_id = database.run_transaction(take_step, tenant_id=tenant_id)
        if last_id is None:
            return so_far


@dataclass(frozen=True)
class _Asked:
    """What a change is, the same in each of its steps."""

    tenant_id: str
    policy: Policy
    wanted: Filter
    actor: str
    is_activated: bool


def _begin(asked: _Asked, session: Session) -> Judge:
    if asked.is_activated:
        use_id = activate_policy(session, asked.tenant_id, asked.policy, actor=asked.actor)
    else:
        use_id = begin_judging(session, asked.tenant_id, actor=asked.actor)
    _note(session, asked, "policy.apply_begun", {})
    return Judge(ensure_policy(session, asked.policy), asked.policy, use_id)


def _take_step(
    asked: _Asked, judge: Judge, so_far: Change, session: Session, *, after_id: str, limit: int
) -> tuple[Change, str | None]:
    """Judge the next analyses, tell whose verdict moves, and with the last of them note the end.

    Returns what has come of the change until then, and behind which analysis it goes on; None at the end.
    """
    tenant_id, policy = asked.tenant_id, asked.policy
    if hold_policy(session, tenant_id) != judge.use_id:
        raise RequestRefused(
            Reason.STATE_CONFLICT,
            f"another change began while {policy.name}@{policy.version} was applied",
            "look which one is active; apply again what shall hold",
        )
    done = apply_policy(session, tenant_id, judge, asked.wanted, after_id=after_id, limit=limit)
    events = [_describe(each, policy) for each in done.moved]
    record_events(session, tenant_id, EventType.VERDICT_CHANGED, events, behind=so_far.moved)
    change = Change(so_far.judged if after_id else done.seen, so_far.moved + len(done.moved))
    if done.last_id is None:
        _note(session, asked, "policy.applied", asdict(change))
    return change, done.last_id


def _note(session: Session, asked: _Asked, action: str, details: Mapping[str, object]) -> None:
    record_audit(
        session,
        tenant_id=asked.tenant_id,
        actor=asked.actor,
        action=action,
        subject=f"{asked.policy.name}@{asked.policy.version}",
        details={**details, "is_active": asked.is_activated},
    )


def _describe(moved: Moved, policy: Policy) -> dict[str, object]:
    return {
        "analysis_id": moved.analysis_id,
        "video_id": moved.video_id,
        "before": None if moved.before is None else moved.before.value,
        "after": None if moved.after is None else moved.after.value,
        "policy": f"{policy.name}@{policy.version}",
    }
