"""What goes wrong between the hosts of a simulation: the store's replies and the broker's messages."""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import TypeVar

from fakesieve.errors import Unavailable
from fakesieve.jobs.rows import ShardKey, Waiting
from fakesieve.jobs.states import Lane
from fakesieve.reasons import Reason
from tests.fakes import MemoryJobStore
from tests.simulation.memory_overdue import MemoryTransaction

Answer = TypeVar("Answer")
LOST = Unavailable(Reason.DATABASE_UNAVAILABLE, "no reply")
REFUSED = Unavailable(Reason.BROKER_UNAVAILABLE, "connection refused")


class FaultyStore(MemoryJobStore):
    """A store that sometimes gives no reply, and then has or has not committed, or runs the work twice."""

    def __init__(
        self,
        read_clock: Callable[[], float],
        transaction: type[MemoryTransaction],
        random: Callable[[], float],
    ) -> None:
        super().__init__(read_clock, transaction)
        self.random = random
        self.fault_rate = 0.0  # share of the transactions that go wrong
        self.unknown_commits = 0

    def run(self, work: Callable[[MemoryTransaction], Answer]) -> Answer:
        draw = self.random()
        if draw < self.fault_rate:
            kind = int(draw / self.fault_rate * 3)
            if kind == 0:
                raise LOST
            if kind == 1:
                super().run(work)
                self.unknown_commits += 1
                raise LOST
            try:
                work(self.tx)  # a conflict: undone, and run again
            finally:
                self.tx.undo()
        return super().run(work)


class FaultyBroker:
    """A broker that drops, doubles, delays and mixes up messages, refuses them, or forgets them all."""

    def __init__(self, read_clock: Callable[[], float], random: Random) -> None:
        self.read_clock, self.random = read_clock, random.random
        self.messages: list[tuple[float, ShardKey]] = []
        self.lanes: dict[ShardKey, Lane] = {}
        self.is_down = False
        self.fault_rate = 0.0

    def ring(self, waiting: Waiting) -> None:
        if self.is_down:
            raise REFUSED
        self.lanes[waiting.key] = waiting.lane
        draw, now_s = self.random(), self.read_clock()
        if draw < self.fault_rate:
            kind = int(draw / self.fault_rate * 4)
            if kind == 1:  # twice, the second one late
                self.messages.append((now_s + 100.0 * self.random(), waiting.key))
            elif kind == 2:  # late
                now_s += 60.0 * self.random()
            elif kind == 3:  # never
                return
        self.messages.append((now_s, waiting.key))

    def count_held(self) -> Counter[Lane]:
        if self.is_down:
            raise REFUSED
        return Counter(self.lanes[key] for _, key in self.messages)

    def take(self) -> ShardKey | None:
        """Return any message that is due: the order is not kept."""
        messages = self.messages
        if not messages or self.is_down:
            return None
        place = int(self.random() * len(messages))
        if messages[place][0] > self.read_clock():
            return None
        return messages.pop(place)[1]
