"""R42: everything at once. A schedule drawn from the seed breaks one thing after the other under load."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import redis

from tests.chaos.driver import Driver, find_inference
from tests.chaos.scenarios_broker import copy_messages, restart_broker_empty
from tests.chaos.stack import HOSTS
from tests.flaky_s3 import Fault, Kind

Blow = Callable[[Driver], None]

KILLS_EVERY_S = 20.0  # three a minute
_PAUSE_S = (0.5, 2.5)
_SUBMIT_EVERY_S = 1.5
_KINDS_LEAST = 6  # of blows
_LONGEST = 3  # times what was asked for


def everything_at_once(d: Driver, for_s: float) -> None:
    """Submit at a steady pace while blows fall; heal everything at the end.

    It lasts up to three times ``for_s`` seconds where too few kinds of blows have fallen by then: some take
    their time on a busy machine. Where too few have fallen even so, the kinds are at fault, which is noted.
    """
    begun = time.monotonic()
    next_kill_s, next_job_s, next_blow_s = 5.0, 0.0, 0.0
    blows: dict[str, int] = {}
    jobs: list[str] = []
    try:
        while (now_s := time.monotonic() - begun) < for_s or (
            len(blows) < _KINDS_LEAST and now_s < _LONGEST * for_s
        ):
            if now_s >= next_job_s:
                jobs.append(d.submit(d.chance.choice(("short", "short", "short", "sharded"))))
                next_job_s += _SUBMIT_EVERY_S
            if now_s >= next_kill_s:
                _strike(d, d.chance.choice(KILLS), blows)
                next_kill_s += KILLS_EVERY_S
            if now_s >= next_blow_s:
                _strike(d, d.chance.choice(BLOWS), blows)
                next_blow_s = time.monotonic() - begun + d.chance.uniform(*_PAUSE_S)
            time.sleep(0.05)
    finally:
        heal(d)
    waited_s = d.wait_ended(*jobs)
    d.note("R42 everything at once", len(blows) >= _KINDS_LEAST)
    told = ", ".join(f"{name} {count}" for name, count in sorted(blows.items()))
    d.tell(
        "R42", f"{len(jobs)} jobs in {now_s:.0f} s, all ended {waited_s:.0f} s after the last blow; {told}"
    )


def _strike(d: Driver, blow: Blow, blows: dict[str, int]) -> None:
    blows[blow.__name__] = blows.get(blow.__name__, 0) + 1
    blow(d)


def heal(d: Driver) -> None:
    """End every fault that may still hold."""
    for proxy in d.stack.proxies.values():
        proxy.heal()
    d.stack.flaky_s3.heal()
    for host in HOSTS:
        d.stack.signal_role(host, signal.SIGCONT)


# ---- kills


def kill_host(d: Driver) -> None:
    d.stack.signal_role(d.chance.choice(HOSTS), signal.SIGKILL)


def kill_relay(d: Driver) -> None:
    d.stack.signal_role("relay", signal.SIGKILL)


def kill_reconciler(d: Driver) -> None:
    d.stack.signal_role("reconciler", signal.SIGKILL)


def kill_inference(d: Driver) -> None:
    pid = find_inference(d.stack.find_pid(d.chance.choice(HOSTS)))
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


KILLS: tuple[Blow, ...] = (kill_host, kill_host, kill_relay, kill_reconciler, kill_inference)


# ---- other blows; each ends by itself within seconds


def freeze_host(d: Driver) -> None:
    host = d.chance.choice(HOSTS)
    d.stack.signal_role(host, signal.SIGSTOP)
    time.sleep(d.chance.uniform(1.0, 9.0))
    d.stack.signal_role(host, signal.SIGCONT)


def flush_broker(d: Driver) -> None:
    with d.stack.broker() as broker, suppress(redis.RedisError):
        broker.flushall()


def empty_broker(d: Driver) -> None:
    restart_broker_empty(d, d.chance.uniform(0.2, 2.0))


def ring_twice(d: Driver) -> None:
    copy_messages(d, times=2)


def reset_broker(d: Driver) -> None:
    d.stack.proxies["broker"].reset_all()


def reset_database(d: Driver) -> None:
    d.stack.proxies["database"].reset_all()


def cut_commits(d: Driver) -> None:
    d.stack.proxies["database"].cut_commits(2)


def slow_down(d: Driver) -> None:
    proxy = d.stack.proxies[d.chance.choice(sorted(d.stack.proxies))]
    proxy.latency_s, proxy.jitter_s = 0.1, 0.2
    time.sleep(d.chance.uniform(1.0, 3.0))
    proxy.latency_s = proxy.jitter_s = 0.0


def starve(d: Driver) -> None:
    proxy = d.stack.proxies["objects"]
    proxy.rate = 4000.0
    time.sleep(d.chance.uniform(1.0, 3.0))
    proxy.rate = None


def swallow(d: Driver) -> None:
    proxy = d.stack.proxies[d.chance.choice(("broker", "objects"))]
    proxy.is_swallowing = True
    time.sleep(d.chance.uniform(1.0, 3.0))
    proxy.is_swallowing = False


def refuse(d: Driver) -> None:
    proxy = d.stack.proxies[d.chance.choice(sorted(d.stack.proxies))]
    proxy.is_refusing = True
    time.sleep(d.chance.uniform(1.0, 3.0))
    proxy.is_refusing = False


def restart_database(d: Driver) -> None:
    d.stack.end_server(d.stack.postgres, d.chance.choice((signal.SIGINT, signal.SIGQUIT)))
    d.stack.start_server(d.stack.postgres)


def spoil_objects(d: Driver) -> None:
    kind = d.chance.choice((Kind.STATUS, Kind.TRUNCATE, Kind.RESET, Kind.FLIP))
    d.stack.flaky_s3.add(Fault(kind, share=0.4, until_s=time.monotonic() + 2.0))


BLOWS: tuple[Blow, ...] = (
    freeze_host,
    flush_broker,
    empty_broker,
    ring_twice,
    reset_broker,
    reset_database,
    cut_commits,
    slow_down,
    starve,
    swallow,
    refuse,
    restart_database,
    spoil_objects,
)
