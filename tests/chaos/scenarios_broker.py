"""Failures of the broker and of the messages in it. None of them may matter: the truth is in Postgres."""

import signal
import subprocess
import time
from contextlib import suppress

import redis

from fakesieve.jobs.states import Lane
from fakesieve.reasons import Reason
from tests.chaos.driver import TRIES, WAIT_S, Driver, is_stopped
from tests.chaos.stack import HOSTS
from tests.waiting import PATIENCE_S

_REFUSED = 78  # EX_CONFIG: starting again without a change is of no use
_QUEUES = tuple(lane.value for lane in Lane)
_MARK = "chaos-mark"  # of no queue


def r11_broker_killed(d: Driver, times: int, down_s: float) -> None:
    """The broker is killed and comes back with nothing in it."""
    for _ in range(times):
        jobs, failures = [d.submit() for _ in range(2)], _relay_failures(d)
        with d.stack.broker() as broker:
            broker.set(_MARK, "before")
        restart_broker_empty(d, down_s, during=lambda jobs=jobs: jobs.append(_submit_into_outage(d)))
        d.note("R11 relay met a broker that was away", _relay_failures(d) > failures)
        d.note("R11 broker came back empty", _read_mark(d) is None)
        waited_s = d.wait_ended(*jobs)
        d.tell("R11", f"{times} times; jobs ended {waited_s:.0f} s after the last start")


def _read_mark(d: Driver) -> bytes | None:
    """What the broker still knows of what a failure wrote into it."""
    with d.stack.broker() as broker:
        return broker.get(_MARK)


def _submit_into_outage(d: Driver) -> str:
    """Submit while the broker is away, and stay until the relay has failed to ring for it."""
    before = _relay_failures(d)
    job = d.submit()
    d.wait(lambda: _relay_failures(d) > before, "the relay to miss the broker")
    return job


def restart_broker_empty(d: Driver, down_s: float, during=lambda: None) -> None:
    """Kill the broker, forget what it had, and start it again after a while."""
    d.stack.end_server(d.stack.valkey, signal.SIGKILL)
    for path in (d.stack.valkey.folder / "appendonlydir").glob("*"):
        path.unlink()
    during()
    time.sleep(down_s)
    d.stack.start_server(d.stack.valkey)


def _relay_failures(d: Driver) -> int:
    failures = d.stack.read_events("relay", "relay.unavailable")
    return sum(found.get("reason") == Reason.BROKER_UNAVAILABLE for found in failures)


def r12_flushed(d: Driver, times: int, every_s: float) -> None:
    """Everything in the broker is deleted, over and over, while it holds doorbells."""
    taken = turns = 0
    jobs: list[str] = []
    with d.stack.broker() as broker:
        while turns < times or (taken == 0 and turns < times + TRIES):
            turns += 1
            jobs += [d.submit() for _ in range(3)]
            _try_until(lambda broker=broker: _count_messages(broker) > 0, 5.0)
            taken += _count_messages(broker)
            broker.flushall()
            time.sleep(every_s)
    d.wait_ended(*jobs)
    d.note("R12 FLUSHALL took doorbells", taken > 0)
    d.tell("R12", f"{turns} times; {taken} messages lost")


def _count_messages(broker: redis.Redis) -> int:
    return sum(broker.llen(queue) for queue in _QUEUES) + broker.hlen("unacked")


def _try_until(condition, limit_s: float) -> None:
    until = time.monotonic() + limit_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)


def r13_broker_full(d: Driver) -> None:
    """The broker has no memory left and refuses; one that would evict is not worked with at all."""
    before = _relay_failures(d)
    with d.stack.broker() as broker:
        broker.config_set("maxmemory", "1")
        jobs = [d.submit() for _ in range(3)]
        d.wait(lambda: _relay_failures(d) > before, "the relay's failure")
        broker.config_set("maxmemory", "0")
        d.wait_ended(*jobs)
        d.note("R13 full broker refused a doorbell", was_met=True)
        broker.config_set("maxmemory-policy", "allkeys-lru")
        was_refused = d.retry(lambda: d.stack.start_once("relay") == _REFUSED) == 1
        broker.config_set("maxmemory-policy", "noeviction")
    d.note("R13 start refused with code 78 for a broker that evicts", was_refused)


def r14_half_open(d: Driver, for_s: float) -> None:
    """The broker's connections stand, and nothing comes through any more."""
    proxy = d.stack.proxies["broker"]
    swallowed, accepted = proxy.counts.swallowed, proxy.counts.accepted
    proxy.is_swallowing = True
    jobs = [d.submit() for _ in range(3)]
    time.sleep(for_s)
    d.note("R14 packets vanished", d.comes(lambda: proxy.counts.swallowed > swallowed, WAIT_S))
    proxy.is_swallowing = False
    waited_s = d.wait_ended(*jobs)
    d.note("R14 connected anew", d.comes(lambda: proxy.counts.accepted > accepted, WAIT_S))
    d.tell("R14", f"{for_s:.0f} s; jobs ended {waited_s:.0f} s later")


def r15_old_replica(d: Driver) -> None:
    """The broker falls back to what it had five seconds ago: to doorbells of work that has ended since."""

    def fall_back() -> bool:
        before = _count_refused(d)
        _go_back(d)
        return d.comes(lambda: _count_refused(d) > before, 30.0)

    d.note("R15 doorbells of ended work refused", d.retry(fall_back) == 1)


def _count_refused(d: Driver) -> int:
    return sum(len(d.stack.read_events(host, "shard.refused")) for host in HOSTS)


def _go_back(d: Driver) -> None:
    """Submit work, and have the broker forget what it was told once that was under way."""
    data = d.stack.valkey.folder / "appendonlydir"
    with d.stack.broker() as broker:
        broker.set(_MARK, "before")
        jobs = [d.submit() for _ in range(6)]
        time.sleep(1.2)  # its file is written once a second
        old = {path.name: path.read_bytes() for path in data.iterdir()}
        broker.set(_MARK, "after")
    time.sleep(5)
    d.stack.end_server(d.stack.valkey, signal.SIGKILL)
    for path in data.iterdir():
        path.unlink()
    for name, content in old.items():
        (data / name).write_bytes(content)
    d.stack.start_server(d.stack.valkey)
    d.note("R15 broker went back in time", _read_mark(d) == b"before")
    d.wait_ended(*jobs)


def r27_delivered_twice(d: Driver) -> None:
    """A message comes again while its work runs, and five copies of others are put into the queue."""
    jobs: list[str] = []

    def deliver_again() -> bool:
        job_id, _ = d.meet("decoding", "hold", "long")
        jobs.append(job_id)
        # The visibility time is 3 s here: the broker hands the message out again while we hold the work. The
        # message may be the one that prepared the job, whose host went on with the shard. It never comes
        # where the host is killed or its decoder is, as then nobody holds the work.
        was_refused = d.comes(lambda: _was_refused(d, job_id, "held", "done"), 60.0)
        d.stack.release("decoding", job_id)
        return was_refused

    d.note("R27 second delivery refused while the work ran", d.retry(deliver_again) == 1)
    copies = turns = 0
    while turns < 2 or (copies == 0 and turns < TRIES):
        turns += 1
        jobs += [d.submit() for _ in range(4)]
        copies += copy_messages(d, times=4)
    d.wait_ended(*jobs)
    d.note("R27 copies of doorbells in the queue", copies > 0)
    works = d.ask("SELECT count(*) FROM attempt WHERE job_id = ANY(:jobs)", jobs=jobs)[0][0]
    shards = d.ask("SELECT count(*) FROM shard WHERE job_id = ANY(:jobs)", jobs=jobs)[0][0]
    d.tell("R27", f"{copies} copies; {works} pieces of work for {shards} shards")


def copy_messages(d: Driver, times: int) -> int:
    """Put copies of what waits in the queues behind it; return how many."""
    copies = 0
    # Stopped hosts leave messages in the queue for as long as a look takes. One that is stopped already is
    # another one's to wake.
    ours = [host for host in HOSTS if not is_stopped(d.stack.find_pid(host))]
    for host in ours:
        d.stack.signal_role(host, signal.SIGSTOP)
    try:
        with d.stack.broker() as broker, suppress(redis.RedisError):
            _try_until(lambda: any(broker.llen(queue) for queue in _QUEUES), 3.0)
            for queue in _QUEUES:
                for message in set(broker.lrange(queue, 0, -1)):  # not copies of copies
                    broker.lpush(queue, *[message] * times)
                    copies += times
    finally:
        for host in ours:
            d.stack.signal_role(host, signal.SIGCONT)
    return copies


def _was_refused(d: Driver, job_id: str, *why: str) -> bool:
    return any(d.has_logged("shard.refused", job=job_id, refusal=each) for each in why)


def r28_stale_doorbells(d: Driver) -> None:
    """Doorbells of work that ended long ago are rung again, in any order."""
    ended = d.ask("SELECT job_id, index FROM shard WHERE state = 'done' ORDER BY random() LIMIT 30")
    before = d.ask("SELECT count(*), sum(fence) FROM shard")
    # The relay's own words, with the fleet's own program.
    code = (
        "from workers.app import make_app; from workers.doorbell import CeleryDoorbell; import os, sys;"
        "from fakesieve.jobs.rows import ShardKey; from fakesieve.jobs.states import Lane;"
        "bell = CeleryDoorbell(make_app(os.environ['FAKESIEVE_BROKER_URL']));"
        "[bell.ring(ShardKey(*line.split()[:1], int(line.split()[1])), Lane.BULK) for line in sys.stdin]"
    )
    program = d.stack.make_program("relay")
    lines = "".join(f"{job} {index}\n" for job, index in ended)
    subprocess.run(
        [program.command[0], "-c", code],
        env=dict(program.environment),
        cwd=program.folder,
        input=lines.encode(),
        timeout=PATIENCE_S,
        check=True,
    )
    seen = [job for job, _ in ended]
    d.wait(lambda: any(_was_refused(d, job, "done") for job in seen), "a refusal")
    time.sleep(2)
    d.note("R28 old doorbells refused", any(_was_refused(d, job, "done") for job in seen))
    d.note("R28 old doorbells changed nothing", d.ask("SELECT count(*), sum(fence) FROM shard") == before)


def r33_broker_lost_after_commit(d: Driver, refuse_s: float) -> None:
    """Between the commit of a job and its doorbell the relay dies, or the broker is not to be reached."""
    d.stack.hold_down("relay")
    jobs = [d.submit() for _ in range(2)]
    d.stack.let_up("relay")
    d.wait_ended(*jobs)

    d.stack.arm("rung", "kill")  # before there is something to ring for: it may be rung for at once
    job_id = d.submit()
    d.wait_met("rung")
    d.note("R33 relay killed between publishing and commit", was_met=True)
    proxy = d.stack.proxies["broker"]
    before = proxy.counts.refused
    proxy.is_refusing = True
    proxy.reset_all()
    jobs = [job_id, d.submit(), d.submit()]
    time.sleep(refuse_s)
    # The relay may still be starting, and the hosts may be on their way too.
    d.note("R33 broker refused connections", d.comes(lambda: proxy.counts.refused > before, WAIT_S))
    proxy.is_refusing = False
    waited_s = d.wait_ended(*jobs)
    d.tell("R33", f"refused for {refuse_s:.0f} s; jobs ended {waited_s:.0f} s later")


def r36_three_copies(d: Driver) -> None:
    """Three relays and three reconcilers run, and one of each is frozen for a while."""
    extras = [f"{role}-{number}" for role in ("relay", "reconciler") for number in (2, 3)]
    for name in extras:
        d.stack.start_role(name)
    jobs = [d.submit("short") for _ in range(12)]
    frozen = ("relay-2", "reconciler-2")
    for name in frozen:
        d.stack.signal_role(name, signal.SIGSTOP)
    jobs += [d.submit("sharded") for _ in range(3)]
    time.sleep(3)
    for name in frozen:
        d.stack.signal_role(name, signal.SIGCONT)
    d.wait_ended(*jobs)
    codes = [d.stack.drain(name) for name in extras]
    d.note("R36 three relays and three reconcilers", codes.count(0) == len(extras))
