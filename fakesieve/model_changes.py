"""What a tenant uses a model for, changed: kept, told to whoever listens, and written into the log."""

from sqlalchemy.orm import Session

from fakesieve.errors import RequestRefused
from fakesieve.reasons import Reason
from fakesieve.records.audit import record_audit
from fakesieve.records.model_lists import ModelLine, WayBack, find_way_back, roll_back, set_alias
from fakesieve.values.models import ModelAlias
from fakesieve.values.webhooks import EventType
from fakesieve.webhooks.events import record_event


def change_alias(session: Session, tenant_id: str, line: ModelLine, alias: ModelAlias, *, actor: str) -> bool:
    """Use a model for something from now on; False, and nothing written, where it is so already."""
    if alias in line.aliases:
        return False
    set_alias(session, tenant_id, alias, line.id, actor=actor)
    _tell(session, tenant_id, line.id, alias, actor)
    return True


def foresee_back(session: Session, tenant_id: str, alias: ModelAlias) -> WayBack:
    """Say what ``go_back`` would do, and do nothing. Raises RequestRefused (STATE_CONFLICT) as it does."""
    way = find_way_back(session, tenant_id, alias)
    if way is None:
        raise _refuse_back(alias)
    return way


def go_back(session: Session, tenant_id: str, alias: ModelAlias, *, actor: str) -> WayBack:
    """Use the model before again and say which. Raises RequestRefused (STATE_CONFLICT) without one."""
    way = roll_back(session, tenant_id, alias, actor=actor)
    if way is None:
        raise _refuse_back(alias)
    _tell(session, tenant_id, way.to_id, alias, actor)
    return way


def _refuse_back(alias: ModelAlias) -> RequestRefused:
    return RequestRefused(Reason.STATE_CONFLICT, f"no model was {alias} before", "promote one")


def _tell(session: Session, tenant_id: str, model_id: str, alias: ModelAlias, actor: str) -> None:
    data = {"model_id": model_id, "alias": alias.value, "actor": actor}
    record_event(session, tenant_id, EventType.MODEL_PROMOTED, data)
    record_audit(
        session,
        tenant_id=tenant_id,
        actor=actor,
        action="model.promoted",
        subject=model_id,
        details={"alias": alias.value},
    )
