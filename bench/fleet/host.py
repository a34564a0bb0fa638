"""A worker host that notes what its calls to the database and its messages cost. Otherwise it is a worker.

Usage: python -m bench.fleet.host NOTES. The environment is that of ``fakesieve worker``; the notes are
written when the host has drained.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from celery import signals

from fakesieve.database import open_database
from fakesieve.jobs.fan_out import Fanned
from fakesieve.jobs.finish import Finished
from fakesieve.jobs.rows import Claim, Refusal
from fakesieve.jobs.sql.store import SqlJobStore, SqlJobTransaction
from fakesieve.jobs.states import Lane
from fakesieve.logging import configure_logging
from fakesieve.settings import read_settings
from workers.cli import count_slots, find_silence, read_limits
from workers.inference_wire import Answer
from workers.metrics import FleetMetrics
from workers.opening import run_worker

Result = TypeVar("Result")


class Notes:
    """Events as they come, from all threads. Times are of the machine's monotonic clock, in seconds."""

    def __init__(self) -> None:
        self.events: list[dict[str, object]] = []

    def add(self, what: str, **fields: object) -> None:
        """Note an event of this thread; appending to a list needs no lock."""
        self.events.append({"what": what, "thread": threading.get_ident(), **fields})

    def write(self, path: Path) -> None:
        """Write all of them, one JSON object a line."""
        path.write_text("".join(json.dumps(event) + "\n" for event in self.events), encoding="utf-8")


class NotingStore:
    """A job store that notes how long each transaction took, named after the function that asked for it."""

    def __init__(self, store: SqlJobStore, notes: Notes) -> None:
        self._store, self._notes = store, notes

    def transaction(self) -> Any:
        """Begin; not noted, as no host uses it."""
        return self._store.transaction()

    def run(self, work: Callable[[SqlJobTransaction], Result]) -> Result:
        """Run a transaction and note its time."""
        return self._take(work, self._store.run)

    def run_alone(self, work: Callable[[SqlJobTransaction], Result]) -> Result:
        """Run what needs no transaction around it and note its time."""
        return self._take(work, self._store.run_alone)

    def _take(
        self,
        work: Callable[[SqlJobTransaction], Result],
        run: Callable[[Callable[[SqlJobTransaction], Result]], Result],
    ) -> Result:
        begun = time.monotonic()
        answer = run(work)
        fields: dict[str, object] = {"begun": begun, "ended": time.monotonic()}
        if isinstance(answer, Claim):
            fields |= {"kind": answer.kind.value, "job": answer.key.job_id}
        elif isinstance(answer, Refusal):
            fields["refusal"] = answer.value
        elif isinstance(answer, Fanned | Finished) and answer.following is not None:
            fields["taken"] = answer.following.kind.value
        self._notes.add(work.__qualname__.split(".")[0], **fields)
        return answer


class NotingMetrics(FleetMetrics):
    """The figures of a host, with each answer of the network noted too."""

    def __init__(self, notes: Notes) -> None:
        super().__init__()
        self._notes = notes

    def note_answer(self, lane: Lane, answer: Answer) -> None:
        """Count what the network did for one request, and note it."""
        super().note_answer(lane, answer)
        self._notes.add(
            "answer",
            at=time.monotonic(),
            ran=answer.ran,
            waited=answer.waited_s,
            compute=answer.compute_s,
        )


def listen(notes: Notes) -> None:
    """Note when a message has come, when a slot begins with it, and when it is done with it."""

    def received(request: Any, **_: object) -> None:
        notes.add("received", at=time.monotonic(), message=request.id)

    def begun(task_id: str, **_: object) -> None:
        notes.add("begun", at=time.monotonic(), message=task_id)

    def done(task_id: str, **_: object) -> None:
        notes.add("done", at=time.monotonic(), message=task_id)

    signals.task_received.connect(received, weak=False)
    signals.task_prerun.connect(begun, weak=False)
    signals.task_postrun.connect(done, weak=False)


def main(path: Path) -> int:
    """Work until SIGTERM, then write the notes."""
    settings = read_settings()
    configure_logging(settings.log_format, settings.log_level)
    notes = Notes()
    listen(notes)
    connections = max(settings.database_connections, count_slots(settings) + 2)
    url = settings.database_url.get_secret_value()
    silence_s = find_silence(settings)
    opened = open_database(url, connections_max=connections, silence_s=silence_s, is_fleet=True)
    with closing(opened) as database:
        store = NotingStore(SqlJobStore(database), notes)
        code = run_worker(settings, store, read_limits(settings), NotingMetrics(notes))
    notes.write(path.with_name(f"{path.stem}-{os.getpid()}.jsonl"))
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
