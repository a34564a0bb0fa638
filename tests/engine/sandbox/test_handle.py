"""The parent's side: whatever happens to a child or to the zygote, the parent gets an answer."""

import gc
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from engine.decode import decode_samples
from engine.errors import MediaRejected, Unavailable
from engine.limits import Limits
from engine.probe import probe_video
from engine.results import RejectReason
from engine.sampling import Sampling, plan_samples
from engine.sandbox import handle
from engine.sandbox.handle import (
    Sandbox,
    SandboxLevel,
    SandboxState,
)
from engine.sandbox.lockdown import CHILD_NAME, SPARE_NAME
from tests.engine.sandbox.support import is_gone
from tests.media import draw_clip
from tests.waiting import PATIENCE_S, wait_until


def children_of(pid: int) -> dict[psutil.Process, str]:
    """The children of a process that live, each with its name; one may end while it is looked at."""
    named = {}
    for child in psutil.Process(pid).children():
        with suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE:
                named[child] = child.name()
    return named


def busy_children_of(pid: int) -> list[psutil.Process]:
    return [child for child, name in children_of(pid).items() if name == CHILD_NAME]


def spares_of(pid: int) -> list[psutil.Process]:
    return [child for child, name in children_of(pid).items() if name == SPARE_NAME]


def wait_for_spare(pid: int) -> psutil.Process:
    """The child that waits for a call, once it is the only one and the zygote that forked it sleeps."""
    wait_until(lambda: list(children_of(pid).values()) == [SPARE_NAME])
    wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_SLEEPING)
    return spares_of(pid)[0]


def descriptors(process: int) -> int:
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


def own_descriptors() -> set[tuple[str, str]]:
    """What this process holds open, each with its number. Threads of other tests may let go of theirs."""
    opened = set()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one by which they are listed
            opened.add((entry.name, str(entry.readlink())))
    return opened


def zygote_of(sandbox: Sandbox) -> int:
    sandbox.inspect()
    process = sandbox._process
    assert process is not None
    return process.pid


def test_the_level_is_what_was_tried(sandbox: Sandbox) -> None:
    state = sandbox.inspect()
    assert state.open_doors == ()
    assert (sandbox.level, state.seccomp) == (SandboxLevel.FULL, True)
    assert "seccomp" in sandbox.description


def test_a_sandbox_that_does_not_hold_is_refused_unless_allowed(clip: Path) -> None:
    for allowed in (False, True):
        with Sandbox.start(allow_unsandboxed=allowed) as started:
            open_state = SandboxState(SandboxLevel.RLIMITS, 0, seccomp=False, open_doors=("read", "connect"))
            started.inspect()
            started._state = open_state
            assert started.description == "rlimits (no Landlock, no seccomp, not refused: read, connect)"
            if allowed:
                assert probe_video(clip, sandbox=started).frame_count == 60
                continue
            with pytest.raises(Unavailable, match="read and connect") as caught:
                probe_video(clip, sandbox=started)
            assert caught.value.reason is RejectReason.SANDBOX_UNAVAILABLE


def test_no_zombies_and_no_descriptors_are_left(clip: Path, sandbox: Sandbox) -> None:
    zygote = zygote_of(sandbox)
    probe = probe_video(clip, sandbox=sandbox)
    targets = plan_samples(probe).targets
    wait_for_spare(zygote)
    gc.collect()  # or what earlier tests left is closed meanwhile, and its numbers are taken anew
    own, zygotes = own_descriptors(), descriptors(zygote)
    for _ in range(10):
        list(decode_samples(clip, probe, targets, sandbox=sandbox))
    wait_for_spare(zygote)
    assert own_descriptors() - own == set()
    assert descriptors(zygote) == zygotes


def test_a_stream_that_is_dropped_ends_its_child(clip: Path, sandbox: Sandbox) -> None:
    zygote = zygote_of(sandbox)
    probe = probe_video(clip, sandbox=sandbox)
    wait_for_spare(zygote)  # the child that looked at the file may be on its way out for a while
    stream = decode_samples(clip, probe, plan_samples(probe).targets, sandbox=sandbox)
    next(stream)
    assert len(busy_children_of(zygote)) == 1
    stream.close()
    wait_for_spare(zygote)


def test_a_call_goes_to_the_child_that_was_forked_ahead(clip: Path, sandbox: Sandbox) -> None:
    zygote = zygote_of(sandbox)
    probe = probe_video(clip, sandbox=sandbox)
    spare = wait_for_spare(zygote)
    stream = decode_samples(clip, probe, plan_samples(probe).targets, sandbox=sandbox)
    next(stream)
    assert [child.pid for child in busy_children_of(zygote)] == [spare.pid]
    stream.close()


def test_a_spare_that_is_killed_costs_no_call(clip: Path, sandbox: Sandbox) -> None:
    for _ in range(3):
        spare = wait_for_spare(zygote_of(sandbox))
        spare.kill()
        wait_until(lambda pid=spare.pid: is_gone(pid))
        assert probe_video(clip, sandbox=sandbox).frame_count == 60


def test_a_spare_knows_nothing_of_other_calls(clip: Path, sandbox: Sandbox) -> None:
    probe = probe_video(clip, sandbox=sandbox)
    stream = decode_samples(clip, probe, plan_samples(probe).targets, sandbox=sandbox)
    next(stream)
    zygote = zygote_of(sandbox)
    wait_until(lambda: bool(spares_of(zygote)))
    (spare,) = spares_of(zygote)
    wait_until(lambda: descriptors(spare.pid) == 5)  # three silent streams, its handover and its life
    stream.close()


def test_many_threads_share_one_zygote(clip: Path, sandbox: Sandbox) -> None:
    decoded: list[int] = []

    def work() -> None:
        probe = probe_video(clip, sandbox=sandbox)
        stream = decode_samples(clip, probe, plan_samples(probe).targets, sandbox=sandbox)
        decoded.append(sum(len(group) for group in stream))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert decoded == [32] * 6


def test_a_killed_child_is_a_crash_and_what_came_before_stays(clip: Path, sandbox: Sandbox) -> None:
    probe = probe_video(clip, sandbox=sandbox)
    wanted = plan_samples(probe, Sampling(min_samples=60)).targets
    stream = decode_samples(clip, probe, wanted, sandbox=sandbox)
    first = next(stream)
    for child in busy_children_of(zygote_of(sandbox)):
        child.kill()
    rest = list(stream)
    came = len(first) + sum(len(group) for group in rest)
    assert 8 <= came < 60
    assert stream.report.decoded == came
    assert stream.report.missing[-1].detail.startswith("DECODER_CRASHED")
    assert probe_video(clip, sandbox=sandbox).frame_count == 60


def test_a_zygote_that_dies_midway_is_replaced_and_nothing_is_lost(clip: Path) -> None:
    with Sandbox.start() as started:
        probe = probe_video(clip, sandbox=started)
        wanted = plan_samples(probe, Sampling(min_samples=60)).targets
        stream = decode_samples(clip, probe, wanted, sandbox=started)
        first = next(stream)
        os.kill(zygote_of(started), signal.SIGKILL)
        times = [*first.pts_us, *(t for group in stream for t in group.pts_us)]
        assert times == [target.pts_us for target in wanted]
        assert stream.report.missing == ()


def test_a_zygote_that_died_between_calls_is_replaced(clip: Path) -> None:
    with Sandbox.start() as started:
        for _ in range(2):
            os.kill(zygote_of(started), signal.SIGKILL)
            assert probe_video(clip, sandbox=started).frame_count == 60


def test_children_die_with_their_zygote(clip: Path) -> None:
    with Sandbox.start() as started:
        probe = probe_video(clip, sandbox=started)
        stream = decode_samples(clip, probe, plan_samples(probe).targets, sandbox=started)
        next(stream)
        zygote = zygote_of(started)
        wait_until(lambda: sorted(children_of(zygote).values()) == sorted([CHILD_NAME, SPARE_NAME]))
        children = children_of(zygote)
        started.close()
        wait_until(lambda: all(is_gone(child.pid) for child in children))
        stream.close()


def test_a_closed_sandbox_is_not_used_again() -> None:
    started = Sandbox.start()
    started.close()
    with pytest.raises(RuntimeError, match="closed"):
        started.inspect()


class ConsumersClock:
    """The clock by which waiting is measured, moved on by whoever takes the frames."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s


def test_time_of_the_consumer_is_not_counted(
    clip: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ConsumersClock()
    monkeypatch.setattr(handle, "time", clock)
    probe = probe_video(clip, sandbox=sandbox)
    limits = Limits(wall_s=PATIENCE_S)
    stream = decode_samples(clip, probe, plan_samples(probe).targets, sandbox=sandbox, limits=limits)
    next(stream)
    clock.ahead_s = 2 * PATIENCE_S
    assert sum(len(group) for group in stream) == 24
    assert stream.report.missing == ()


def test_time_spent_waiting_is_bounded(clip: Path, sandbox: Sandbox) -> None:
    probe = probe_video(clip, sandbox=sandbox)
    wait_for_spare(zygote_of(sandbox)).suspend()  # a decoder that does not answer, however quick the machine
    stream = decode_samples(
        clip, probe, plan_samples(probe).targets, sandbox=sandbox, limits=Limits(wall_s=0.05)
    )
    with pytest.raises(MediaRejected) as caught:
        list(stream)
    assert caught.value.reason is RejectReason.DECODE_TIMEOUT


def test_too_little_memory_is_told_as_such(tmp_path: Path, sandbox: Sandbox) -> None:
    path = draw_clip(tmp_path / "a.mp4", width=3840, height=2160, frames=3, options={"preset": "ultrafast"})
    probe = probe_video(path, sandbox=sandbox)
    targets = plan_samples(probe).targets
    with pytest.raises(MediaRejected) as caught:
        list(decode_samples(path, probe, targets, sandbox=sandbox, limits=Limits(memory_bytes=30 << 20)))
    assert caught.value.reason is RejectReason.LIMIT_MEMORY
