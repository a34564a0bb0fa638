"""The database fails over to a replica: one that has all that was acknowledged, or one that was behind."""

import shutil
import signal
import threading
import time
from pathlib import Path

from fakesieve.embedded.place import choose_owner
from fakesieve.embedded.postgres import SUPERUSER, PostgresServer
from fakesieve.embedded.program import Program, run_to_end
from fakesieve.objects import VideoRef
from tests.chaos.driver import Driver
from tests.chaos.fault_proxy import FaultProxy
from tests.waiting import PATIENCE_S


class _Replica(PostgresServer):
    """A server that follows another one until it is promoted. It has that one's roles and passwords."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder)
        self.name = name

    def finish_start(self) -> None:
        """Nothing: a replica cannot be written to."""


def r19_failover(d: Driver) -> None:
    """The database dies for good and a replica takes its place: first one that is waited for, then not."""
    _fail_over_in_step(d)
    _fail_over_behind(d)


def _fail_over_in_step(d: Driver) -> None:
    """With a synchronous replica nothing that was acknowledged may be missing."""
    with FaultProxy("replication", lambda: ("127.0.0.1", d.stack.postgres.port)) as link:
        replica = _follow(d, link, "replica-1")
        _wait_for_replica(d)
        acked = [d.submit(clip) for clip in ("short", "long", "sharded", "short")]
        late: list[str] = []

        def call() -> None:
            late.extend(d.submit() for _ in range(8))

        caller = threading.Thread(target=call)
        caller.start()  # in the middle of submitting when it happens
        time.sleep(0.5)
        _lose_primary(d, replica)
        caller.join()
        acked += late
        missing = _find_missing(d, acked)
    waited_s = d.wait_ended(*acked)
    d.note("R19 failed over to a synchronous replica, nothing lost", missing == [])
    d.tell("R19 synchronous", f"{len(acked)} jobs, {len(missing)} lost; all ended {waited_s:.0f} s after it")


def _fail_over_behind(d: Driver) -> None:
    """With an asynchronous replica jobs of its lag may vanish, and nothing else. Submitted again they end."""
    with FaultProxy("replication", lambda: ("127.0.0.1", d.stack.postgres.port)) as link:
        replica = _follow(d, link, "replica-2")
        before = [d.submit(clip) for clip in ("short", "sharded")]
        _wait_until_seen(d, replica, before)
        link.is_swallowing = True
        sources = [d.upload() for _ in range(4)]
        lagging = {d.submit(ref=ref): ref for ref in sources}
        time.sleep(2)  # hosts begin work of which the replica will know nothing
        _lose_primary(d, replica)
        missing = _find_missing(d, [*before, *lagging])
    assert set(missing) <= set(lagging), "a job that the replica had is gone"
    d.note("R19 failed over to a replica that was behind", missing != [])
    again = [_submit_again(d, job_id, lagging[job_id]) for job_id in missing]
    waited_s = d.wait_ended(*before, *again, *(set(lagging) - set(missing)))
    d.note("R19 what vanished was accepted again under its key", len(again) == len(missing) > 0)
    d.tell(
        "R19 asynchronous",
        f"{len(missing)} of {len(lagging)} jobs of the lag lost, and none of before it;"
        f" all ended {waited_s:.0f} s after they were submitted again",
    )


def _follow(d: Driver, link: FaultProxy, name: str) -> _Replica:
    """Copy the primary as it runs, and start a server that follows it over the link."""
    primary, folder = d.stack.postgres, d.stack.folder / name
    data, owner = folder / "data", choose_owner()
    data.mkdir(parents=True, mode=0o700)
    shutil.copy(primary.folder / "secrets.json", folder)
    if owner is not None:
        shutil.chown(data, owner.user, owner.group)
    program = d.stack.roles[primary.name].program
    copy = Program(
        role="basebackup",
        command=(
            *(str(Path(program.command[0]).with_name("pg_basebackup")), "--pgdata", str(data)),
            *("--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--no-password"),
            *("--host", "127.0.0.1", "--port", str(link.port), "--username", SUPERUSER),
        ),
        folder=data,
        log=folder / "basebackup.log",
        environment={"LC_ALL": "C", "PGPASSWORD": primary._secrets[SUPERUSER]},
        owner=owner,
        start_s=PATIENCE_S,
    )
    run_to_end(copy)
    replica = _Replica(folder, name)
    d.stack.start_server(replica)
    return replica


def _wait_for_replica(d: Driver) -> None:
    """Have each commit wait until the replica shows it."""
    with d.stack.postgres.connect("postgres") as superuser:
        superuser.execute("ALTER SYSTEM SET synchronous_standby_names TO '*'")
        superuser.execute("ALTER SYSTEM SET synchronous_commit TO 'remote_apply'")
        superuser.execute("SELECT pg_reload_conf()")
        is_followed = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        d.wait(lambda: superuser.execute(is_followed).fetchone() == (1,), "a synchronous replica")


def _wait_until_seen(d: Driver, replica: _Replica, jobs: list[str]) -> None:
    count = "SELECT count(*) FROM job WHERE id = ANY(%s)"
    with replica.connect() as superuser:
        d.wait(lambda: superuser.execute(count, (jobs,)).fetchone() == (len(jobs),), "the replica")


def _lose_primary(d: Driver, replica: _Replica) -> None:
    """Kill the primary, promote the replica, and lead everybody to it."""
    d.stack.end_server(d.stack.postgres, signal.SIGKILL)
    with replica.connect("postgres") as superuser:
        assert superuser.execute("SELECT pg_promote(true, 300)").fetchone() == (True,)
    d.stack.replace_postgres(replica)
    d.reconnect()


def _find_missing(d: Driver, jobs: list[str]) -> list[str]:
    there = {row[0] for row in d.ask("SELECT id FROM job WHERE id = ANY(:jobs)", jobs=jobs)}
    return [job_id for job_id in jobs if job_id not in there]


def _submit_again(d: Driver, job_id: str, ref: VideoRef) -> str:
    """Submit what vanished once more, as a caller does who looks for the job and does not find it."""
    d.forget(job_id)
    return d.submit(ref=ref)
