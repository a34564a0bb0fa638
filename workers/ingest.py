"""The two loops that take videos in: one listens to bucket events, one sweeps for what events missed."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fakesieve.errors import RequestRefused
from fakesieve.ingest.events import Notification, ObjectEvent, keep_latest, parse_notification
from fakesieve.ingest.sweep import Sweep, sweep_prefix
from fakesieve.ingest.take import Taken, Watch, take_event
from fakesieve.jobs.store import JobStore
from fakesieve.logging import get_logger
from fakesieve.objects import ObjectStore
from fakesieve.reasons import Reason

_log = get_logger(__name__)


@dataclass(frozen=True)
class Message:
    """One message of a queue, and what removes it."""

    body: str
    receipt: str


class EventQueue(Protocol):
    """A queue that gives a message again until it is removed."""

    def receive(self) -> Sequence[Message]:
        """Wait a while for messages and return some, or none."""
        ...

    def remove(self, messages: Sequence[Message]) -> None:
        """Take them out for good."""
        ...


class EventListener:
    """Turns messages into jobs. Any number may listen to one queue."""

    def __init__(
        self, store: JobStore, objects: ObjectStore, queue: EventQueue, watches: Sequence[Watch]
    ) -> None:
        self._store, self._objects, self._queue, self._watches = store, objects, queue, tuple(watches)

    def take_turn(self) -> bool:
        """Take in what the queue has, and say whether there was anything. Raises ``Unavailable``.

        A message goes when all that it says is submitted. One that cannot be read, or tells of what cannot
        be, stays, so that the queue's own rule moves it to where people look; what else it says is submitted,
        and known when it comes again. One whose turn ended in an error comes again.
        """
        read = [(message, _parse(message)) for message in self._queue.receive()]
        latest = set(keep_latest(event for _, found in read if found for event in found.events))
        handled = list[Message]()
        try:
            for message, found in read:
                if found is not None and self._take(found, latest):
                    handled.append(message)
        finally:
            if handled:
                self._queue.remove(handled)
        return bool(read)

    def _take(self, found: Notification, latest: set[ObjectEvent]) -> bool:
        """Submit what a message says; false where a part of it can never be, or cannot be read."""
        wanted = [event for event in found.events if event in latest]
        taken, refused = Taken(), len(found.refusals)
        for fault in found.refusals:
            _log.warning("ingest.refused", reason=fault.reason, seen=fault.seen, hint=fault.hint)
        for event in wanted:
            try:
                taken += take_event(self._store, self._objects, self._watches, event)
            except RequestRefused as fault:
                if fault.reason is not Reason.INVALID_REQUEST:
                    raise
                refused += 1
                _log.warning("ingest.refused", reason=fault.reason, seen=fault.seen, hint=fault.hint)
        _log.info(
            "ingest.taken",
            new=taken.n_new,
            known=taken.n_known + len(found.events) - len(wanted),
            gone=taken.n_gone,
            outside=taken.n_outside,
            ignored=found.n_ignored,
            refused=refused,
        )
        return refused == 0


class Sweeper:
    """Sweeps one watch each time its turn comes."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep

    def take_turn(self) -> Taken:
        """Sweep once and say what was found. Raises ``Unavailable``; what was taken by then stays taken."""
        start_s = time.monotonic()
        taken = sweep_prefix(self._sweep)
        _log.info(
            "sweep.done",
            bucket=self._sweep.watch.bucket,
            prefix=self._sweep.watch.prefix,
            new=taken.n_new,
            known=taken.n_known,
            outside=taken.n_outside,
            took_ms=round((time.monotonic() - start_s) * 1000),
        )
        return taken


def _parse(message: Message) -> Notification | None:
    """Return what a message says, ``None`` where it cannot be read."""
    try:
        return parse_notification(message.body)
    except RequestRefused as fault:
        _log.warning("ingest.unreadable", seen=fault.seen, hint=fault.hint, body=message.body[:200])
        return None
