"""Which requests for the network go together, and when: a function of what waits and of the time.

Requests of all videos on a host meet here. Whole batches go at once; a part of one waits for company, but
never longer than ``max_wait_s``. When more waits than fits, lanes share the engine by weight, so that a
backlog in bulk slows interactive work by a tenth and no more, and no lane starves.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from fakesieve.jobs.states import Lane

LANE_WEIGHTS: Mapping[Lane, int] = {Lane.INTERACTIVE: 50, Lane.STANDARD: 40, Lane.BULK: 10}
"""Shares of the engine under load; the relay reserves the same shares of the doorbells."""

GPU_WAIT_S = 0.050
"""Unseen by a person, and enough for other shards to bring faces while theirs are looked for."""


@dataclass(frozen=True)
class Ticket:
    """Some crops of one shard that wait for the network."""

    number: int
    lane: Lane
    count: int  # crops
    arrived_s: float  # on the clock that is given to the batcher
    alone: bool = False  # whether it is a batch of its own

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"a ticket for {self.count} crops")


@dataclass(frozen=True)
class BatchRules:
    """How large batches are, how long a part of one waits, and how lanes share."""

    ladder: tuple[int, ...]  # batch sizes that the engine runs well, largest first, the last one 1
    max_wait_s: float = GPU_WAIT_S
    weights: Mapping[Lane, int] = field(default_factory=lambda: LANE_WEIGHTS)

    def __post_init__(self) -> None:
        if not self.ladder or self.ladder[-1] != 1 or any(a <= b for a, b in pairwise(self.ladder)):
            raise ValueError(f"a ladder falls to 1, not {self.ladder}")
        if self.max_wait_s < 0 or set(self.weights) != set(Lane) or min(self.weights.values()) < 1:
            raise ValueError("a wait is not negative, and every lane has a weight from 1")

    @property
    def largest(self) -> int:
        """Most crops of one batch."""
        return self.ladder[0]


class Batcher:
    """The tickets that wait. It reads no clock: times come from the caller, in seconds, and never fall.

    Lanes are served in the order of virtual time, crops served over weight (start-time fair queueing): a lane
    that was empty begins at the present and earns nothing while it has no work.
    """

    def __init__(self, rules: BatchRules) -> None:
        self.rules = rules
        self._waiting: dict[Lane, deque[Ticket]] = {lane: deque() for lane in Lane}
        self._served = dict.fromkeys(Lane, 0.0)
        self._now_served = 0.0

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._waiting.values())

    @property
    def crops(self) -> int:
        """How many crops wait."""
        return sum(ticket.count for queue in self._waiting.values() for ticket in queue)

    def add(self, ticket: Ticket) -> None:
        """Let a ticket wait behind those of its lane."""
        if not self._waiting[ticket.lane]:
            self._served[ticket.lane] = max(self._served[ticket.lane], self._now_served)
        self._waiting[ticket.lane].append(ticket)

    def wait_s(self, now_s: float, peers: int | None = None) -> float | None:
        """How long until the next batch is due, 0 if it is; None while nothing waits.

        ``peers`` is the number of shards that could send something; each sends one ticket at a time.
        """
        if not len(self):
            return None
        is_complete = peers is not None and len(self) >= peers
        if is_complete or self.crops >= self.rules.largest:
            return 0.0
        oldest_s = min(queue[0].arrived_s for queue in self._waiting.values() if queue)
        return max(0.0, oldest_s + self.rules.max_wait_s - now_s)

    def take(self, now_s: float, peers: int | None = None) -> tuple[Ticket, ...]:
        """Return the tickets of the batch that is due, none if it pays to wait.

        A batch holds at most ``rules.largest`` crops, unless a single ticket holds more. A ticket that goes
        alone has no company.
        """
        if self.wait_s(now_s, peers) != 0.0:
            return ()
        lanes = [lane for lane in Lane if self._waiting[lane]]
        chosen: list[Ticket] = []
        room = self.rules.largest
        while lanes:
            lane = min(lanes, key=lambda each: self._served[each])
            head = self._waiting[lane][0]
            if chosen and (head.count > room or head.alone):
                lanes.remove(lane)  # nothing behind it may overtake
                continue
            chosen.append(self._serve(lane))
            room -= head.count
            if room <= 0 or head.alone:
                break
            if not self._waiting[lane]:
                lanes.remove(lane)
        return tuple(chosen)

    def _serve(self, lane: Lane) -> Ticket:
        ticket = self._waiting[lane].popleft()
        self._now_served = self._served[lane]
        self._served[lane] += ticket.count / self.rules.weights[lane]
        return ticket
