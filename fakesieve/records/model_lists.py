"""Models as a tenant sees them: what they are used for and which hosts run them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from fakesieve.records.jobs import WorkerHost
from fakesieve.records.models import AliasChange, Model, ModelCard
from fakesieve.records.table import JsonObject
from fakesieve.values.models import ModelAlias

HOST_SILENCE_S = 120


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
class WayBack:
    """What a roll-back of a use does: which model it leaves, and which one is used again; both by id."""

    from_id: str
    to_id: str


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


def find_way_back(session: Session, tenant_id: str, alias: ModelAlias) -> WayBack | None:
    """Return what a roll-back would do now; None where no model was used so before."""
    stack = _replay(_list_changes(session, tenant_id, alias))
    return WayBack(stack[-1][1], stack[-2][1]) if len(stack) > 1 else None


def roll_back(session: Session, tenant_id: str, alias: ModelAlias, *, actor: str) -> WayBack | None:
    """Use the model before again, and say which; None where there was none before.

    A second roll-back goes back one more, and never forward.
    """
    _lock(session, tenant_id)
    stack = _replay(_list_changes(session, tenant_id, alias))
    if len(stack) < 2:
        return None
    undone, way = stack[-1][0], WayBack(stack[-1][1], stack[-2][1])
    values = {"tenant_id": tenant_id, "alias": alias, "model_id": way.to_id, "undoes": undone, "actor": actor}
    session.execute(insert(AliasChange).values(**values))
    return way


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
