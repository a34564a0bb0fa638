"""What all tables share: the declarative base, constraint names, and the columns that recur."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Enum,
    ForeignKeyConstraint,
    LargeBinary,
    MetaData,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Mapped, Session, mapped_column
from sqlalchemy.types import TypeEngine

from fakesieve.database import TENANT_VARIABLE
from fakesieve.ids import IdPrefix, new_id

# Fixed names, so that a migration can drop what another one made.
NAMING_CONVENTION = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}
CHOICE_LENGTH_MAX = 40

JsonObject = dict[str, object]
# Ids are compared by bytes, so that they sort by their time whatever locale the database was made with.
Id = Annotated[str, "id"]
ID_TYPE = Text(collation="C")


class Base(DeclarativeBase):
    """Mother of all tables. Text has no length, times carry their zone, integers have 64 bits."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    # The base class asks for this type: the columns hold values of different kinds.
    type_annotation_map: ClassVar[dict[Any, TypeEngine[Any]]] = {
        str: Text(),
        Id: ID_TYPE,
        int: BigInteger(),
        datetime: TIMESTAMP(timezone=True),
        JsonObject: JSONB(),
        bytes: LargeBinary(),
    }


class CreateTime:
    """When the row was written, by the database's clock."""

    create_time: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=90)


class TenantOwned:
    """A row of one tenant. Row-level security hides it from every other tenant.

    The column is no foreign key: each insert would lock the one row of the tenant that all of them share.
    Tables that begin a chain, such as ``video``, have the key; the rest hang on them.
    """

    tenant_id: Mapped[Id] = mapped_column(sort_order=-90)


def tenant_key() -> ForeignKeyConstraint:
    """Return the foreign key from ``tenant_id`` to its tenant."""
    return ForeignKeyConstraint(["tenant_id"], ["tenant.id"], ondelete="RESTRICT")


def is_at_hand(session: Session, tenant_id: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """The condition that a row is of the tenant that the transaction names.

    Row-level security asks for it as well, but of a tenant that the planner does not know: it takes each for
    an average one. For the fleet's role it asks beside that for all tenants, in a form that no index can
    answer: a list of the newest jobs read every job there is.
    """
    return tenant_id == session.info[TENANT_VARIABLE]


def public_id(prefix: IdPrefix) -> Mapped[Id]:
    """Return a primary key column that makes its own ids."""
    return mapped_column(primary_key=True, default=lambda: new_id(prefix), sort_order=-100)


def choice(values: type[StrEnum], *, name: str | None = None, is_checked: bool = True) -> Enum:
    """Return the column type of a closed list: its text, checked by the database.

    ``name`` names the constraint; it is needed when a table has two columns of the same list. A column that
    is not checked here has a constraint of its own.
    """
    longest = max(len(value) for value in values)
    if longest > CHOICE_LENGTH_MAX:
        raise ValueError(f"{values.__name__} has a value of {longest} characters, over {CHOICE_LENGTH_MAX}")
    return Enum(
        values,
        name=name or re.sub(r"(?<!^)(?=[A-Z])", "_", values.__name__).lower(),
        native_enum=False,
        create_constraint=is_checked,
        length=CHOICE_LENGTH_MAX,
        values_callable=_list_values,
        validate_strings=True,
    )


def _list_values(values: type[StrEnum]) -> list[str]:
    return [value.value for value in values]
