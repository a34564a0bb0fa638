"""Stand-ins with the behaviour of the real thing; contract tests run against both."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tests.simulation.memory_journal import MemoryTables
from tests.simulation.memory_overdue import MemoryTransaction

Answer = TypeVar("Answer")


class MemoryJobStore(MemoryTables):
    """A job store in memory with serialisable transactions: one runs at a time, and can be undone."""

    def __init__(
        self, read_clock: Callable[[], float], transaction: type[MemoryTransaction] = MemoryTransaction
    ) -> None:
        super().__init__(read_clock)
        self.tx = transaction(self)

    @contextmanager
    def transaction(self) -> Iterator[MemoryTransaction]:
        try:
            yield self.tx
        except BaseException:
            self.tx.undo()
            raise
        self.tx.commit()

    def run(self, work: Callable[[MemoryTransaction], Answer]) -> Answer:
        try:
            answer = work(self.tx)
        except BaseException:
            self.tx.undo()
            raise
        self.tx.commit()
        return answer

    def run_alone(self, work: Callable[[MemoryTransaction], Answer]) -> Answer:
        return self.run(work)
