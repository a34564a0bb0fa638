"""Models that have made a score. A row never changes: other weights are another model."""

from dataclasses import dataclass

from sqlalchemy import CheckConstraint, UniqueConstraint, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session

from fakesieve.ids import IdPrefix
from fakesieve.records.table import Base, CreateTime, Id, public_id


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
