"""A tenant's change of policy: it judges what comes from now on, and history again, step by step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TypeVar

from sqlalchemy.orm import Session

from engine.policy import Policy
from fakesieve.database import Database
from fakesieve.errors import RequestRefused
from fakesieve.filters.check import EVERYTHING, Filter
from fakesieve.reasons import Reason
from fakesieve.records.audit import record_audit
from fakesieve.records.model_policies import OwnPolicies, load_own_policies
from fakesieve.records.policies import (
    Judge,
    activate_policy,
    begin_judging,
    ensure_policy,
    hold_policy,
    write_label,
)
from fakesieve.records.policy_apply import FOUND_AT_ONCE, ToJudge, find_to_judge, write_verdicts
from fakesieve.records.policy_sql import Moved
from fakesieve.records.rulings import rule
from fakesieve.values.policies import OWN
from fakesieve.values.webhooks import EventType
from fakesieve.webhooks.events import record_events

WRITTEN_AT_ONCE = 20_000
Result = TypeVar("Result")


@dataclass(frozen=True)
class Change:
    """What came of a change: analyses that were judged again, and those whose verdict is another now.

    Of a change over all of history the first are all that it was held against, also where they stood by the
    policy already; of a change with a filter those that stood by another one. Neither counts deleted videos.
    """

    judged: int
    moved: int


def change_policy(
    database: Database,
    tenant_id: str,
    policy: Policy | None,
    wanted: Filter = EVERYTHING,
    *,
    actor: str,
    is_activated: bool = True,
    step: int = WRITTEN_AT_ONCE,
) -> Change:
    """Judge a tenant's analyses with a policy, None each with that of its model; nothing is scored again.

    Each step is a transaction of its own. A change that was cut off is completed by making it again. With
    ``is_activated`` new analyses are judged so from before the first step on, so that none is missed. Each
    verdict that moves is told as ``analysis.verdict_changed`` to those who want that, and the audit log has
    an entry for the begin and one for the end.

    Raises RequestRefused (STATE_CONFLICT) where another change of the tenant begins meanwhile, one that
    activates nothing too: that one judges what this one has judged again, and this one must not go on behind
    it.
    """
    asked = _Asked(tenant_id, policy, wanted, actor, is_activated)

    def run(work: Callable[[Session], Result]) -> Result:
        return database.run_transaction(work, tenant_id=tenant_id)

    judge = run(partial(_begin, asked))
    judged, moved, found = 0, 0, None
    while found is None or len(found.ids) == FOUND_AT_ONCE:
        after_id = found.ids[-1] if found else ""
        found = run(partial(_find, asked, judge, after_id=after_id))
        judged = judged or found.seen
        for first in range(0, len(found.ids), step):
            moved += run(partial(_write, asked, judge, found.ids[first : first + step], behind=moved))
    change = Change(judged, moved)
    run(partial(_end, asked, judge, change))
    return change


@dataclass(frozen=True)
class _Asked:
    """What a change is, the same in each of its steps."""

    tenant_id: str
    policy: Policy | None
    wanted: Filter
    actor: str
    is_activated: bool

    @property
    def label(self) -> str:
        """What judges, as people call it."""
        return OWN if self.policy is None else write_label(self.policy)


def _begin(asked: _Asked, session: Session) -> Judge:
    # Before what follows has new verdicts wait: with several policies it counts all of history.
    own = (
        load_own_policies(session, asked.tenant_id) if asked.policy is None else OwnPolicies(asked.policy, ())
    )
    if asked.is_activated:
        use_id = activate_policy(session, asked.tenant_id, asked.policy, actor=asked.actor)
    else:
        use_id = begin_judging(session, asked.tenant_id, actor=asked.actor)
    others = {ensure_policy(session, each.policy): each for each in own.others}
    judge = Judge(ensure_policy(session, own.policy), own.policy, use_id, others=others)
    _note(session, asked, judge, "policy.apply_begun", {})
    return judge


def _hold(asked: _Asked, judge: Judge, session: Session) -> None:
    """Keep the next change from beginning until the transaction ends. Refused where it has begun."""
    if hold_policy(session, asked.tenant_id) != judge.use_id:
        raise RequestRefused(
            Reason.STATE_CONFLICT,
            f"another change began while {asked.label} was applied",
            "look which one is active; apply again what shall hold",
        )


def _find(asked: _Asked, judge: Judge, session: Session, *, after_id: str) -> ToJudge:
    _hold(asked, judge, session)
    return find_to_judge(session, asked.tenant_id, judge, asked.wanted, after_id=after_id)


def _write(asked: _Asked, judge: Judge, ids: Sequence[str], session: Session, *, behind: int) -> int:
    """Judge some analyses and tell whose verdict moves; return how many do. ``behind`` did so far."""
    _hold(asked, judge, session)
    moved = write_verdicts(session, asked.tenant_id, judge, ids)
    events = [_describe(each, judge.find_policy(each.model_id)) for each in moved]
    record_events(session, asked.tenant_id, EventType.VERDICT_CHANGED, events, behind=behind)
    return len(moved)


def _end(asked: _Asked, judge: Judge, change: Change, session: Session) -> None:
    """Have what agrees with the policy stand by it, where all of history was looked at, and note the end.

    What another policy than the first judges was written, each of it, and is not ruled.
    """
    _hold(asked, judge, session)
    if asked.wanted == EVERYTHING:
        rule(session, asked.tenant_id, judge.policy_id, judge.use_id)
    _note(session, asked, judge, "policy.applied", asdict(change))


def _note(session: Session, asked: _Asked, judge: Judge, action: str, details: Mapping[str, object]) -> None:
    policies = [judge.policy, *(each.policy for each in judge.others.values())]
    named = {"policies": [write_label(each) for each in policies]} if asked.policy is None else {}
    record_audit(
        session,
        tenant_id=asked.tenant_id,
        actor=asked.actor,
        action=action,
        subject=asked.label,
        details={**details, **named, "is_active": asked.is_activated},
    )


def _describe(moved: Moved, policy: Policy) -> dict[str, object]:
    return {
        "analysis_id": moved.analysis_id,
        "video_id": moved.video_id,
        "before": None if moved.before is None else moved.before.value,
        "after": None if moved.after is None else moved.after.value,
        "policy": write_label(policy),
    }
