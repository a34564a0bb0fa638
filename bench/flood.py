"""What a caller waits for while another tenant sends far over its rate.

Usage: python -m bench.flood [--analyses N] [--rounds N] [--requests N] [--flood N] [--work DIR] [--out DIR]

Asks the database that ``python -m bench.database --keep`` has filled. One tenant sends within its rate; in
every second phase another tenant sends far more than it may, from a process of its own, and is refused most
of it. The phases alternate, so that whatever else the machine does meets both. Goal: a 99th percentile of at
most 1.2 times the calm one.
"""

import argparse
import multiprocessing
import sys
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median

import httpx2

from bench.api import (
    Pick,
    Question,
    draw_picks,
    find_filled,
    list_questions,
    read_cpu_s,
    remove_keys,
    serving,
)
from bench.database.ask import percentile
from bench.run import RESULTS, describe_machine
from engine.backends.select import default_threads
from fakesieve.database import open_database
from fakesieve.embedded.postgres import OWNER_ROLE, PostgresServer
from fakesieve.records.revision import migrate_database

GOAL = 1.2
_WORDS = """\
Milliseconds that a tenant within its rate waits, without and with another that sends far over it. A key may
send 50 requests a second by default, which is half of what one process answers on such a core: beside a
tenant that uses it all, others wait, whatever is refused beyond. With a tenth the price of refusals shows.
The loud one, the API and Postgres share the machine's cores."""
_HEAD = """\
| rate, 1/s | requests | p50 alone | p99 | p50 beside | p99 | ratio of p99 | loud sent | refused | core-s |
|---|---|---|---|---|---|---|---|---|---|"""
# Requests a second of a key, and its burst: as by default, and a tenth, where what the loud one is granted
# takes little of the process, so that the cost of refusing it shows.
_RATES = ((50.0, 200), (5.0, 20))
_PACE_S = 1 / 4  # of the quiet tenant, within each rate
_SENDERS = 4
_WARM = 15  # requests
_NAMES = ("analysis by id", "analyses, flagged")


class Loud:
    """The tenant that sends too much, and what became of it."""

    def __init__(self, url: str, pick: Pick, per_s: float) -> None:
        context = multiprocessing.get_context("spawn")
        self.sent, self.refused = context.Value("q", 0), context.Value("q", 0)
        self._is_over = context.Event()
        arguments = (url, pick, per_s, self.sent, self.refused, self._is_over)
        self._process = context.Process(target=send_too_much, args=arguments)

    @contextmanager
    def sending(self) -> Generator[None]:
        """Send during the block, once the first request was refused."""
        self._process.start()
        try:
            while self.refused.value == 0:
                if not self._process.is_alive():
                    raise SystemExit("nothing was refused; see above")
                time.sleep(0.05)
            yield
        finally:
            self._is_over.set()
            self._process.join()


def send_too_much(
    url: str,
    pick: Pick,
    per_s: float,
    sent: "Synchronized[int]",
    refused: "Synchronized[int]",
    is_over: Event,
) -> None:
    """Send from some connections at once until it is over; counts are shared."""

    def send() -> None:
        due = time.monotonic()
        with httpx2.Client(timeout=60, headers={"Authorization": f"Bearer {pick.key}"}) as client:
            while not is_over.is_set():
                due = max(due + _SENDERS / per_s, time.monotonic() - 0.2)
                time.sleep(max(0.0, due - time.monotonic()))
                answer = client.get(f"{url}/v1/analyses/{pick.analysis_id}")
                with sent.get_lock():
                    sent.value += 1
                    refused.value += answer.status_code == 429

    threads = [threading.Thread(target=send) for _ in range(_SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def ask(url: str, questions: Sequence[Question], picks: Sequence[Pick]) -> tuple[float, ...]:
    """Ask at an even pace and return the milliseconds of each; SystemExit where one is refused."""
    times = list[float]()
    with httpx2.Client(timeout=60) as client:
        due = time.monotonic()
        for index, pick in enumerate(picks):
            due = max(due + _PACE_S, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
            question = questions[index % len(questions)]
            begun = time.perf_counter()
            answer = client.get(
                url + question.path(pick),
                params=question.query(pick),
                headers={"Authorization": f"Bearer {pick.key}"},
            )
            times.append((time.perf_counter() - begun) * 1000)
            if not answer.is_success:
                raise SystemExit(f"the quiet tenant was refused: {answer.status_code} {answer.text[:300]}")
    return tuple(times)


@dataclass
class Measured:
    """Milliseconds of the quiet tenant in both phases, and what the loud one did meanwhile."""

    rate_per_s: float
    calm: tuple[float, ...] = ()
    beside: tuple[float, ...] = ()
    sent: int = 0
    refused: int = 0
    api_s: float = 0.0  # processor time of the API in the loud phases

    @property
    def ratio(self) -> float:
        """99th percentile beside the loud tenant over that without it."""
        return percentile(self.beside, 99) / percentile(self.calm, 99)


def measure(
    url: str, api_pid: int, picks: Sequence[Pick], given: argparse.Namespace, rate_per_s: float
) -> Measured:
    """Alternate calm and loud phases."""
    questions = [each for each in list_questions() if each.name in _NAMES]
    noisy = picks[0]
    quiet = next(pick.key for pick in picks if pick.key != noisy.key)
    own = [pick for pick in picks if pick.key == quiet]
    ask(url, questions, own[:_WARM])
    found, rounds, requests = Measured(rate_per_s), int(given.rounds), int(given.requests)
    for number in range(rounds):
        chosen = [own[(number * requests + index) % len(own)] for index in range(requests)]
        found.calm += ask(url, questions, chosen)
        flood = Loud(url, noisy, given.flood)
        with flood.sending():
            begun = read_cpu_s(api_pid)
            found.beside += ask(url, questions, chosen)
            found.api_s += read_cpu_s(api_pid) - begun
        found.sent += flood.sent.value
        found.refused += flood.refused.value
    return found


def format_page(machine: Mapping[str, str | int], note: str, measured: Sequence[Measured]) -> str:
    """Return the results as a page."""
    said = [note, ""] if note else []
    return "\n".join(
        [
            *("# A tenant beside one that sends too much", "", "`python -m bench.flood`", ""),
            *(f"- {name}: {value}" for name, value in machine.items()),
            *("", *said, _WORDS, "", _HEAD),
            *map(_format_row, measured),
            "",
        ]
    )


def _format_row(found: Measured) -> str:
    calm, beside = (
        f"{median(times):.1f} | {percentile(times, 99):.1f}" for times in (found.calm, found.beside)
    )
    judged = f"{found.ratio:.2f} (goal {GOAL}: {'reached' if found.ratio <= GOAL else 'missed'})"
    loud = f"{found.sent:,} | {found.refused / found.sent:.0%} | {found.api_s:.1f}"
    return f"| {found.rate_per_s:g} | {len(found.calm):,} | {calm} | {beside} | {judged} | {loud} |"


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.flood", description=__doc__)
    parser.add_argument("--analyses", type=int, default=1_000_000, help="which filled database")
    parser.add_argument("--rounds", type=int, default=3, help="of a calm and a loud phase each")
    parser.add_argument("--requests", type=int, default=60, help="of the quiet tenant in each phase")
    parser.add_argument("--flood", type=float, default=250.0, help="requests a second of the loud tenant")
    parser.add_argument("--note", default="", help="a sentence about the machine, kept with the results")
    parser.add_argument("--work", type=Path, default=Path(".cache/bench"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Measure and write."""
    given = parse_arguments(arguments)
    folder = find_filled(given)
    measured = list[Measured]()
    with PostgresServer(folder / "postgres") as server:
        migrate_database(server.url(OWNER_ROLE))
        for rate_per_s, burst in _RATES:
            with (
                closing(open_database(server.url(), connections_max=2)) as fleet,
                serving(server, folder / "api.log", burst=burst, rate_per_s=rate_per_s) as (url, api_pid),
            ):
                try:
                    measured.append(measure(url, api_pid, draw_picks(fleet), given, rate_per_s))
                finally:
                    remove_keys(fleet)
    page = format_page(describe_machine(default_threads()), given.note, measured)
    (given.out / "flood.md").write_text(page, encoding="utf-8")
    print(page, file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
