"""From the notes of a host to what each piece of work paid for being in a queue."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median, quantiles
from typing import Any

Event = Mapping[str, Any]
CLAIM, HEARTBEATS = "claim_shard", ("extend_claims", "WorkerHost")
# What a piece of work asks of the database besides its claim. Storing the analysis is work and no overhead,
# but it shares its transaction with the end of the job. What ends a piece may claim the next one too.
ENDS = (
    "fan_out",
    "finish_shard",
    "finish_only_shard",
    "load_evidence",
    "finish_job",
    "reject_job",
    "release_shard",
)


@dataclass
class Piece:
    """One claim and what followed until the next one of its slot; milliseconds and seconds of the clock.

    ``claim_ms`` is 0 where the claim came with the end of the piece before it, whose calls hold its time.
    """

    kind: str
    begun: float
    ended: float
    claim_ms: float
    calls_ms: dict[str, float] = field(default_factory=dict)

    @property
    def overhead_ms(self) -> float:
        """Claim, and whatever the database was asked for until the end."""
        return self.claim_ms + sum(self.calls_ms.values())

    @property
    def time_ms(self) -> float:
        """From before the claim to after the result was written."""
        return 1000 * (self.ended - self.begun)


@dataclass(frozen=True)
class Message:
    """One doorbell: when it had come, when a slot began with it and was done with it."""

    received: float
    begun: float
    done: float

    @property
    def wait_ms(self) -> float:
        """From its arrival to its slot."""
        return 1000 * (self.begun - self.received)


@dataclass(frozen=True)
class Costs:
    """What was paid between two moments."""

    pieces: tuple[Piece, ...]
    messages: tuple[Message, ...]
    turns_ms: tuple[float, ...]  # what a doorbell paid for all its pieces; of one shard that is the job
    gaps_ms: tuple[float, ...]  # in which a slot had nothing to do, from one doorbell to the next
    refused_ms: tuple[float, ...]
    beats_ms: tuple[float, ...]
    batches: tuple[int, ...]
    waits_ms: tuple[float, ...]

    def of_kind(self, kind: str) -> tuple[Piece, ...]:
        """Return the pieces of one kind."""
        return tuple(piece for piece in self.pieces if piece.kind == kind)

    def overhead_share(self, kind: str) -> float:
        """Return the overhead of a kind as a share of the time that its pieces took."""
        pieces = self.of_kind(kind)
        return sum(piece.overhead_ms for piece in pieces) / sum(piece.time_ms for piece in pieces)

    @property
    def queue_share(self) -> float:
        """All that the queue took of the slots' time: claims, results, messages, empty slots, heartbeats."""
        database = sum(piece.overhead_ms for piece in self.pieces) + sum(self.refused_ms)
        idle = sum(self.gaps_ms)
        busy = sum(1000 * (message.done - message.begun) for message in self.messages)
        return (database + idle + sum(self.beats_ms)) / (busy + idle)

    @property
    def batch_mean(self) -> float:
        """Mean crops of the batches that the network ran."""
        return fmean(self.batches)


def percentile(values: Sequence[float], share: int) -> float:
    """Return a percentile, interpolated; of one value that."""
    if len(values) == 1:
        return values[0]
    return median(values) if share == 50 else quantiles(values, n=100, method="inclusive")[share - 1]


def read_costs(events: Iterable[Event], begin: float, end: float) -> Costs:
    """Return what was paid for messages that were begun within a span of the clock."""
    by_thread: dict[int, list[Event]] = defaultdict(list)
    received: dict[str, float] = {}
    batches, waits, beats = list[int](), list[float](), list[float]()
    for event in events:
        what = event["what"]
        if what == "received":
            received[event["message"]] = event["at"]
        elif what == "answer":
            if begin <= event["at"] <= end:
                batches += event["ran"]
                waits.append(1000 * event["waited"])
        elif what in HEARTBEATS:
            if begin <= event["begun"] <= end:
                beats.append(_spent_ms(event))
        else:
            by_thread[event["thread"]].append(event)
    slots = [list(_read_slot(own, received, begin, end)) for own in by_thread.values()]
    turns = [turn for slot in slots for turn in slot]
    gaps = [
        1000 * (later.message.begun - earlier.message.done)
        for slot in slots
        for earlier, later in itertools.pairwise(slot)
    ]
    return Costs(
        pieces=tuple(piece for turn in turns for piece in turn.pieces),
        messages=tuple(turn.message for turn in turns),
        turns_ms=tuple(sum(piece.overhead_ms for piece in turn.pieces) for turn in turns if turn.pieces),
        gaps_ms=tuple(gaps),
        refused_ms=tuple(ms for turn in turns for ms in turn.refused_ms),
        beats_ms=tuple(beats),
        batches=tuple(batches),
        waits_ms=tuple(waits),
    )


@dataclass
class _Turn:
    """What one slot did for one message."""

    message: Message
    pieces: list[Piece]
    refused_ms: list[float]


def _read_slot(
    events: Iterable[Event], received: Mapping[str, float], begin: float, end: float
) -> Iterator[_Turn]:
    """Yield the turns of one slot, in order, that were begun within the span and are over."""
    begun: Event | None = None
    pieces, refused = list[Piece](), list[float]()
    for event in events:
        what = event["what"]
        if what == "begun":
            begun, pieces, refused = event, [], []
        elif what == "done":
            if begun is not None and begin <= begun["at"] <= end:
                come = received.get(begun["message"], begun["at"])
                yield _Turn(Message(come, begun["at"], event["at"]), pieces, refused)
            begun = None
        elif what == CLAIM and "refusal" in event:
            refused.append(_spent_ms(event))
        elif what == CLAIM:
            pieces.append(Piece(event["kind"], event["begun"], event["ended"], _spent_ms(event)))
        elif pieces and what in ENDS:
            calls = pieces[-1].calls_ms
            calls[what] = calls.get(what, 0.0) + _spent_ms(event)
            pieces[-1].ended = event["ended"]
            if "taken" in event:
                pieces.append(Piece(event["taken"], event["ended"], event["ended"], 0.0))


def _spent_ms(event: Event) -> float:
    return 1000 * (event["ended"] - event["begun"])
