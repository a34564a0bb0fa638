"""Failures of the database: it is ended, unreachable, full or in the way of itself."""

import signal
import time
from contextlib import suppress

import psycopg

from fakesieve.embedded.postgres import OWNER_ROLE
from tests.chaos.driver import WAIT_S, Driver
from tests.chaos.stack import HOSTS

_EVIDENCE_BYTES = 3200  # a transaction that sends so much writes a result, and hardly a heartbeat or claim


def r16_restarted(d: Driver, times: int) -> None:
    """The database is restarted, orderly and not, while everything works with it."""
    for turn in range(times):
        number = (signal.SIGINT, signal.SIGQUIT)[turn % 2]  # fast and immediate
        jobs = [d.submit(clip) for clip in ("long", "short", "short")]
        d.wait(lambda jobs=jobs: d.read_shard(jobs[0]) is not None, "work")
        d.stack.end_server(d.stack.postgres, number)
        d.stack.start_server(d.stack.postgres)
        waited_s = d.wait_ended(*jobs)
        how = {signal.SIGINT: "fast", signal.SIGQUIT: "immediate"}[number]
        d.note(f"R16 database restarted, {how}", was_met=True)
        d.tell(f"R16 {how}", f"jobs ended {waited_s:.0f} s after the start")
    d.note("R16 a host met a database that was away", _has_met_outage(d))


def _has_met_outage(d: Driver) -> bool:
    events = ("host.beat_missed", "shard.not_claimed", "shard.not_released", "shard.not_done")
    return any(
        "Error" in str(found.get("seen")) or "Shutdown" in str(found.get("seen"))
        for host in HOSTS
        for event in events
        for found in d.stack.read_events(host, event)
    ) or bool(d.stack.read_events("relay", "relay.unavailable"))


def r17_commit_unknown(d: Driver, times: int) -> None:
    """The connection breaks after the database has committed a result and before it could say so."""
    proxy = d.stack.proxies["database"]
    before = proxy.counts.cut_commits
    until = time.monotonic() + 120 * times
    jobs: list[str] = []
    cut = 0
    while cut < times or not d.stack.has_seen("repeated_commit"):
        if time.monotonic() > until:
            break
        jobs.append(d.submit())
        proxy.cut_commits(1, _EVIDENCE_BYTES)
        d.wait_ended(jobs[-1])
        cut = proxy.counts.cut_commits - before
    proxy.heal()
    d.note("R17 commits whose reply was lost", cut >= times)
    d.note("R17 the same result written again, counted once", d.stack.has_seen("repeated_commit"))
    d.tell("R17", f"{cut} commits of results without a reply, in {len(jobs)} jobs")


def r18_deadlocks(d: Driver, times: int) -> None:
    """Somebody locks the job before the shard while a worker locks the shard before the job."""
    for _ in range(times):
        job_id, _ = d.meet("finishing", "hold")
        _lock_head_on(d, job_id)
        d.wait_ended(job_id)
    d.wait(lambda: _count_deadlocks(d) > 0, "a deadlock in the statistics")
    d.note("R18 transactions met head-on", was_met=True)
    d.tell("R18", f"{times} times; {_count_deadlocks(d)} deadlocks by the database's own count")


def _lock_head_on(d: Driver, job_id: str) -> None:
    """Lock in the wrong order what a held worker is about to write."""
    with (
        d.stack.postgres.connect() as wrong,
        suppress(psycopg.errors.DeadlockDetected),
        wrong.transaction(),
    ):
        wrong.execute("SELECT FROM job WHERE id = %s FOR UPDATE", (job_id,))
        d.stack.release("finishing", job_id)
        time.sleep(0.5)  # the worker has its shard by now and waits for the job
        # Either of the two is undone. The worker begins again then, when we have let go.
        wrong.execute("SELECT FROM shard WHERE job_id = %s FOR UPDATE", (job_id,))


def _count_deadlocks(d: Driver) -> int:
    return d.ask("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0][0]


def r20_no_connections(d: Driver, for_s: float) -> None:
    """The database takes no more connections, and those that there are break."""
    proxy = d.stack.proxies["database"]
    limit_connections(d, 1)
    jobs = [d.submit() for _ in range(3)]
    proxy.reset_all()
    d.note("R20 connections refused", d.comes(lambda: _is_refused(d), WAIT_S))
    time.sleep(for_s)
    limit_connections(d, -1)
    d.wait_ended(*jobs)


def _is_refused(d: Driver) -> bool:
    """Whether the database takes no further connection of the fleet's role: it says so to us, too."""
    try:
        psycopg.connect(d.stack.postgres.url(), connect_timeout=5).close()
    except psycopg.OperationalError as fault:
        return "too many connections for role" in str(fault)
    return False


def limit_connections(d: Driver, count: int) -> None:
    """Set how many connections the fleet's role may have; -1 is without a limit."""
    role = d.ask("SELECT current_user")[0][0]
    with d.stack.postgres.connect("postgres") as superuser:
        superuser.execute(f'ALTER ROLE "{role}" CONNECTION LIMIT {count}')


def r39_partition_dropped(d: Driver) -> None:
    """Old frame scores leave by dropping their partition while new ones are written and read."""
    jobs = [d.submit() for _ in range(4)]
    begun = time.monotonic()
    dropped = 0
    with psycopg.connect(d.stack.postgres.url(OWNER_ROLE), autocommit=True) as owner:
        owner.execute("SET lock_timeout = '2s'")
        owner.execute(
            "CREATE TABLE frame_score_chaos PARTITION OF frame_score"
            " FOR VALUES FROM ('1999-01-01+00') TO ('1999-02-01+00')"
        )
        for _ in range(20):
            try:
                owner.execute("DROP TABLE frame_score_chaos")
            except psycopg.errors.LockNotAvailable:
                continue
            dropped += 1
            break
    d.wait_ended(*jobs)
    d.note("R39 partition dropped under load", dropped == 1)
    d.tell("R39", f"made and dropped in {time.monotonic() - begun:.1f} s")
