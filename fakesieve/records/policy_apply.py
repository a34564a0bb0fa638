"""A change of policy over stored analyses: which of them it is about, and what it writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Select,
    Text,
    any_,
    bindparam,
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
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session
from sqlalchemy.types import String

from fakesieve.filters.check import EVERYTHING, Filter
from fakesieve.records.analysis_lists import select_deleted, select_standing
from fakesieve.records.analysis_tables import Verdict
from fakesieve.records.filter_sql import compile_filter
from fakesieve.records.policies import Judge
from fakesieve.records.policy_sql import (
    Moved,
    choose_by_model,
    decide_reasons,
    decide_value,
    read_moved,
)
from fakesieve.records.rulings import name_policy_in_force
from fakesieve.records.standings import Standing
from fakesieve.records.statement_bounds import give_memory
from fakesieve.records.table import ID_TYPE

FOUND_AT_ONCE = 200_000  # ids of 30 bytes
_MOVED = ("analysis_id", "video_id", "model_id", "before", "after", "score")


@dataclass(frozen=True)
class ToJudge:
    """What a change is about: ``ids`` are first to be written.

    ``seen`` counts it without deleted videos and without what stays as it stands.
    """

    seen: int
    ids: tuple[str, ...]


def find_to_judge(
    session: Session,
    tenant_id: str,
    judge: Judge,
    wanted: Filter = EVERYTHING,
    *,
    after_id: str = "",
    limit: int = FOUND_AT_ONCE,
) -> ToJudge:
    """Find the next analyses of a tenant, by id, that a change writes.

    What was judged since the change began (``judge.use_id``) is passed over. With a filter all are to be
    written that fit and stand by another policy; without one only those of which the policy says something
    else than holds, and those of deleted videos too. None that is found later lies before one found earlier.
    Without a filter those of models are written too that another policy than the judge's first one judges
    (``judge.others``): a ruling names one policy, and they stand by theirs. So are, once, those that stay as
    they stand (``judge.kept``), and that a ruling would speak of.
    """
    found = (
        _select_whole(tenant_id, judge) if wanted == EVERYTHING else _select_part(tenant_id, judge, wanted)
    )
    # Looked at once and whole. Asked for the first ids alone, the planner walks the rows of all tenants in
    # the order of ids, in the hope of finding enough of this one's early.
    every = found.where(_is_earlier(judge), Standing.analysis_id > after_id).cte("every")
    every = every.prefix_with("MATERIALIZED", dialect="postgresql")
    seen = select(func.count()).where(~every.c.is_deleted, ~every.c.is_kept).scalar_subquery()
    first = select(every.c.analysis_id).where(every.c.is_other).order_by(every.c.analysis_id).limit(limit)
    give_memory(session)
    count, ids = session.execute(
        select(seen, func.array(first.scalar_subquery(), type_=ARRAY(ID_TYPE)))
    ).one()
    return ToJudge(count, tuple(ids))


def write_verdicts(session: Session, tenant_id: str, judge: Judge, ids: Sequence[str]) -> tuple[Moved, ...]:
    """Write what a policy says of analyses that were found, and make it the verdict that holds.

    One that was judged since the change began is left as it is. One of ``judge.kept`` keeps what it has, and
    says by which policy, so that no ruling speaks of it, but not since when: nobody has judged it so, and it
    can be judged again once it is known by what. Returns those whose verdict moves, by id,
    without those of deleted videos.
    """
    if not ids:
        return ()
    is_given: ColumnElement[bool] = Standing.analysis_id == any_(
        bindparam("ids", list(ids), type_=ARRAY(ID_TYPE))
    )
    chosen = (
        select(Standing.analysis_id, *_say(judge, tenant_id), _is_deleted(tenant_id))
        .where(is_given, _is_earlier(judge))
        .order_by(Standing.analysis_id)  # in which rows are locked
        .with_for_update(of=Standing, key_share=True)
        .cte("chosen")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    said = {
        "verdict": chosen.c.after,
        "policy_id": chosen.c.policy_id,
        "use_id": chosen.c.use_id,
        "verdict_reasons": chosen.c.reasons,
    }
    shown: list[ColumnElement[Any]] = [chosen.c[name] for name in (*_MOVED, "is_deleted")]
    written = update(Standing).where(is_given, Standing.analysis_id == chosen.c.analysis_id).values(said)
    written = written.returning(*shown).add_cte(_keep_verdicts(chosen, tenant_id))
    rows = session.execute(written, execution_options={"synchronize_session": False}).all()
    told = (read_moved(*each) for *each, is_deleted in rows if not is_deleted)
    return tuple(sorted((each for each in told if each.before is not each.after), key=_read_id))


def _read_id(moved: Moved) -> str:
    return moved.analysis_id


def _is_earlier(judge: Judge) -> ColumnElement[bool]:
    """Return the condition that a verdict was given before a change began, or by a release without uses."""
    return or_(Standing.use_id.is_(None), Standing.use_id < judge.use_id)


def _is_deleted(tenant_id: str) -> ColumnElement[bool]:
    return Standing.analysis_id.in_(select_deleted(tenant_id)).label("is_deleted")


def _is_kept(judge: Judge) -> ColumnElement[bool]:
    return Standing.model_id.in_(judge.kept) if judge.kept else false()


def _say(judge: Judge, tenant_id: str) -> list[ColumnElement[Any]]:
    """Return what is written and told of an analysis beside its id: what holds, and what the policy says."""
    others = tuple(judge.others.values())
    return [
        _name_judging(judge, tenant_id).label("policy_id"),
        choose_by_model(literal(judge.use_id, BigInteger()), [(judge.kept, null())]).label("use_id"),
        Standing.video_id.label("video_id"),
        Standing.model_id.label("model_id"),
        cast(Standing.verdict, String()).label("before"),
        Standing.score.label("score"),
        decide_value(judge.policy, others, judge.kept).label("after"),
        decide_reasons(judge.policy, others, judge.kept).label("reasons"),
    ]


def _name_judging(judge: Judge, tenant_id: str) -> ColumnElement[str]:
    """Return the id of the policy that judges a row, which is that in force where it stays as it stands."""
    others: list[tuple[Sequence[str], ColumnElement[str]]] = [
        (each.model_ids, literal(policy_id, ID_TYPE)) for policy_id, each in judge.others.items()
    ]
    others.append((judge.kept, name_policy_in_force(tenant_id, Standing.use_id, Standing.policy_id)))
    return choose_by_model(literal(judge.policy_id, ID_TYPE), others)


def _select_part(tenant_id: str, judge: Judge, wanted: Filter) -> Select[Any]:
    """Return the analyses that fit a filter and stand by another policy; each is to be written."""
    in_force = name_policy_in_force(tenant_id, Standing.use_id, Standing.policy_id)
    labels = true().label("is_other"), false().label("is_deleted"), false().label("is_kept")
    fitting = select_standing(compile_filter(wanted, tenant_id), tenant_id, *labels)
    return fitting.where(in_force != _name_judging(judge, tenant_id))


def _select_whole(tenant_id: str, judge: Judge) -> Select[Any]:
    """Return all analyses of a tenant; those that the policy judges otherwise are to be written.

    So are those that do not say since when they stand as they do, and those that stand by another policy than
    a ruling of this judge says. Of those that stay only the ones are written of which a ruling could speak.
    """
    others = tuple(judge.others.values())
    is_other: ColumnElement[bool] = or_(
        Standing.use_id.is_(None),
        Standing.verdict.is_distinct_from(decide_value(judge.policy, others)),
        Standing.verdict_reasons != cast(decide_reasons(judge.policy, others), ARRAY(Text())),
        *(Standing.model_id.in_(each.model_ids) for each in others),
    )
    is_other = choose_by_model(is_other, [(judge.kept, Standing.use_id.is_not(None))])
    labels = is_other.label("is_other"), _is_deleted(tenant_id), _is_kept(judge).label("is_kept")
    columns: list[ColumnElement[Any]] = [Standing.analysis_id.expression, *labels]
    return select(*columns).where(Standing.tenant_id == tenant_id)


def _keep_verdicts(chosen: CTE, tenant_id: str) -> CTE:
    """Return the statement that keeps what the policy says, beside what other policies have said."""
    lines = select(
        literal(tenant_id), chosen.c.analysis_id, chosen.c.policy_id,
        chosen.c.after, chosen.c.score, chosen.c.reasons,
    )  # fmt: skip
    columns = ["tenant_id", "analysis_id", "policy_id", "value", "score_used", "reasons"]
    return insert(Verdict).from_select(columns, lines).on_conflict_do_nothing().cte("written")
