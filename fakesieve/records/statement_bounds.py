"""How long a statement over a tenant's history may take, and how much memory it has."""

from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from fakesieve.filters.tree import FilterInvalid

QUERY_MS_MAX = 15_000
HISTORY_MS_MAX = 30_000
"""For a look at all that a tenant has stored, as a change of policy asks for."""
_CANCELED = "57014"

# The rows of one tenant lie between those of all others. A note of their pages does not fit into the usual
# 4 MB, so that the whole table is read instead: 109,000 rows of a million take four times as long. Here the
# note of some 400,000 pages fits, 3 GB.
_MEMORY = "32MB"


def give_memory(session: Session) -> None:
    """Let the statements of the transaction from here on find many rows of one tenant by an index."""
    session.execute(_SET_MEMORY, {"memory": _MEMORY})


@contextmanager
def bounded(session: Session, limit_ms: int = QUERY_MS_MAX) -> Generator[None]:
    """Hold the statements of a block to a time, and blame the filter for what takes longer.

    They have memory for a tenant's whole history. What follows in the transaction has no more time, and as
    much memory.
    """
    session.execute(_SET_BOUNDS, {"limit": str(limit_ms), "memory": _MEMORY})
    try:
        yield
    except OperationalError as fault:
        if getattr(fault.orig, "sqlstate", None) != _CANCELED:
            raise
        raise FilterInvalid(
            f"the filter took longer than {limit_ms // 1000} s",
            'narrow it, as by create_time > "2026-01-31", or ask for a verdict first',
        ) from fault


_SET_MEMORY = text("SELECT set_config('work_mem', :memory, true)")
_SET_BOUNDS = text(
    "SELECT set_config('statement_timeout', :limit, true), set_config('work_mem', :memory, true)"
)
