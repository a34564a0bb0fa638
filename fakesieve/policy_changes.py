"""A tenant's change of policy: it judges what comes from now on, and history again, step by step."""

from collections.abc import Mapping
from dataclasses import dataclass

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

    def begin(session: Session) -> tuple[str, int]:
        if is_activated:
            use = activate_policy(session, tenant_id, policy, actor=actor)
        else:
            use = begin_judging(session, tenant_id, actor=actor)
        policy_id = ensure_policy(session, policy)
        _note(session, tenant_id, policy, actor, "policy.apply_begun", {"is_active": is_activated})
        return policy_id, use

    policy_id, use = database.run_transaction(begin, tenant_id=tenant_id)
    judged, moved, last_id = 0, 0, ""

    def take_step(session: Session) -> Applied:
        if hold_policy(session, tenant_id) != use:
            raise RequestRefused(
                Reason.STATE_CONFLICT,
                f"another change began while {policy.name}@{policy.version} was applied",
                "look which one is active; apply again what shall hold",
            )
        done = apply_policy(session, tenant_id, policy, policy_id, wanted, after_id=last_id, limit=step)
        events = [_describe(each, policy) for each in done.moved]
        record_events(session, tenant_id, EventType.VERDICT_CHANGED, events, behind=moved)
        if done.last_id is None:
            total = {"judged": judged + done.judged, "moved": moved + len(done.moved)}
            _note(session, tenant_id, policy, actor, "policy.applied", {**total, "is_active": is_activated})
        return done

    while True:
        done = database.run_transaction(take_step, tenant_id=tenant_id)
        judged, moved = judged + done.judged, moved + len(done.moved)
        if done.last_id is None:
            return Change(judged, moved)
        last_id = done.last_id


def _note(
    session: Session,
    tenant_id: str,
    policy: Policy,
    actor: str,
    action: str,
    details: Mapping[str, object],
) -> None:
    label = f"{policy.name}@{policy.version}"
    record_audit(session, tenant_id=tenant_id, actor=actor, action=action, subject=label, details=details)


def _describe(moved: Moved, policy: Policy) -> dict[str, object]:
    return {
        "analysis_id": moved.analysis_id,
        "video_id": moved.video_id,
        "before": None if moved.before is None else moved.before.value,
        "after": None if moved.after is None else moved.after.value,
        "policy": f"{policy.name}@{policy.version}",
    }
