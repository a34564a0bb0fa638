"""A policy over stored scores, in SQL: the rule itself, and a preview of what it would change.

The rule is ``engine.policy.decide``; a test holds this against it on random scores. It needs no row of a
track or a frame: ``standing`` has what the rule asks for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Integer,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.orm import Session
from sqlalchemy.types import Double, String

from engine.policy import Policy
from engine.results import EvidenceReason, Outcome, VerdictReason, VerdictValue
from fakesieve.filters.check import EVERYTHING, Filter
from fakesieve.records.analysis_lists import select_standing
from fakesieve.records.filter_sql import compile_filter
from fakesieve.records.policies import OfModels
from fakesieve.records.standings import Standing
from fakesieve.records.statement_bounds import HISTORY_MS_MAX, bounded
from fakesieve.values.policies import MOVED_MAX

BINS = 50


@dataclass(frozen=True)
class Moved:
    """One analysis whose verdict another policy changes. ``score`` is the one that verdicts stand on."""

    analysis_id: str
    video_id: str
    model_id: str
    before: VerdictValue | None
    after: VerdictValue | None
    score: float | None


@dataclass(frozen=True)
class Preview:
    """What a policy would say of history. ``counts`` has how many analyses go from one verdict to another.

    ``histogram`` counts scores in 50 bins of equal width from 0 to 1. ``moved`` begins with the highest
    scores and is cut at what was asked for; ``moved_count`` is whole. ``kept`` counts, by model, the analyses
    that stay as they stand, as nobody knows by what they would be judged; in ``counts`` they go nowhere.
    """

    counts: tuple[tuple[VerdictValue | None, VerdictValue | None, int], ...]
    histogram: tuple[int, ...]
    moved: tuple[Moved, ...]
    kept: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def kept_count(self) -> int:
        """Analyses that stay as they stand."""
        return sum(self.kept.values())

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


def preview_policy(
    session: Session,
    tenant_id: str,
    policy: Policy | None,
    wanted: Filter = EVERYTHING,
    *,
    others: Sequence[OfModels] = (),
    kept: Sequence[str] = (),
    moved_max: int = 100,
) -> Preview:
    """Say what a policy would make of a tenant's analyses. Nothing is changed and nothing scored again.

    ``others`` judge those of some models in its place, and those of the models ``kept`` stay as they stand;
    without a policy they all do.
    """
    said = decide_value(policy, others, kept)
    after = said.label("after")
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
            Standing.model_id.expression,
            before,
            after,
            Standing.score.expression,
        )
        .where(Standing.verdict.is_distinct_from(said))
        .order_by(Standing.score.desc().nulls_last(), Standing.analysis_id)
        .limit(min(moved_max, MOVED_MAX))
    )
    with bounded(session, HISTORY_MS_MAX):
        rows = session.execute(select(*keys, func.count()).group_by(*keys)).all()
        moved = session.execute(some).all()
        stay = count_kept(session, tenant_id, wanted, kept)
    return _read_preview([tuple(row) for row in rows], tuple(read_moved(*row) for row in moved), stay)


def count_kept(session: Session, tenant_id: str, wanted: Filter, kept: Sequence[str]) -> Mapping[str, int]:
    """Return how many analyses that fit a filter each of these models has made; one with none is left out."""
    if not kept:
        return {}
    found = select_standing(compile_filter(wanted, tenant_id), tenant_id, Standing.model_id.expression)
    every = found.where(Standing.model_id.in_(kept)).subquery()
    counted = select(every.c.model_id, func.count()).group_by(every.c.model_id).order_by(every.c.model_id)
    return {row[0]: row[1] for row in session.execute(counted)}


def _read_preview(
    rows: Sequence[tuple[Any, ...]], moved: tuple[Moved, ...], kept: Mapping[str, int]
) -> Preview:
    counts: dict[tuple[VerdictValue | None, VerdictValue | None], int] = {}
    histogram = [0] * BINS
    for before, after, bin_, count in rows:
        change = (_read_value(before), _read_value(after))
        counts[change] = counts.get(change, 0) + count
        if bin_ is not None:
            histogram[bin_] += count
    ordered = sorted(counts.items(), key=lambda item: (str(item[0][0]), str(item[0][1])))
    found = tuple((before, after, n) for (before, after), n in ordered)
    return Preview(found, tuple(histogram), moved, kept)


def _read_value(value: str | None) -> VerdictValue | None:
    return None if value is None else VerdictValue(value)


def read_moved(
    analysis_id: str, video_id: str, model_id: str, before: str | None, after: str | None, score: float
) -> Moved:
    """Return what became of one analysis, from the columns of a row."""
    return Moved(analysis_id, video_id, model_id, _read_value(before), _read_value(after), score)


def decide_value(
    policy: Policy | None, others: Sequence[OfModels] = (), kept: Sequence[str] = ()
) -> ColumnElement[Any]:
    """Return ``engine.policy.decide``'s value as an expression over ``standing``; null without a score.

    Of the models ``kept``, and of all without a policy, it is the verdict that stands.
    """
    stands = cast(Standing.verdict, String())
    if policy is None:
        return stands
    rules = _Rules.of(policy, others)
    is_high = Standing.score >= rules.high
    said = case(
        (Standing.score.is_(None), null()),
        (and_(is_high, _is_single_peak(rules)), _text(VerdictValue.INCONCLUSIVE)),
        (is_high, _text(VerdictValue.LIKELY_MANIPULATED)),
        (Standing.score >= rules.low, _text(VerdictValue.INCONCLUSIVE)),
        (or_(_is_low_coverage(rules), _is_partial), _text(VerdictValue.INCONCLUSIVE)),
        else_=_text(VerdictValue.NO_MANIPULATION_FOUND),
    )
    return choose_by_model(said, [(kept, stands)])


def decide_reasons(
    policy: Policy, others: Sequence[OfModels] = (), kept: Sequence[str] = ()
) -> ColumnElement[Any]:
    """Return the reasons of the same verdict in the rule's order, over ``standing`` too."""
    rules = _Rules.of(policy, others)
    is_high = Standing.score >= rules.high
    lead = case(
        (is_high, _text(VerdictReason.HIGH_TRACK_SCORE)),
        (Standing.score >= rules.low, _text(VerdictReason.SCORE_BETWEEN_THRESHOLDS)),
        else_=_text(VerdictReason.LOW_TRACK_SCORES),
    )
    is_picture = or_(Standing.total_us == 0, Standing.reasons.contains([EvidenceReason.STATIC_IMAGE.value]))
    reasons = array(
        [
            lead,
            _when(_is_low_coverage(rules), VerdictReason.LOW_COVERAGE),
            _when(_is_partial, VerdictReason.PARTIAL_EVIDENCE),
            _when(and_(is_high, _is_single_peak(rules)), VerdictReason.SINGLE_FRAME_PEAK),
            _when(is_picture, VerdictReason.SINGLE_PICTURE),
            _when(Standing.score_calibrated.is_(None), VerdictReason.UNCALIBRATED),
            _when(rules.extrapolated, VerdictReason.EXTRAPOLATED_THRESHOLD),
        ]
    )
    none = array([_text(VerdictReason.NO_EVIDENCE)])
    said = case((Standing.score.is_(None), none), else_=func.array_remove(reasons, null()))
    return choose_by_model(said, [(kept, Standing.verdict_reasons.expression)])


_is_partial = Standing.outcome == Outcome.PARTIALLY_SCORED


@dataclass(frozen=True)
class _Rules:
    """What is asked of a row of ``standing``; by its model, where other policies judge some models."""

    low: ColumnElement[float]
    high: ColumnElement[float]
    min_coverage: ColumnElement[float]
    min_peak_frames: ColumnElement[int]
    extrapolated: ColumnElement[bool]

    @classmethod
    def of(cls, policy: Policy, others: Sequence[OfModels]) -> "_Rules":
        """Return the rules of a policy and of those that judge the analyses of some models in its place."""

        def choose(read: Callable[[Policy], ColumnElement[Any]]) -> ColumnElement[Any]:
            return choose_by_model(read(policy), [(each.model_ids, read(each.policy)) for each in others])

        return cls(
            low=choose(lambda each: literal(each.low, Double())),
            high=choose(lambda each: literal(each.high, Double())),
            min_coverage=choose(lambda each: literal(each.min_coverage, Double())),
            min_peak_frames=choose(lambda each: literal(each.min_peak_frames, Integer())),
            extrapolated=choose(lambda each: literal(each.extrapolated, Boolean())),
        )


def choose_by_model(
    usual: ColumnElement[Any], others: Sequence[tuple[Sequence[str], ColumnElement[Any]]]
) -> ColumnElement[Any]:
    """Return what holds of a row of ``standing``: the usual, and something else of some models."""
    of_some = [(Standing.model_id.in_(model_ids), other) for model_ids, other in others if model_ids]
    return case(*of_some, else_=usual) if of_some else usual


def _is_low_coverage(rules: _Rules) -> ColumnElement[bool]:
    return Standing.coverage < rules.min_coverage


def _is_single_peak(rules: _Rules) -> ColumnElement[bool]:
    return and_(Standing.peak_frames.is_not(None), Standing.peak_frames < rules.min_peak_frames)


def _when(condition: ColumnElement[bool], reason: VerdictReason) -> ColumnElement[Any]:
    return case((condition, _text(reason)), else_=null())


def _text(value: str) -> ColumnElement[Any]:
    return literal(str(value), Text())
