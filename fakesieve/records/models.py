"""Models that have made a score. A row never changes: other weights are another model."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from fakesieve.ids import IdPrefix
from fakesieve.records.table import (
    Base,
    CreateTime,
    Id,
    JsonObject,
    TenantOwned,
    choice,
    public_id,
    tenant_key,
)
from fakesieve.values.models import ModelAlias


@dataclass(frozen=True)
class ModelFacts:
    """The model that made a score and how it was run, as ``scan`` names them."""

    name: str
    weights_sha256: str
    engine: str
    precision: str

    def __post_init__(self) -> None:
        if not (self.name and self.weights_sha256 and self.engine and self.precision):
            raise ValueError("a model has a name, the hash of its weights, an engine and a precision")


class Model(CreateTime, Base):
    """A set of weights by its name and hash; all tenants share it."""

    __tablename__ = "model"
    __table_args__ = (
        UniqueConstraint("name", "weights_sha256"),
        CheckConstraint("weights_sha256 ~ '^[0-9a-f]{64}$'", name="weights_sha256"),
    )

    id: Mapped[Id] = public_id(IdPrefix.MODEL)
    name: Mapped[str]
    weights_sha256: Mapped[str]


def ensure_model(session: Session, facts: ModelFacts) -> str:
    """Return the id of a model, whose row is made if there is none."""
    wanted = select(Model.id).where(Model.name == facts.name, Model.weights_sha256 == facts.weights_sha256)
    found = session.scalar(wanted)
    if found is not None:
        return found
    row = insert(Model).values(name=facts.name, weights_sha256=facts.weights_sha256)
    made = session.scalar(row.on_conflict_do_nothing().returning(Model.id))
    return made or session.scalars(wanted).one()


class ModelCard(Base):
    """What is known of a model: training data, measured error rates, what it was not shown to detect."""

    __tablename__ = "model_card"

    model_id: Mapped[Id] = mapped_column(ForeignKey("model.id", ondelete="CASCADE"), primary_key=True)
    card: Mapped[JsonObject]
    update_time: Mapped[datetime] = mapped_column(server_default=func.now())


class ModelPolicy(Base):
    """The policy that a model brings, as the last host that runs it has said: it judges where a tenant has
    chosen none.
    """

    __tablename__ = "model_policy"

    model_id: Mapped[Id] = mapped_column(ForeignKey("model.id", ondelete="CASCADE"), primary_key=True)
    policy_id: Mapped[Id] = mapped_column(ForeignKey("policy.id", ondelete="RESTRICT"))
    update_time: Mapped[datetime] = mapped_column(server_default=func.now())


class AliasChange(TenantOwned, CreateTime, Base):
    """One change of an alias; the newest holds. A roll-back names the change that it undoes."""

    __tablename__ = "model_alias_change"
    __table_args__ = (tenant_key(), Index(None, "tenant_id", "alias", "id"))

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    alias: Mapped[ModelAlias] = mapped_column(choice(ModelAlias))
    model_id: Mapped[Id | None] = mapped_column(ForeignKey("model.id", ondelete="RESTRICT"))
    undoes: Mapped[int | None] = mapped_column(ForeignKey("model_alias_change.id"))
    actor: Mapped[str]


def store_card(session: Session, model_id: str, card: Mapping[str, object]) -> None:
    """Keep the card of a model; another one replaces it, the same one writes nothing."""
    row = insert(ModelCard).values(model_id=model_id, card=dict(card))
    session.execute(
        row.on_conflict_do_update(
            index_elements=["model_id"],
            set_={"card": row.excluded.card, "update_time": func.now()},
            where=ModelCard.card != row.excluded.card,
        )
    )


def store_model_policy(session: Session, model_id: str, policy_id: str) -> None:
    """Keep which policy a model brings; another one replaces it, the same one writes nothing."""
    row = insert(ModelPolicy).values(model_id=model_id, policy_id=policy_id)
    session.execute(
        row.on_conflict_do_update(
            index_elements=["model_id"],
            set_={"policy_id": policy_id, "update_time": func.now()},
            where=ModelPolicy.policy_id != policy_id,
        )
    )
