"""A policy over stored scores, in SQL: preview of what it would change, and the change itself.

The rule is ``engine.policy.decide``; a test holds this against it on random scores. It needs no row of a
track or a frame: ``standing`` has what the rule asks for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    CTE,
    Boolean,
    ColumnElement,
    Integer,
    Select,
    Text,
    and_,
    any_,
    bindparam,
    case,
    cast,
    false,
    func,
    literal,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by, array, insert
from sqlalchemy.orm import Session
from sqlalchemy.types import String

from engine.policy import Policy
from engine.results import EvidenceReason, Outcome, VerdictReason, VerdictValue
from fakesieve.filters.check import EVERYTHING, Filter
from fakesieve.records.analysis_lists import bounded, select_deleted, select_standing
from fakesieve.records.analysis_tables import Verdict
from fakesieve.records.filter_sql import compile_filter
from fakesieve.records.policies import Judge
from fakesieve.records.rulings import name_policy_in_force, rule
from fakesieve.records.standings import Standing
from fakesieve.records.table import ID_TYPE
from fakesieve.values.policies import MOVED_MAX

BINS = 50
APPLY_AT_ONCE = 20_000
_PREVIEW_MS_MAX = 30_000


@dataclass(frozen=True)
class Moved:
    """One analysis whose verdict another policy changes. ``score`` is the one that verdicts stand on."""

    analysis_id: str
    video_id: str
    before: VerdictValue | None
    after: VerdictValue | None
    score: float | None


@dataclass(frozen=True)
class Preview:
    """What a policy would say of history. ``counts`` has how many analyses go from one verdict to another.

    ``histogram`` counts scores in 50 bins of equal width from 0 to 1. ``moved`` begins with the highest
    scores and is cut at what was asked for; ``moved_count`` is whole.
    """

    counts: tuple[tuple[VerdictValue | None, VerdictValue | None, int], ...]
    histogram: tuple[int, ...]
    moved: tuple[Moved, ...]

    @property
    def analysis_count(self) -> int:
        """Analyses that were looked at."""
        return sum(count for _, _, count in self.counts)

    @property
    def moved_count(self) -> int:
        """Analyses whose verdict changes."""
        return sum(count for before, after, count in self.counts if before is not after)

    def count_after(self, values: Sequence[VerdictValue]) -> int:
        """Return how many analyses have one of these verdicts under the policy."""
        return sum(count for _, after, count in self.counts if after in values)

    def count_before(self, values: Sequence[VerdictValue]) -> int:
        """Return how many have one of them now."""
        return sum(count for before, _, count in self.counts if before in values)


@dataclass(frozen=True)
class Applied:
    """One step of a change: what it wrote and moved. ``last_id`` is None at the end.

    ``seen`` are the analyses that were to be judged when it began, by it or a later step.
    """

    seen: int
    written: int
    moved: tuple[Moved, ...]
    last_id: str | None


def preview_policy(
    session: Session, tenant_id: str, policy: Policy, wanted: Filter = EVERYTHING, *, moved_max: int = 100
) -> Preview:
    """Say what a policy would make of a tenant's analyses. Nothing is changed and nothing scored again."""
    after = decide_value(policy).label("after")
    before = cast(Standing.verdict, String()).label("before")
    # LEAST passes over null, so an analysis without a score is left out here.
    place = func.least(cast(func.floor(Standing.score * BINS), Integer()), BINS - 1)
    bin_ = case((Standing.score.is_not(None), place)).label("bin")
    found = compile_filter(wanted, tenant_id)
    every = select_standing(found, tenant_id, before, after, bin_).subquery()
    keys = (every.c.before, every.c.after, every.c.bin)
    some = (
        select_standing(
            found,
            tenant_id,
            Standing.video_id.expression,
            before,
            after,
            Standing.score.expression,
        )
        .where(Standing.verdict.is_distinct_from(decide_value(policy)))
        .order_by(Standing.score.desc().nulls_last(), Standing.analysis_id)
        .limit(min(moved_max, MOVED_MAX))
    )
    with bounded(session, _PREVIEW_MS_MAX):
        rows = session.execute(select(*keys, func.count()).group_by(*keys)).all()
        moved = session.execute(some).all()
    return _read_preview([tuple(row) for row in rows], tuple(_read_moved(*row) for row in moved))


def _read_preview(rows: Sequence[tuple[Any, ...]], moved: tuple[Moved, ...]) -> Preview:
    counts: dict[tuple[VerdictValue | None, VerdictValue | None], int] = {}
    histogram = [0] * BINS
    for before, after, bin_, count in rows:
        change = (_read_value(before), _read_value(after))
        counts[change] = counts.get(change, 0) + count
        if bin_ is not None:
            histogram[bin_] += count
    ordered = sorted(counts.items(), key=lambda item: (str(item[0][0]), str(item[0][1])))
    return Preview(tuple((before, after, n) for (before, after), n in ordered), tuple(histogram), moved)


def _read_value(value: str | None) -> VerdictValue | None:
    return None if value is None else VerdictValue(value)


def _read_moved(
    analysis_id: str, video_id: str, before: str | None, after: str | None, score: float
) -> Moved:
    return Moved(analysis_id, video_id, _read_value(before), _read_value(after), score)


def apply_policy(
    session: Session,
    tenant_id: str,
    judge: Judge,
    wanted: Filter = EVERYTHING,
    *,
    after_id: str = "",
    limit: int = APPLY_AT_ONCE,
) -> Applied:
    """Judge the next analyses of a tenant, by id, with a policy, and make that the verdict that holds.

    ``judge.use_id`` is the change that this is a step of: what was judged since it began is passed over. With
    a filter all are written that fit and stand by another policy. Without one only those of which the policy
    says something else than holds; the last step then makes it the policy by which all of them stand. Those
    of deleted videos are among them, and told to nobody.
    """
    is_whole = wanted == EVERYTHING
    found = _find_whole(tenant_id, judge) if is_whole else _find_fitting(tenant_id, judge, wanted)
    every = found.where(_is_earlier(judge), Standing.analysis_id > after_id).cte("every")
    every = every.prefix_with("MATERIALIZED", dialect="postgresql")
    # One row for all, so that nothing is put in order but what is written: asked for the first of them, the
    # planner walks all tenants' rows in the order of ids, in the hope of finding enough of this one's early.
    others = func.array_agg(aggregate_order_by(every.c.analysis_id, every.c.analysis_id))
    over = cast(func.greatest(func.count().filter(every.c.is_other) - limit, 0), Integer())
    first = func.trim_array(others.filter(every.c.is_other), over)
    seen, ids = session.execute(select(func.count().filter(~every.c.is_deleted), first)).one()
    moved = _write(session, tenant_id, judge, ids or [])
    last_id = ids[-1] if ids and len(ids) == limit else None
    if is_whole and last_id is None:
        rule(session, tenant_id, judge.policy_id, judge.use_id)
    return Applied(seen, len(ids or []), moved, last_id)


def _write(session: Session, tenant_id: str, judge: Judge, ids: Sequence[str]) -> tuple[Moved, ...]:
    """Write what a policy says of some analyses, and return those whose verdict moves, by id."""
    given = bindparam("ids", list(ids), type_=ARRAY(ID_TYPE))
    is_given: ColumnElement[bool] = Standing.analysis_id == any_(given)
    chosen = (
        select(Standing.analysis_id, *_say(judge.policy), _is_deleted(tenant_id))
        .where(is_given, _is_earlier(judge))
        .order_by(Standing.analysis_id)  # in which rows are locked
        .with_for_update(of=Standing, key_share=True)
        .cte("chosen")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    said = {
        "verdict": chosen.c.after,
        "policy_id": judge.policy_id,
        "use_id": judge.use_id,
        "verdict_reasons": chosen.c.reasons,
    }
    shown: list[ColumnElement[Any]] = [chosen.c[name] for name in (*_MOVED, "is_deleted")]
    written = update(Standing).where(is_given, Standing.analysis_id == chosen.c.analysis_id).values(said)
    written = written.returning(*shown).add_cte(_keep_verdicts(chosen, tenant_id, judge.policy_id))
    rows = session.execute(written, execution_options={"synchronize_session": False}).all()
    told = (_read_moved(*each) for *each, is_deleted in rows if not is_deleted)
    return tuple(sorted((each for each in told if each.before is not each.after), key=_read_id))


_MOVED = ("analysis_id", "video_id", "before", "after", "score")


def _read_id(moved: Moved) -> str:
    return moved.analysis_id


def _is_earlier(judge: Judge) -> ColumnElement[bool]:
    """Return the condition that a verdict was given before a change began, or by a release without uses."""
    return or_(Standing.use_id.is_(None), Standing.use_id < judge.use_id)


def _say(policy: Policy) -> list[ColumnElement[Any]]:
    """Return what is written and told of an analysis beside its id: what holds, and what the policy says."""
    return [
        Standing.video_id.label("video_id"),
        cast(Standing.verdict, String()).label("before"),
        Standing.score.label("score"),
        decide_value(policy).label("after"),
        decide_reasons(policy).label("reasons"),
    ]


def _find_fitting(tenant_id: str, judge: Judge, wanted: Filter) -> Select[Any]:
    """Return the analyses that fit a filter and stand by another policy; each is to be written."""
    in_force = name_policy_in_force(tenant_id, Standing.use_id, Standing.policy_id)
    labels = true().label("is_other"), false().label("is_deleted")
    fitting = select_standing(compile_filter(wanted, tenant_id), tenant_id, *labels)
    return fitting.where(in_force != judge.policy_id)


def _find_whole(tenant_id: str, judge: Judge) -> Select[Any]:
    """Return all analyses of a tenant; those that the policy judges otherwise are to be written.

    So are those that do not say since when they stand as they do.
    """
    is_other = or_(
        Standing.use_id.is_(None),
        Standing.verdict.is_distinct_from(decide_value(judge.policy)),
        Standing.verdict_reasons != cast(decide_reasons(judge.policy), ARRAY(Text())),
    )
    labels = is_other.label("is_other"), _is_deleted(tenant_id)
    columns: list[ColumnElement[Any]] = [Standing.analysis_id.expression, *labels]
    return select(*columns).where(Standing.tenant_id == tenant_id)


def _is_deleted(tenant_id: str) -> ColumnElement[bool]:
    return Standing.analysis_id.in_(select_deleted(tenant_id)).label("is_deleted")


def _keep_verdicts(chosen: CTE, tenant_id: str, policy_id: str) -> CTE:
    """Return the statement that keeps what the policy says, beside what other policies have said."""
    lines = select(
        literal(tenant_id), chosen.c.analysis_id, literal(policy_id),
        chosen.c.after, chosen.c.score, chosen.c.reasons,
    )  # fmt: skip
    columns = ["tenant_id", "analysis_id", "policy_id", "value", "score_used", "reasons"]
    return insert(Verdict).from_select(columns, lines).on_conflict_do_nothing().cte("written")


def decide_value(policy: Policy) -> ColumnElement[Any]:
    """Return ``engine.policy.decide``'s value as an expression over ``standing``; null without a score."""
    return case(
        (Standing.score.is_(None), null()),
        (and_(Standing.score >= policy.high, _is_single_peak(policy)), _text(VerdictValue.INCONCLUSIVE)),
        (Standing.score >= policy.high, _text(VerdictValue.LIKELY_MANIPULATED)),
        (Standing.score >= policy.low, _text(VerdictValue.INCONCLUSIVE)),
        (or_(_is_low_coverage(policy), _is_partial), _text(VerdictValue.INCONCLUSIVE)),
        else_=_text(VerdictValue.NO_MANIPULATION_FOUND),
    )


def decide_reasons(policy: Policy) -> ColumnElement[Any]:
    """Return the reasons of the same verdict in the rule's order, over ``standing`` too."""
    is_high = Standing.score >= policy.high
    lead = case(
        (is_high, _text(VerdictReason.HIGH_TRACK_SCORE)),
        (Standing.score >= policy.low, _text(VerdictReason.SCORE_BETWEEN_THRESHOLDS)),
        else_=_text(VerdictReason.LOW_TRACK_SCORES),
    )
    is_picture = or_(Standing.total_us == 0, Standing.reasons.contains([EvidenceReason.STATIC_IMAGE.value]))
    reasons = array(
        [
            lead,
            _when(_is_low_coverage(policy), VerdictReason.LOW_COVERAGE),
            _when(_is_partial, VerdictReason.PARTIAL_EVIDENCE),
            _when(and_(is_high, _is_single_peak(policy)), VerdictReason.SINGLE_FRAME_PEAK),
            _when(is_picture, VerdictReason.SINGLE_PICTURE),
            _when(Standing.score_calibrated.is_(None), VerdictReason.UNCALIBRATED),
            _when(literal(policy.extrapolated, Boolean()), VerdictReason.EXTRAPOLATED_THRESHOLD),
        ]
    )
    none = array([_text(VerdictReason.NO_EVIDENCE)])
    return case((Standing.score.is_(None), none), else_=func.array_remove(reasons, null()))


_is_partial = Standing.outcome == Outcome.PARTIALLY_SCORED


def _is_low_coverage(policy: Policy) -> ColumnElement[bool]:
    return Standing.coverage < policy.min_coverage


def _is_single_peak(policy: Policy) -> ColumnElement[bool]:
    return and_(Standing.peak_frames.is_not(None), Standing.peak_frames < policy.min_peak_frames)


def _when(condition: ColumnElement[bool], reason: VerdictReason) -> ColumnElement[Any]:
    return case((condition, _text(reason)), else_=null())


def _text(value: str) -> ColumnElement[Any]:
    return literal(str(value), Text())
