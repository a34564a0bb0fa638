"""A tenant's change of policy: it judges what comes from now on, and history again, step by step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from sqlalchemy.orm import Session

from engine.policy import Policy
from fakesieve.database import Database
from fakesieve.errors import RequestRefused
from fakesieve.filters.check import EVERYTHING, Filter
from fakesieve.reasons import Reason
from fakesieve.records.audit import record_audit
from fakesieve.records.model_policies import OwnPolicies, load_own_policies, weigh_models
from fakesieve.records.policies import (
    Judge,
    activate_policy,
    begin_judging,
    ensure_policy,
    hold_policy,
    write_label,
)
from fakesieve.records.policy_apply import FOUND_AT_ONCE, ToJudge, find_to_judge, write_verdicts
from fakesieve.records.policy_sql import Moved, count_kept
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
    policy already; of a change with a filter those that stood by another one. Neither counts deleted videos,
    nor ``kept``: analyses that stay as they stand, as nobody has said by what their model judges.
    """

    judged: int
    moved: int
    kept: int = 0


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

    Where it is not known which policy a model brings, its analyses stay as they stand.

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

    begun = run(partial(_begin, asked))
    judge, judged, moved, found = begun.judge, 0, 0, None
    kept = run(partial(_count_kept, asked, begun)) if begun.kept else 0
    while judge is not None and (found is None or len(found.ids) == FOUND_AT_ONCE):
        after_id = found.ids[-1] if found else ""
        found = run(partial(_find, asked, judge, after_id=after_id))
        judged = judged or found.seen
        for first in range(0, len(found.ids), step):
            moved += run(partial(_write, asked, judge, found.ids[first : first + step], behind=moved))
    change = Change(judged, moved, kept)
    run(partial(_end, asked, begun, change))
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


@dataclass(frozen=True)
class _Begun:
    """A change that has begun, as which use of a policy. Nothing is judged without a judge.

    Analyses of the models ``kept`` stay as they stand.
    """

    use_id: int
    judge: Judge | None
    kept: tuple[str, ...]


def _begin(asked: _Asked, session: Session) -> _Begun:
    # Before what follows has new verdicts wait: with several policies it counts all of history.
    weights: Mapping[str, int] = weigh_models(session, asked.tenant_id) if asked.policy is None else {}
    if asked.is_activated:
        use_id = activate_policy(session, asked.tenant_id, asked.policy, actor=asked.actor)
    else:
        use_id = begin_judging(session, asked.tenant_id, actor=asked.actor)
    # Behind it: a model may be new whose first verdict was being given until then.
    own = OwnPolicies(asked.policy) if asked.policy else load_own_policies(session, asked.tenant_id, weights)
    begun = _Begun(use_id, _make_judge(session, own, use_id), own.kept)
    _note(session, asked, begun, "policy.apply_begun", {})
    return begun


def _count_kept(asked: _Asked, begun: _Begun, session: Session) -> int:
    """Return how many analyses stay as they stand. No verdict waits meanwhile."""
    _hold(asked, begun.use_id, session)
    return sum(count_kept(session, asked.tenant_id, asked.wanted, begun.kept).values())


def _make_judge(session: Session, own: OwnPolicies, use_id: int) -> Judge | None:
    if own.policy is None:
        return None
    others = {ensure_policy(session, each.policy): each for each in own.others}
    return Judge(ensure_policy(session, own.policy), own.policy, use_id, others=others, kept=own.kept)


def _hold(asked: _Asked, use_id: int, session: Session) -> None:
    """Keep the next change from beginning until the transaction ends. Refused where it has begun."""
    if hold_policy(session, asked.tenant_id) != use_id:
        raise RequestRefused(
            Reason.STATE_CONFLICT,
            f"another change began while {asked.label} was applied",
            "look which one is active; apply again what shall hold",
        )


def _find(asked: _Asked, judge: Judge, session: Session, *, after_id: str) -> ToJudge:
    _hold(asked, judge.use_id, session)
    return find_to_judge(session, asked.tenant_id, judge, asked.wanted, after_id=after_id)


def _write(asked: _Asked, judge: Judge, ids: Sequence[str], session: Session, *, behind: int) -> int:
    """Judge some analyses and tell whose verdict moves; return how many do. ``behind`` did so far."""
    _hold(asked, judge.use_id, session)
    moved = write_verdicts(session, asked.tenant_id, judge, ids)
    events = [_describe(each, judge.find_policy(each.model_id)) for each in moved]
    record_events(session, asked.tenant_id, EventType.VERDICT_CHANGED, events, behind=behind)
    return len(moved)


def _end(asked: _Asked, begun: _Begun, change: Change, session: Session) -> None:
    """Have what agrees with the policy stand by it, where all of history was looked at, and note the end.

    What another policy than the first judges, or none, was written, each of it, and is not ruled.
    """
    _hold(asked, begun.use_id, session)
    if asked.wanted == EVERYTHING and begun.judge is not None:
        rule(session, asked.tenant_id, begun.judge.policy_id, begun.use_id)
    kept = {"kept": change.kept} if change.kept else {}
    _note(session, asked, begun, "policy.applied", {"judged": change.judged, "moved": change.moved, **kept})


def _note(session: Session, asked: _Asked, begun: _Begun, action: str, details: Mapping[str, object]) -> None:
    judge = begun.judge
    policies = [] if judge is None else [judge.policy, *(each.policy for each in judge.others.values())]
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
