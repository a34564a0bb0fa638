"""The job store on Postgres."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

from fakesieve.database import Database
from fakesieve.jobs.sql.batches import SqlBatches
from fakesieve.jobs.sql.finishing import SqlFinishing
from fakesieve.jobs.sql.outbox import SqlOutbox
from fakesieve.jobs.sql.overdue import SqlOverdue
from fakesieve.jobs.sql.submitting import SqlSubmitting

Answer = TypeVar("Answer")


class SqlJobTransaction(SqlSubmitting, SqlFinishing, SqlOverdue, SqlOutbox, SqlBatches):
    """All operations of ``JobTransaction`` over one session."""


class SqlJobStore:
    """Jobs in Postgres, as one tenant sees them or, without a tenant, as the fleet does."""

    def __init__(self, database: Database, tenant_id: str | None = None) -> None:
        self._database, self._tenant_id = database, tenant_id

    @contextmanager
    def transaction(self) -> Generator[SqlJobTransaction]:
        """Begin; commit at the end of the block, undo when it raises."""
        with self._database.transaction(tenant_id=self._tenant_id) as session:
            yield SqlJobTransaction(session)

    def run(self, work: Callable[[SqlJobTransaction], Answer]) -> Answer:
        """Run ``work`` in a transaction, again when it was undone for another one's sake."""
        return self._database.run_transaction(
            lambda session: work(SqlJobTransaction(session)), tenant_id=self._tenant_id
        )

    def run_alone(self, work: Callable[[SqlJobTransaction], Answer]) -> Answer:
        """Run ``work`` that writes with its first statement or not at all, with no transaction around it."""
        return self._database.run_alone(
            lambda session: work(SqlJobTransaction(session)), tenant_id=self._tenant_id
        )
