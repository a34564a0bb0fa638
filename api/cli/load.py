"""``fakesieve bench``: how long a running API takes to answer while it is asked at a steady rate.

Its parts are in ``api/load``. The repository's folder ``bench`` is something else: what this project measures
about itself.
"""

import asyncio
from collections.abc import Collection
from typing import Annotated

import typer
from rich.console import Console

from api.cli.connect import open_client
from api.load.mix import Mix, plan_mix
from api.load.pace import OPEN_MAX, Course, Pacer, Schedule
from api.load.report import NAMES, list_rows, tell_faults, write_course
from api.load.tally import Count, Unsent
from api.schemas.keys import RateOut
from fakesieve.cli.lists import tell
from fakesieve.cli.printing import print_json, print_table
from fakesieve.errors import Unavailable
from fakesieve.reasons import Reason

RPS_MIN, RPS_MAX = 0.1, 1000.0
DURATION_S_MIN, DURATION_S_MAX = 1.0, 3600.0
TIMEOUT_S_MIN, TIMEOUT_S_MAX = 0.1, 60.0
_EXIT_INTERRUPTED = 130


def bench(
    *,
    rps: Annotated[
        float, typer.Option(min=RPS_MIN, max=RPS_MAX, help="Requests a second, of all kinds together.")
    ] = 20.0,
    duration: Annotated[
        float, typer.Option(min=DURATION_S_MIN, max=DURATION_S_MAX, help="Seconds in which they are sent.")
    ] = 60.0,
    timeout: Annotated[
        float,
        typer.Option(min=TIMEOUT_S_MIN, max=TIMEOUT_S_MAX, help="Seconds after which one is given up."),
    ] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Load a running API with reads at a steady rate, and say how long answers took.

    It reads lists, analyses and jobs of the key's tenant. It starts no job and changes nothing.

    Ends with 1 if a request failed or was not sent, or if none was answered. Refusals by rate (429) are
    counted apart.
    """
    with open_client() as client:
        mix = plan_mix(client)
    _warn_of_rate(mix.rate, rps)
    schedule = Schedule(rps, duration, timeout)
    course = _run(mix, schedule)
    if as_json:
        print_json(write_course(mix, schedule, course))
    else:
        print_table(NAMES, [[tell(cell) for cell in row] for row in list_rows(mix, schedule, course)])
    _warn_of_sender(course)
    if course.is_interrupted:
        raise typer.Exit(_EXIT_INTERRUPTED)
    _check(course.whole)


def _run(mix: Mix, schedule: Schedule) -> Course:
    """Send, with a line of progress where stderr is a terminal."""
    with Console(stderr=True).status("") as status:

        def show(counts: Collection[Count]) -> None:
            sent, answered = sum(each.sent for each in counts), sum(each.answered for each in counts)
            status.update(f"{sent} of {schedule.count} sent, {answered} answered")

        return asyncio.run(Pacer(mix, schedule, show).run())


def _warn_of_rate(rate: RateOut, rps: float) -> None:
    if rps > rate.per_s:
        _warn(
            f"the key may send {rate.per_s:g} requests a second after a burst of {rate.burst}, in each"
            f" process of the API: of {rps:g} a second those over it are refused (429), and not timed",
            f"take --rps {rate.per_s:g}, or raise FAKESIEVE_API_RATE_PER_S of the API for this test",
        )


def _warn_of_sender(course: Course) -> None:
    if not course.is_on_time:
        unsent = course.whole.unsent[Unsent.SENDER_LATE]
        _warn(
            "this machine could not keep the schedule, and the times are partly its own: requests were sent"
            f" {course.late.p99_ms or 0:.0f} ms late (99th percentile), and {unsent} not at all",
            "lower --rps, or send from a machine with less to do, or from several",
        )


def _check(whole: Count) -> None:
    """Raise Unavailable where the run did not go as it was asked for.

    Its reason is the one that the API gave most often, so that a key that has ended is told from a fault.
    """
    bad = whole.failed.total() + whole.unsent.total()
    if bad:
        given = (each for each, _ in whole.failed.most_common() if isinstance(each, Reason))
        due = whole.sent + whole.unsent.total()
        raise Unavailable(
            next(given, Reason.INTERNAL),
            f"{bad} of {due} requests failed or were not sent: {tell_faults(whole)}",
            f"see the log of the API, or lower --rps; with {OPEN_MAX} open no more are sent",
        )
    if not whole.answered:
        seen = f"none of {whole.sent} requests was answered: {whole.refused} were refused by rate"
        raise Unavailable(Reason.RATE_LIMITED, seen, "wait a moment, then take a lower --rps or another key")


def _warn(seen: str, hint: str) -> None:
    typer.echo(f"warning: {seen}\nhint: {hint}", err=True)
