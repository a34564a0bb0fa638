"""A decoder that dies in the middle of a video: half of the samples must not become a verdict."""

from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from fakesieve.jobs.rows import ShardKey
from fakesieve.jobs.states import JobState, ShardState
from fakesieve.reasons import Reason
from tests.workers.conftest import SmallFleet, draw_face
from tests.workers.test_work import read, read_shard, submit, wait
from workers.leases import HeldClaim
from workers.work import answer_doorbell


def decoders_of(process: psutil.Process) -> list[psutil.Process]:
    """What the process has forked, if it is a sandbox; the servers of other tests are children, too."""
    with suppress(psutil.NoSuchProcess):  # a child of another test may end while it is looked at
        if any("engine.sandbox.zygote" in word for word in process.cmdline()):
            return process.children()
    return []


def kill_decoders() -> None:
    """Kill what the sandbox of this process has forked, what waits for a call included."""
    for process in psutil.Process().children():
        for decoder in decoders_of(process):
            with suppress(psutil.NoSuchProcess):
                decoder.kill()


@pytest.fixture
def dense_clip(tmp_path: Path) -> Path:
    """A second with 32 samples: more than the decoder may have decoded before its first are taken."""
    return draw_face(tmp_path / "dense.mp4", frames=32, rate=32)


def test_killed_decoder_costs_an_attempt_and_not_half_of_the_samples(
    fleet: SmallFleet, dense_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(HeldClaim, "on_samples", lambda *_: kill_decoders())
        job_id = submit(fleet, dense_clip)
        answer_doorbell(fleet.place, ShardKey(job_id, 0))
    shard = read_shard(fleet, job_id, 1)
    assert (shard.state, shard.attempts) == (ShardState.PENDING, 1)
    assert shard.last_reason is Reason.DECODER_CRASHED
    wait(fleet, 10.0)
    fleet.answer_all()
    assert read(fleet, job_id).state is JobState.SUCCEEDED
    assert fleet.store.records[0].score.coverage.frames_decoded == 32


def test_decoder_that_dies_at_each_attempt_leaves_what_it_gave(
    fleet: SmallFleet, dense_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HeldClaim, "on_samples", lambda *_: kill_decoders())
    job_id = submit(fleet, dense_clip)
    for _ in range(3):
        wait(fleet, 10.0)
        fleet.answer_all()
    assert read(fleet, job_id).state is JobState.SUCCEEDED
    coverage = fleet.store.records[0].score.coverage
    assert 0 < coverage.frames_decoded < coverage.frames_sampled == 32
