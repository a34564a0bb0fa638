"""Models as a tenant sees them: what they are used for, which hosts run them, how two of them differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import CTE, String, case, cast, func, select
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.orm import Session, aliased

from engine.results import VerdictValue
from fakesieve.filters.check import EVERYTHING, Filter
from fakesieve.records.analysis_lists import bounded, select_standing
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.filter_sql import Source, compile_filter
from fakesieve.records.jobs import WorkerHost
from fakesieve.records.models import AliasChange, Model, ModelCard
from fakesieve.records.standings import Standing
from fakesieve.records.table import JsonObject
from fakesieve.records.videos import Video
from fakesieve.values.models import ModelAlias

HOST_SILENCE_S = 120
FLIPS_MAX = 1000


@dataclass(frozen=True)
class ModelLine:
    """A model. ``hosts`` counts running worker hosts that score with it; ``card`` is null before one did."""

    id: str
    name: str
    weights_sha256: str
    create_time: datetime
    aliases: tuple[ModelAlias, ...]
    hosts: int
    card: JsonObject | None


@dataclass(frozen=True)
class Flip:
    """One video of which two models lead to different verdicts."""

    video_id: str
    base_id: str
    other_id: str
    base: VerdictValue | None
    other: VerdictValue | None
    base_score: float | None
    other_score: float | None


@dataclass(frozen=True)
class Comparison:
    """Two models over the videos that both have judged. ``mean_difference`` is other - base, of scores."""

    counts: tuple[tuple[VerdictValue | None, VerdictValue | None, int], ...]
    mean_difference: float | None
    mean_distance: float | None
    flips: tuple[Flip, ...]

    @property
    def video_count(self) -> int:
        """Videos that both have judged."""
        return sum(count for _, _, count in self.counts)

    @property
    def flip_count(self) -> int:
        """Videos whose verdict differs."""
        return sum(count for base, other, count in self.counts if base is not other)


def list_models(session: Session, tenant_id: str) -> list[ModelLine]:
    """Return all models, newest first, with what the tenant uses them for."""
    aliases = find_aliases(session, tenant_id)
    hosts = count_hosts(session)
    rows = session.execute(
        select(Model, ModelCard.card)
        .outerjoin(ModelCard, ModelCard.model_id == Model.id)
        .order_by(Model.create_time.desc(), Model.id.desc())
    )
    return [
        ModelLine(
            id=model.id,
            name=model.name,
            weights_sha256=model.weights_sha256,
            create_time=model.create_time,
            aliases=tuple(alias for alias, model_id in aliases.items() if model_id == model.id),
            hosts=hosts.get(model.id, 0),
            card=card,
        )
        for model, card in rows
    ]


def find_model_line(session: Session, tenant_id: str, name: str) -> ModelLine | None:
    """Return a model by its id or by what the tenant uses it for, such as ``champion``."""
    lines = list_models(session, tenant_id)
    return next((line for line in lines if name == line.id or name in line.aliases), None)


def count_hosts(session: Session) -> dict[str | None, int]:
    """Return how many running hosts score with each model; None are those that have not said so."""
    rows = session.execute(
        select(WorkerHost.model_id, func.count())
        .where(
            ~WorkerHost.is_draining,
            WorkerHost.beat_time > func.now() - func.make_interval(0, 0, 0, 0, 0, 0, HOST_SILENCE_S),
        )
        .group_by(WorkerHost.model_id)
    )
    return {row[0]: row[1] for row in rows}


def find_aliases(session: Session, tenant_id: str) -> dict[ModelAlias, str]:
    """Return which model a tenant uses for what."""
    held: dict[ModelAlias, str] = {}
    for alias in ModelAlias:
        stack = _replay(_list_changes(session, tenant_id, alias))
        if stack:
            held[alias] = stack[-1][1]
    return held


def set_alias(session: Session, tenant_id: str, alias: ModelAlias, model_id: str, *, actor: str) -> None:
    """Use a model for something; what was used before stays on record for a roll-back."""
    _lock(session, tenant_id)
    values = {"tenant_id": tenant_id, "alias": alias, "model_id": model_id, "actor": actor}
    session.execute(insert(AliasChange).values(**values))


def roll_back(session: Session, tenant_id: str, alias: ModelAlias, *, actor: str) -> str | None:
    """Use the model before again, and return its id; None where there was none before.

    A second roll-back goes back one more, and never forward.
    """
    _lock(session, tenant_id)
    stack = _replay(_list_changes(session, tenant_id, alias))
    if len(stack) < 2:
        return None
    undone, before = stack[-1][0], stack[-2][1]
    values = {"tenant_id": tenant_id, "alias": alias, "model_id": before, "undoes": undone, "actor": actor}
    session.execute(insert(AliasChange).values(**values))
    return before


def _lock(session: Session, tenant_id: str) -> None:
    """Let one change of a tenant's aliases follow the other."""
    session.execute(select(func.pg_advisory_xact_lock(_LOCK, func.hashtext(tenant_id))))


_LOCK = 0x6D646C


def _list_changes(session: Session, tenant_id: str, alias: ModelAlias) -> Sequence[AliasChange]:
    wanted = select(AliasChange).where(AliasChange.tenant_id == tenant_id, AliasChange.alias == alias)
    return session.scalars(wanted.order_by(AliasChange.id)).all()


def _replay(changes: Sequence[AliasChange]) -> list[tuple[int, str]]:
    """Return the uses that stand, oldest first, as the change that began each and its model."""
    stack: list[tuple[int, str]] = []
    for change in changes:
        if change.undoes is not None:
            stack.pop()
        elif change.model_id is not None:
            stack.append((change.id, change.model_id))
    return stack


def pair_judgements(tenant_id: str, base_id: str, other_id: str, wanted: Filter) -> tuple[CTE, CTE]:
    """Return what two models say of a tenant's videos: analysis_id, video_id, verdict and score of each.

    The filter is about the base's analyses. Of several by one model the newest counts.
    """
    base = (
        select_standing(
            compile_filter(wanted, tenant_id),
            tenant_id,
            Analysis.video_id.label("video_id"),
            cast(Standing.verdict, String()).label("verdict"),
            Standing.score.label("score"),
            needs=(Source.ANALYSIS,),
        )
        .where(Analysis.model_id == base_id)
        .ext(distinct_on(Analysis.video_id))
        .order_by(Analysis.video_id, Standing.create_time.desc())
        .cte("base")
    )
    analysis, standing = aliased(Analysis), aliased(Standing)
    other = (
        select(
            standing.analysis_id,
            analysis.video_id,
            cast(standing.verdict, String()).label("verdict"),
            standing.score,
        )
        .join(analysis, analysis.id == standing.analysis_id)
        .where(standing.tenant_id == tenant_id, analysis.model_id == other_id)
        .ext(distinct_on(analysis.video_id))
        .order_by(analysis.video_id, standing.create_time.desc())
        .cte("other")
    )
    return base, other


def compare_models(
    session: Session,
    tenant_id: str,
    base_id: str,
    other_id: str,
    wanted: Filter = EVERYTHING,
    *,
    flips_max: int = 100,
) -> Comparison:
    """Hold two models against each other on the videos of a tenant that both have judged.

    The filter is about the base's analyses. Of several by one model, as after a change of the pipeline, the
    newest counts. Flips begin with those whose scores lie farthest apart.
    """
    base, other = pair_judgements(tenant_id, base_id, other_id, wanted)
    pairs = base.c.video_id == other.c.video_id
    difference = other.c.score - base.c.score
    with bounded(session):
        counts = session.execute(
            select(base.c.verdict, other.c.verdict, func.count())
            .select_from(base.join(other, pairs))
            .group_by(base.c.verdict, other.c.verdict)
            .order_by(base.c.verdict, other.c.verdict)
        ).all()
        means = session.execute(
            select(func.avg(difference), func.avg(func.abs(difference))).select_from(base.join(other, pairs))
        ).one()
        flips = session.execute(
            select(
                base.c.video_id, base.c.analysis_id, other.c.analysis_id,
                base.c.verdict, other.c.verdict, base.c.score, other.c.score,
            )
            .select_from(base.join(other, pairs))
            .where(base.c.verdict.is_distinct_from(other.c.verdict))
            .order_by(case((difference.is_(None), 1.0), else_=func.abs(difference)).desc(), base.c.video_id)
            .limit(min(flips_max, FLIPS_MAX))
        ).all()  # fmt: skip
    return Comparison(
        tuple((_read(row[0]), _read(row[1]), row[2]) for row in counts),
        means[0],
        means[1],
        tuple(_read_flip(row) for row in flips),
    )


def _read(value: str | None) -> VerdictValue | None:
    return None if value is None else VerdictValue(value)


def _read_flip(row: Any) -> Flip:
    return Flip(row[0], row[1], row[2], _read(row[3]), _read(row[4]), row[5], row[6])


@dataclass(frozen=True)
class Target:
    """A video to be scored again, by its newest place."""

    video_id: str
    external_id: str | None


def find_targets(
    session: Session, tenant_id: str, model_id: str, wanted: Filter, *, limit: int
) -> list[Target]:
    """Return videos with an analysis that fits a filter, and none by the model yet."""
    scored = aliased(Analysis)
    done = select(scored.video_id).where(scored.tenant_id == tenant_id, scored.model_id == model_id)
    statement = (
        select_standing(
            compile_filter(wanted, tenant_id),
            tenant_id,
            needs=(Source.ANALYSIS, Source.VIDEO),
        )
        .with_only_columns(Video.id, Video.external_id)
        .where(Video.id.not_in(done))
        .distinct()
        .order_by(Video.id)
        .limit(limit)
    )
    with bounded(session):
        return [Target(row[0], row[1]) for row in session.execute(statement)]
