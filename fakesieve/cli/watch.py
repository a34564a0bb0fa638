"""``fakesieve watch``: waits until jobs have ended and says how."""

import time
from typing import Annotated

import typer
from rich.console import Console

from engine.output.names import escape_for_terminal
from fakesieve.cli.fleet import Watch, open_fleet
from fakesieve.cli.job_columns import tell_end
from fakesieve.cli.printing import EXIT_INCOMPLETE, print_json
from fakesieve.errors import Unavailable
from fakesieve.job_forms import form_job
from fakesieve.reasons import Reason
from fakesieve.values.job_lines import JobLine

_GROWTH = 1.3
_FORECAST_MIN = 3  # jobs that have to end before their pace says something


def watch(
    ids: Annotated[list[str], typer.Argument(metavar="JOB_ID|BATCH_ID...", show_default=False)],
    *,
    as_json: Annotated[
        bool, typer.Option("--json", "--jsonl", help="Print one JSON object for each job.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0.0, help="Give up after so many seconds; the jobs go on.")
    ] = None,
) -> None:
    """Wait until all jobs have ended; prints one line for each as it ends.

    Ends with 3 if one of them has no score: it did not succeed, or nothing in it could be judged.
    """
    with open_fleet() as fleet:
        is_complete = _wait(fleet.jobs.watch_jobs(ids), timeout, is_json=as_json)
    raise typer.Exit(0 if is_complete else EXIT_INCOMPLETE)


def _wait(watched: Watch, timeout_s: float | None, *, is_json: bool) -> bool:
    """Print jobs as they end; True if each of them has a score. Raises Unavailable when the time is over."""
    first_pause_s, last_pause_s = watched.pauses_s
    pause_s, is_complete, ended, running = first_pause_s, True, 0, 0
    begun = time.monotonic()
    deadline = None if timeout_s is None else begun + timeout_s
    before: int | None = None  # jobs that had ended before we looked
    with Console(stderr=True).status("") as status:
        while True:
            seen = watched.look()
            for each in seen.ended:
                is_complete &= each.has_score
                _print(each.line, is_json=is_json)
            if seen.is_over:
                return is_complete
            ended += len(seen.ended)
            before = ended if before is None else before
            left = forecast(ended - before, seen.left, time.monotonic() - begun)
            status.update(f"{ended} of {ended + seen.left} ended, {seen.running} running{left}")
            if deadline is not None and time.monotonic() >= deadline:
                raise Unavailable(
                    Reason.DEADLINE_EXCEEDED,
                    f"{seen.left} of {ended + seen.left} jobs have not ended within {timeout_s:g} s",
                    "watch them again, or see what holds them up: fakesieve jobs show JOB_ID",
                )
            has_news = bool(seen.ended) or seen.running != running
            pause_s = first_pause_s if has_news else min(last_pause_s, pause_s * _GROWTH)
            running = seen.running
            time.sleep(pause_s)


def forecast(ended: int, left: int, elapsed_s: float) -> str:
    """Say how long the rest takes at the pace so far; nothing as long as too few have ended.

    ``ended`` are the jobs that ended within ``elapsed_s``.
    """
    if ended < _FORECAST_MIN or not left:
        return ""
    left_s = left * elapsed_s / ended
    if left_s < 90:
        return f", about {max(1, round(left_s))} s to go"
    return (
        f", about {round(left_s / 60)} min to go" if left_s < 5400 else f", about {left_s / 3600:.1f} h to go"
    )


def _print(line: JobLine, *, is_json: bool) -> None:
    if is_json:
        print_json(form_job(line))
    else:
        typer.echo(f"{line.id}  {line.state.value:<9}  {escape_for_terminal(tell_end(line))}")
