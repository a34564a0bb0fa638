"""A tenant's change of policy: it judges what comes from now on, and history again, step by step."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from engine.policy import Policy
from fakesieve.database import Database
from fakesieve.filters.check import EVERYTHING, Filter
from fakesieve.records.policies import activate_policy, ensure_policy
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
    step on, so that none is missed. Each verdict that moves is told as ``analysis.verdict_changed``.
    """

    def begin(session: Session) -> str:
        if is_activated:
            activate_policy(session, tenant_id, policy, actor=actor)
        return ensure_policy(session, policy)

    policy_id = database.run_transaction(begin, tenant_id=tenant_id)
    judged, moved, last_id = 0, 0, ""

    def take_step(session: Session) -> Applied:
        done = apply_policy(session, tenant_id, policy, policy_id, wanted, after_id=last_id, limit=step)
        events = [_describe(each, policy) for each in done.moved]
        record_events(session, tenant_id, EventType.VERDICT_CHANGED, events)
        return done

    while True:
        done = database.run_transaction(take_step, tenant_id=tenant_id)
        judged, moved = judged + done.judged, moved + len(done.moved)
        if done.last_id is None:
            return Change(judged, moved)
        last_id = done.last_id


def _describe(moved: Moved, policy: Policy) -> dict[str, object]:
    return {
        "analysis_id": moved.analysis_id,
        "video_id": moved.video_id,
        "before": None if moved.before is None else moved.before.value,
        "after": None if moved.after is None else moved.after.value,
        "policy": f"{policy.name}@{policy.version}",
    }
