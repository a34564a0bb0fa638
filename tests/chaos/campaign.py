"""A whole chaos run: the failures in lanes side by side, everything at once, and the checker's line.

``python -m tests.chaos.campaign`` runs all failures, which ``make chaos`` calls; the test suite runs the fast
set.
"""

import argparse
import math
import os
import secrets
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.chaos import scenarios_broker as broker
from tests.chaos import scenarios_database as database
from tests.chaos import scenarios_failover as failover
from tests.chaos import scenarios_hosts as hosts
from tests.chaos import scenarios_http as http
from tests.chaos import scenarios_machine as machine
from tests.chaos import scenarios_objects as objects
from tests.chaos import scenarios_requests as requests
from tests.chaos import scenarios_rollout as rollout
from tests.chaos import scenarios_webhooks as webhooks
from tests.chaos.checker import Report
from tests.chaos.driver import Driver
from tests.chaos.nemesis import everything_at_once, heal
from tests.chaos.stack import HOSTS, Stack

Step = Callable[[Driver], None]


@dataclass
class Outcome:
    """What came of a run."""

    seed: int
    report: Report
    facts: dict[str, str]
    faults: list[str] = field(default_factory=list)  # of steps that did not come to their end
    skipped: list[str] = field(default_factory=list)  # steps for which there was no time
    until_s: float = math.inf  # monotonic; no step is begun after it
    seconds: dict[str, float] = field(default_factory=dict)
    effort: str = ""
    logs: str = ""

    @property
    def is_clean(self) -> bool:
        """Whether nothing broke, everything was met and every step came to its end."""
        return self.report.is_clean and not self.faults

    def describe(self) -> str:
        """What is wrong, in full."""
        return "\n".join([f"seed={self.seed}", self.report.line, self.report.describe(), *self.faults])


def fast_lanes() -> dict[str, list[Step]]:
    """The set of every test run: each failure at least once, side by side where they can be."""
    return {
        "hosts": [
            partial(hosts.r01_decoder_killed, times=1),
            partial(hosts.r02_host_killed, times=1),
            partial(hosts.r03_killed_within_pop, times=1),
            partial(hosts.r04_frozen_writer, times=1),
            partial(hosts.r38_cancelled_while_running, times=1),
            partial(hosts.r31_partial_fan_out, points=hosts.FAN_OUT_POINTS[1:2]),
            partial(hosts.r32_last_finisher_dies, times=1),
        ],
        "broker": [
            partial(broker.r33_broker_lost_after_commit, refuse_s=3.0),
            partial(broker.r11_broker_killed, times=1, down_s=1.0),
            partial(broker.r12_flushed, times=3, every_s=1.0),
            broker.r27_delivered_twice,
            partial(broker.r14_half_open, for_s=12.0),
        ],
        "database": [
            requests.r31_killed_within_submit,
            requests.r34_killed_before_reply,
            requests.r35_fifty_at_once,
            partial(database.r17_commit_unknown, times=3),
            partial(database.r16_restarted, times=2),
        ],
        "objects": [
            break_objects(
                partial(objects.r21_errors, for_s=6.0, is_everywhere=False),
                objects.r22_slow,
                partial(objects.r23_truncated, times=2),
                objects.r24_flipped,
                objects.r25_replaced,
                objects.r26_late,
            )
        ],
    }


def full_lanes(times: int = 1) -> dict[str, list[Step]]:
    """All failures, more often, and ``times`` as often as that; first those that the fast set leaves out."""
    return {
        "hosts": [
            partial(hosts.r05_rolling_restart, times=2 * times),
            partial(hosts.r06_told_to_end_within_fetch, times=3 * times),
            hosts.r07_no_gpu_memory,
            partial(hosts.r08_inference_dies, times=2 * times),
            partial(hosts.r04_frozen_writer, times=2 * times),
            partial(hosts.r38_cancelled_while_running, times=3 * times),
            partial(hosts.r02_host_killed, times=times, points=hosts.KILL_POINTS + hosts.SCORE_POINTS),
            partial(hosts.r03_killed_within_pop, times=2 * times),
            partial(hosts.r31_partial_fan_out, points=hosts.FAN_OUT_POINTS),
            partial(hosts.r32_last_finisher_dies, times=2 * times),
            partial(hosts.r01_decoder_killed, times=5 * times),
        ],
        "broker": [
            broker.r13_broker_full,
            broker.r15_old_replica,
            broker.r36_three_copies,
            partial(broker.r33_broker_lost_after_commit, refuse_s=60.0),
            broker.r27_delivered_twice,
            partial(broker.r14_half_open, for_s=60.0),
            partial(broker.r12_flushed, times=6, every_s=5.0),
            partial(broker.r11_broker_killed, times=3 * times, down_s=5.0),
        ],
        "database": [
            partial(database.r18_deadlocks, times=3 * times),
            partial(database.r20_no_connections, for_s=10.0),
            database.r39_partition_dropped,
            requests.r31_killed_within_submit,
            requests.r34_killed_before_reply,
            partial(http.r34_service_killed, jobs=12 * times),
            requests.r35_fifty_at_once,
            partial(database.r17_commit_unknown, times=8 * times),
            partial(database.r16_restarted, times=2 * times),
        ],
        "objects": [
            break_objects(
                partial(objects.r21_errors, for_s=60.0, is_everywhere=True),
                objects.r22_slow,
                partial(objects.r23_truncated, times=5 * times),
                objects.r24_flipped,
                objects.r25_replaced,
                objects.r26_late,
                objects.r26_missing,
            )
        ],
        "webhooks": [partial(webhooks.r37_receivers_fail, jobs=6)],
    }


def full_afterwards(folder: Path, times: int = 1) -> list[Step]:
    """What would disturb, or be disturbed by, the others."""
    return [
        partial(everything_at_once, for_s=180.0 * times),
        broker.r28_stale_doorbells,
        machine.r29_clock_skew,
        machine.r30_disk_full,
        partial(machine.r40_bad_model, folder=folder),
        partial(rollout.r05_rolled_beside_newer_tables, times=times),
        hosts.r09_poison,
        hosts.r10_no_memory,
        partial(machine.r41_soak, clips=60 * times),
        hosts.r10_endless_decode,
        failover.r19_failover,
    ]


def choose_steps(steps: list[Step], wanted: frozenset[str]) -> list[Step]:
    """Return the steps that are wanted by the beginning of their name, as r05; all where none is named."""
    return [step for step in steps if not wanted or name_step(step).partition("_")[0] in wanted]


def name_step(step: Step) -> str:
    """Return the name of the function behind a step."""
    return getattr(step, "func", step).__name__


def break_objects(*steps: Callable[[Driver], objects.Settle]) -> Step:
    """Begin all of these failures together, then wait for what becomes of each."""

    def step(d: Driver) -> None:
        settles = [begin(d) for begin in steps]
        for settle in settles:
            settle()

    step.__name__ = "objects"
    return step


def run_campaign(
    seed: int, lanes: dict[str, list[Step]], afterwards: list[Step], *, limit_s: float = math.inf
) -> Outcome:
    """Start a fleet, break it, and ask the checker what is left. No step begins after ``limit_s``."""
    with Stack(seed) as stack:
        d = Driver(stack, seed)
        d.measure_calm()
        outcome = Outcome(seed, Report(), d.facts, until_s=time.monotonic() + limit_s)
        threads = [
            threading.Thread(target=_run_steps, args=(d, steps, outcome), name=name, daemon=True)
            for name, steps in lanes.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        heal(d)
        _run_steps(d, afterwards, outcome)
        outcome.seconds["settle"] = d.settle()
        _end_hosts(d, outcome)
        outcome.report = d.check()
        outcome.effort = _measure_effort(d)
        if not outcome.is_clean:
            outcome.logs = stack.read_tails()
        return outcome


def _run_steps(d: Driver, steps: list[Step], outcome: Outcome) -> None:
    for step in steps:
        name = name_step(step)
        begun = time.monotonic()
        if begun > outcome.until_s:
            outcome.skipped.append(name)
            continue
        try:
            step(d)
        except Exception:  # noqa: BLE001 - a thread's edge: the other failures still have their turn
            outcome.faults.append(f"{name}: {traceback.format_exc(limit=-6)}")
            d.note(f"{name} came to its end", was_met=False)
        outcome.seconds[name] = time.monotonic() - begun
        _show(f"{time.strftime('%H:%M:%S')} {name} {outcome.seconds[name]:.1f} s")


def _show(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _end_hosts(d: Driver, outcome: Outcome) -> None:
    """Drain the hosts. What they leave behind is a fault too (I10)."""
    for host in HOSTS:
        code = d.stack.drain(host)
        if code != 0:
            outcome.faults.append(f"{host} ended with {code} after its drain")
    left = [path.name for path in (d.stack.folder / "scratch").iterdir()]
    if left:
        outcome.faults.append(f"left in the scratch folder: {left}")


def _measure_effort(d: Driver) -> str:
    row = d.ask(
        "SELECT count(*), avg(n), percentile_disc(0.99) WITHIN GROUP (ORDER BY n), max(n)"
        " FROM (SELECT count(*) AS n FROM attempt GROUP BY job_id, shard_index) AS each_shard"
    )[0]
    return (
        f"{len(d.acked)} jobs, {row[0]} shards, claims a shard: mean {row[1]:.2f}, p99 {row[2]}, max {row[3]}"
    )


def main() -> None:
    """Run everything; the last two lines on stdout are the seed and the checker's line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9))
    parser.add_argument("--fast", action="store_true", help="the set of the test suite")
    parser.add_argument("--times", type=int, default=1, help="how many times as often as the table says")
    parser.add_argument("--report", type=Path, help="where a page about the run is written")
    parser.add_argument("--part", choices=("all", "lanes", "afterwards"), default="all")
    parser.add_argument(
        "--steps", default="", help="only these, as r05,r13; objects is R21 to R26, everything is R42"
    )
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which nothing new is broken")
    given = parser.parse_args()
    begun, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        place = Path(folder)
        lanes = fast_lanes() if given.fast else full_lanes(given.times)
        last: list[Step] = [partial(everything_at_once, for_s=60.0)]
        after = last if given.fast else full_afterwards(place, given.times)
        wanted = frozenset(given.steps.split(",")) - {""}
        outcome = run_campaign(
            given.seed,
            {} if given.part == "afterwards" else {n: choose_steps(s, wanted) for n, s in lanes.items()},
            [] if given.part == "lanes" else choose_steps(after, wanted),
            limit_s=60 * given.minutes,
        )
    seconds = time.monotonic() - begun
    if not outcome.is_clean:
        print(outcome.logs, file=sys.stderr)
        print(outcome.describe())
    page = describe_run(outcome, seconds, load, "fast" if given.fast else "full")
    if given.report is not None:
        given.report.write_text(page)
    print(page)
    print(f"seed={outcome.seed}")
    print(outcome.report.line)
    sys.exit(0 if outcome.is_clean else 1)


def describe_run(outcome: Outcome, seconds: float, load: float, which: str) -> str:
    """A page about a run: what was measured, how long each failure took, and what was met."""
    met = outcome.report.sometimes.items()
    machine = f"{os.cpu_count()} cores, load {load:.1f} at the start and {os.getloadavg()[0]:.1f} at the end"
    rows = [f"| {name} | {fact} |" for name, fact in sorted(outcome.facts.items())]
    return "\n".join(
        [
            f"# A {which} chaos run",
            "",
            f"{time.strftime('%Y-%m-%d')}, {seconds / 60:.0f} minutes, {machine}. {outcome.effort}.",
            *([f"Not run for lack of time: {', '.join(outcome.skipped)}."] if outcome.skipped else []),
            "",
            "```",
            f"seed={outcome.seed}",
            outcome.report.line,
            "```",
            "",
            "| | measured |",
            "|---|---|",
            *rows,
            "",
            "| step | seconds |",
            "|---|---|",
            *(f"| {name} | {spent_s:.0f} |" for name, spent_s in sorted(outcome.seconds.items())),
            "",
            "Met:",
            "",
            *(f"- {'' if was else 'NEVER MET: '}{name}" for name, was in met),
            "",
        ]
    )


if __name__ == "__main__":
    main()
