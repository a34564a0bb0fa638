"""``fakesieve watch``: waits until jobs have ended and says how."""

import time
from dataclasses import dataclass, field
from typing import Annotated

import typer
from rich.console import Console

from engine.output.names import escape_for_terminal
from fakesieve.cli.job_forms import describe_end
from fakesieve.cli.place import Place, not_found, open_place
from fakesieve.cli.printing import EXIT_INCOMPLETE, print_json
from fakesieve.errors import Unavailable
from fakesieve.ids import IdPrefix
from fakesieve.jobs.states import JobState
from fakesieve.reasons import Reason
from fakesieve.records.job_lists import JobLine, find_batch_jobs, find_jobs, find_scored
from fakesieve.result_documents import form_job

FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 2.0
_GROWTH = 1.3
_AT_ONCE = 1000


@dataclass
class _Tally:
    """What has ended so far, and whether all of it has a score."""

    total: int
    ended: int = 0
    is_complete: bool = True
    running: set[str] = field(default_factory=set[str])


def watch(
    ids: Annotated[list[str], typer.Argument(metavar="JOB_ID|BATCH_ID...", show_default=False)],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each job.")] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0.0, help="Give up after so many seconds; the jobs go on.")
    ] = None,
) -> None:
    """Wait until all jobs have ended; prints one line for each as it ends.

    Ends with 3 if one of them has no score: it did not succeed, or nothing in it could be judged.
    """
    with open_place() as place:
        waiting = _expand(place, ids)
        is_complete = _wait(place, waiting, timeout, is_json=as_json)
    raise typer.Exit(0 if is_complete else EXIT_INCOMPLETE)


def _expand(place: Place, ids: list[str]) -> set[str]:
    """Return the ids of all jobs that are meant, or raise RequestRefused for one that is not there."""
    found: set[str] = set()
    with place.database.transaction(tenant_id=place.tenant_id) as session:
        for each in ids:
            if each.startswith(f"{IdPrefix.BATCH}_"):
                jobs = find_batch_jobs(session, each)
                if not jobs:
                    raise not_found("batch", each)
                found |= set(jobs)
            else:
                if not find_jobs(session, [each]):
                    raise not_found("job", each)
                found.add(each)
    return found


def _wait(place: Place, waiting: set[str], timeout_s: float | None, *, is_json: bool) -> bool:
    """Print jobs as they end; True if each of them has a score. Raises Unavailable when the time is over."""
    tally, pause_s = _Tally(len(waiting)), FIRST_PAUSE_S
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    with Console(stderr=True).status("") as status:
        while True:
            news = _look(place, waiting, tally, is_json=is_json)
            if not waiting:
                return tally.is_complete
            status.update(f"{tally.ended} of {tally.total} ended, {len(tally.running)} running")
            if deadline is not None and time.monotonic() >= deadline:
                raise Unavailable(
                    Reason.DEADLINE_EXCEEDED,
                    f"{len(waiting)} of {tally.total} jobs have not ended within {timeout_s:g} s",
                    "watch them again, or see 'fakesieve jobs ls' and the worker's log",
                )
            pause_s = FIRST_PAUSE_S if news else min(LAST_PAUSE_S, pause_s * _GROWTH)
            time.sleep(pause_s)


def _look(place: Place, waiting: set[str], tally: _Tally, *, is_json: bool) -> bool:
    """Take out what has ended and print it; True if anything has changed since the last look."""
    with place.database.transaction(tenant_id=place.tenant_id) as session:
        lines = find_jobs(session, sorted(waiting)[:_AT_ONCE])
        ended = sorted((line for line in lines if line.state.is_terminal), key=_when)
        analyses = [line.analysis_id for line in ended if line.analysis_id is not None]
        scored = find_scored(session, analyses)
    running = {line.id for line in lines if line.state is JobState.RUNNING}
    for line in ended:
        waiting.discard(line.id)
        tally.ended += 1
        tally.is_complete &= line.analysis_id in scored
        _print(line, is_json=is_json)
    has_changed = bool(ended) or running != tally.running
    tally.running = running
    return has_changed


def _when(line: JobLine) -> tuple[str, str]:
    return (line.end_time or line.create_time).isoformat(), line.id


def _print(line: JobLine, *, is_json: bool) -> None:
    if is_json:
        print_json(form_job(line))
    else:
        typer.echo(f"{line.id}  {line.state.value:<9}  {escape_for_terminal(describe_end(line))}")
