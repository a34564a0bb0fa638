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
from fakesieve.records.policies import activate_policy, begin_judging, ensure_policy, hold_policy
from fakesieve.records.policy_sql import APPLY_AT_ONCE, Applied, Moved, apply_policy
from fakesieve.values.webhooks import EventType
from fakesieve.webhooks.events import record_events


@dataclass(frozen=True)
class Change:
    """What came of a change: analyses judged again, and those whose verdict is another now."""

    judged: int
    moved: int

    def add(self, done: Applied) -> "Change":
        """Return what has come of it after one more step."""
        return Change(self.judged + done.judged, self.moved + len(done.moved))


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

    Each step is a transaction of its own. A change that was cut off is completed by making it again: what it
    has judged already is passed over. With ``is_activated`` new analyses are judged so from before the first
    step on, so that none is missed. Each verdict that moves is told as ``analysis.verdict_changed`` to those
    who want that, and the audit log has an entry for the begin and one for the end.

    Raises RequestRefused (STATE_CONFLICT) where another change of the tenant begins meanwhile, one that
    activates nothing too: that one judges what this one has judged again, and this one must not go on behind
    it.
    """
    asked = _Asked(tenant_id, policy, wanted, actor, is_activated)
    begun = database.run_transaction(partial(_begin, asked), tenant_id=tenant_id)
    so_far, last_id = Change(0, 0), ""
    while True:
        take_step = partial(_take_step, asked, begun, so_far, after_id=last_id, limit=step)
        done = database.run_transaction(take_step, tenant_id=tenant_id)
        so_far = so_far.add(done)
        if done.last_id is None:
            return so_far
        last_id = done.last_id


@dataclass(frozen=True)
class _Asked:
    """What a change is, the same in each of its steps."""

    tenant_id: str
    policy: Policy
    wanted: Filter
    actor: str
    is_activated: bool


@dataclass(frozen=True)
class _Begun:
    """The policy as it is kept, and the number of the change, by which a later one is known."""

    policy_id: str
    use: int


def _begin(asked: _Asked, session: Session) -> _Begun:
    if asked.is_activated:
        use = activate_policy(session, asked.tenant_id, asked.policy, actor=asked.actor)
    else:
        use = begin_judging(session, asked.tenant_id, actor=asked.actor)
    policy_id = ensure_policy(session, asked.policy)
    _note(session, asked, "policy.apply_begun", {})
    return _Begun(policy_id, use)


def _take_step(
    asked: _Asked, begun: _Begun, so_far: Change, session: Session, *, after_id: str, limit: int
) -> Applied:
    """Judge the next analyses, tell whose verdict moves, and with the last of them note the end."""
    tenant_id, policy = asked.tenant_id, asked.policy
    if hold_policy(session, tenant_id) != begun.use:
        raise RequestRefused(
            Reason.STATE_CONFLICT,
            f"another change began while {policy.name}@{policy.version} was applied",
            "look which one is active; apply again what shall hold",
        )
    done = apply_policy(
        session, tenant_id, policy, begun.policy_id, asked.wanted, after_id=after_id, limit=limit
    )
    events = [_describe(each, policy) for each in done.moved]
    record_events(session, tenant_id, EventType.VERDICT_CHANGED, events, behind=so_far.moved)
    if done.last_id is None:
        _note(session, asked, "policy.applied", asdict(so_far.add(done)))
    return done


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
