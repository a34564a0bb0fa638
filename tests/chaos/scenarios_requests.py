"""Failures of those who submit: killed within, after, or fifty at once."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.objects import VideoRef
from tests.chaos.checker import Expected
from tests.chaos.driver import Driver
from tests.waiting import PATIENCE_S

_SUBMITTER = Path(__file__).with_name("submitter.py")
_PREFIX = "submit-"
_STATEMENTS = ("shards_written", "doorbells_written")


def _start(d: Driver, ref: VideoRef, key: str) -> str:
    """Submit in a process of its own; return the id that it printed, nothing if it died before."""
    environment = d.stack.environment() | {"CHAOS_PREFIX": _PREFIX}
    command = [sys.executable, "-P", str(_SUBMITTER), ref.bucket, ref.key, key]
    done = subprocess.run(
        command,
        env=environment,
        cwd=d.stack.folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        start_new_session=True,
    )
    return done.stdout.strip()


def r31_killed_within_submit(d: Driver) -> None:
    """The submitter dies between the statements of its transaction: then there is no job, or a whole one."""
    for statement in _STATEMENTS:
        ref = d.upload()
        d.stack.arm(f"{_PREFIX}{statement}", "kill")
        printed = _start(d, ref, f"within/{ref.key}")
        rows = d.ask("SELECT count(*) FROM job WHERE source_key = :key", key=ref.key)[0][0]
        was_killed = bool(d.stack.find_met(f"{_PREFIX}{statement}"))
        d.note(f"R31 submitter killed after {statement}", was_killed and (printed, rows) == ("", 0))


def r34_killed_before_reply(d: Driver) -> None:
    """The submitter dies after the commit and before it could tell; the same request again finds the job."""
    ref = d.upload()
    d.stack.arm(f"{_PREFIX}committed", "kill")
    assert _start(d, ref, f"reply/{ref.key}") == ""
    before = d.ask("SELECT id FROM job WHERE source_key = :key", key=ref.key)
    told = d.insist(lambda: _start(d, ref, f"reply/{ref.key}"))
    d.promise(told, Expected("short"))
    d.note("R34 submitter killed after the commit, the same job told again", before == [(told,)])
    d.wait_ended(told)


def r35_fifty_at_once(d: Driver, callers: int = 50) -> None:
    """Fifty submissions under one key at the same moment are one job."""
    ref = d.upload()
    new = NewJob(d.tenant_id, ref, idempotency_key=f"fifty/{ref.key}")
    with ThreadPoolExecutor(callers) as pool:
        told = list(pool.map(lambda _: d.insist(lambda: submit_video(d.store, new)), range(callers)))
    ids = {each.job_id for each in told}
    d.promise(told[0].job_id, Expected("short"))
    d.note("R35 fifty at once made one job", len(ids) == 1 and sum(each.is_new for each in told) == 1)
    d.wait_ended(*ids)
    d.tell("R35", f"{callers} callers, {len(ids)} job")
