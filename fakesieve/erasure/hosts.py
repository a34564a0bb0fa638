"""What a worker host does for erasures: it lets go of copies, and says so."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session

from fakesieve.erasure.plan import ErasurePlan
from fakesieve.objects import VideoRef
from fakesieve.records.erasure import Erasure, ErasureHost
from fakesieve.values.erasure import ErasureState

_PLAIN = {"synchronize_session": False}


@dataclass(frozen=True)
class Letting:
    """Objects of which this host must hold no copy any more."""

    erasure_id: str
    refs: tuple[VideoRef, ...]


def list_lettings(session: Session, owner: str, limit: int = 100) -> list[Letting]:
    """Return what a host is asked to let go of."""
    wanted = (
        select(Erasure.id, Erasure.plan)
        .join(ErasureHost, ErasureHost.erasure_id == Erasure.id)
        .where(
            ErasureHost.owner == owner,
            ErasureHost.clear_time.is_(None),
            Erasure.state == ErasureState.RUNNING,
        )
        .order_by(Erasure.create_time)
        .limit(limit)
    )
    return [
        Letting(row.id, ErasurePlan.from_json(row.plan).held) for row in session.execute(wanted) if row.plan
    ]


def confirm_lettings(session: Session, owner: str, erasure_ids: Sequence[str]) -> None:
    """Note that a host holds nothing any more of what these erasures are about.

    Those that waited for no other host are due at once, as nobody else would come to finish them. One that
    somebody works on at this moment is left to them, so that no heartbeat waits for it.
    """
    session.execute(
        update(ErasureHost)
        .where(ErasureHost.owner == owner, ErasureHost.erasure_id.in_(erasure_ids))
        .values(clear_time=func.now()),
        execution_options=_PLAIN,
    )
    is_awaited = exists().where(ErasureHost.erasure_id == Erasure.id, ErasureHost.clear_time.is_(None))
    free = (
        select(Erasure.id)
        .where(Erasure.id.in_(erasure_ids), Erasure.state == ErasureState.RUNNING, ~is_awaited)
        .with_for_update(skip_locked=True)
    )
    due = update(Erasure).where(Erasure.id.in_(free)).values(try_time=None)
    session.execute(due, execution_options=_PLAIN)
