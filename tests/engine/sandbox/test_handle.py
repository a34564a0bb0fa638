"""The parent's side: whatever happens to a child or to the zygote, the parent gets an answer."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from engine.decode import decode_samples
from engine.errors import MediaRejected, Unavailable
from engine.limits import Limits
from engine.probe import probe_video
from engine.results import RejectReason
from engine.sampling import Sampling, plan_samples
from engine.sandbox.channel import FrameNotice, Kind, ProtocolBroken, encode, pack_json, pack_slot
from engine.sandbox.handle import (
    CallDied,
    CallTimedOut,
    Sandbox,
    SandboxCall,
    SandboxLevel,
    SandboxLost,
    SandboxState,
)
from engine.sandbox.lockdown import CHILD_NAME, SPARE_NAME
from engine.sandbox.slabs import MAX_SLOTS
from tests.engine.sandbox.support import is_gone
from tests.media import draw_clip
from tests.waiting import PATIENCE_S, wait_until


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_clip(tmp_path_factory.mktemp("sandbox") / "clip.mp4", frames=60)


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


def descriptors(process: int | str) -> int:
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


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
    before = descriptors("self"), descriptors(zygote)
    for _ in range(10):
        list(decode_samples(clip, probe, targets, sandbox=sandbox))
    wait_for_spare(zygote)
    assert (descriptors("self"), descriptors(zygote)) == before


def test_a_stream_that_is_dropped_ends_its_child(clip: Path, sandbox: Sandbox) -> None:
    zygote = zygote_of(sandbox)
    probe = probe_video(clip, sandbox=sandbox)
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
        children = children_of(zygote_of(started))
        assert len(children) == 2
        started.close()
        wait_until(lambda: all(is_gone(child.pid) for child in children))
        stream.close()


def test_a_closed_sandbox_is_not_used_again() -> None:
    started = Sandbox.start()
    started.close()
    with pytest.raises(RuntimeError, match="closed"):
        started.inspect()


def test_time_spent_waiting_is_bounded_and_time_of_the_consumer_is_not_counted(
    clip: Path, sandbox: Sandbox
) -> None:
    probe = probe_video(clip, sandbox=sandbox)
    wanted = plan_samples(probe).targets
    stream = decode_samples(clip, probe, wanted, sandbox=sandbox, limits=Limits(wall_s=5))
    next(stream)
    time.sleep(0.3)
    assert sum(len(group) for group in stream) == 24
    with pytest.raises(MediaRejected) as caught:
        list(decode_samples(clip, probe, wanted, sandbox=sandbox, limits=Limits(wall_s=0.001)))
    assert caught.value.reason is RejectReason.DECODE_TIMEOUT


def test_too_little_memory_is_told_as_such(tmp_path: Path, sandbox: Sandbox) -> None:
    path = draw_clip(tmp_path / "a.mp4", width=3840, height=2160, frames=3, options={"preset": "ultrafast"})
    probe = probe_video(path, sandbox=sandbox)
    targets = plan_samples(probe).targets
    with pytest.raises(MediaRejected) as caught:
        list(decode_samples(path, probe, targets, sandbox=sandbox, limits=Limits(memory_bytes=30 << 20)))
    assert caught.value.reason is RejectReason.LIMIT_MEMORY


# A child that lies: our end of a call, with the other end in our hands ------------------------------------


class Liar:
    """Both far ends of a call; what it sends reaches the parent's code as if from a child."""

    def __init__(self, wall_s: float = 5.0) -> None:
        near, self.channel = socket.socketpair()
        status, self.status = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.call = SandboxCall(near, status, wall_s, None)

    def says(self, *messages: tuple[Kind, bytes]) -> None:
        for kind, payload in messages:
            self.channel.sendall(encode(kind, payload))

    def ends(self, **how: int) -> None:
        self.channel.close()
        self.status.send(json.dumps(how).encode())


@pytest.fixture
def liar() -> Iterator[Liar]:
    made = Liar()
    yield made
    made.call.close()
    made.channel.close()
    made.status.close()


def test_what_was_said_before_the_end_is_heard(liar: Liar) -> None:
    liar.says((Kind.DONE, b"{}"))
    liar.ends(signal=11)
    assert liar.call.receive().kind is Kind.DONE
    with pytest.raises(CallDied, match="signal 11") as caught:
        liar.call.receive()
    assert caught.value.signal_number == 11


def test_noise_on_the_channel_is_a_broken_protocol(liar: Liar) -> None:
    liar.channel.sendall(b"\x00" * 64)
    with pytest.raises(ProtocolBroken):
        liar.call.receive()


def test_silence_times_out() -> None:
    liar = Liar(wall_s=0.05)
    with liar.call, pytest.raises(CallTimedOut):
        liar.call.receive()
    liar.channel.close()
    liar.status.close()


def test_a_child_that_does_not_read_cannot_hold_its_parent() -> None:
    liar = Liar(wall_s=0.2)

    def answer() -> None:
        for _ in range(1_000):  # a socket takes some hundred before it is full
            liar.call.send(Kind.SLOT_FREE, pack_slot(0))

    parent = threading.Thread(target=answer, daemon=True)
    parent.start()
    parent.join(PATIENCE_S)
    assert not parent.is_alive()
    with liar.call, pytest.raises(CallTimedOut):
        liar.call.receive()
    liar.channel.close()
    liar.status.close()


def test_a_zygote_that_vanishes_is_not_the_childs_fault(liar: Liar) -> None:
    liar.status.close()
    with pytest.raises(SandboxLost):
        liar.call.receive()


class LyingSandbox:
    """Stands in for `Sandbox`: every call is answered by the same messages."""

    def __init__(self, *messages: tuple[Kind, bytes]) -> None:
        self._messages = messages

    def call(self, *arguments: object) -> SandboxCall:
        return self.call_with_slabs(*arguments)[0]

    def call_with_slabs(
        self, request: object, source: int, size: int, wall_s: float
    ) -> tuple[SandboxCall, int]:
        liar = Liar()
        liar.says(*self._messages)
        liar.ends(exit=0)
        liar.status.detach()  # stays open, as a zygote would keep it
        memory = os.memfd_create("frames")
        os.ftruncate(memory, max(size, 1))
        return liar.call, memory


GOOD = FrameNotice(0, 0, 0, is_resized=False)
LIES = {
    "a slot that is not there": (Kind.FRAME, replace(GOOD, slot=MAX_SLOTS).pack()),
    "a target that is not there": (Kind.FRAME, replace(GOOD, target=99).pack()),
    "a negative time": (Kind.FRAME, replace(GOOD, pts_us=-5).pack()),
    "an endless time": (Kind.FRAME, replace(GOOD, pts_us=1 << 62).pack()),
    "half a notice": (Kind.FRAME, GOOD.pack()[:-1]),
    "a miss without a target": (Kind.MISSED, pack_json({"kind": "corrupt", "detail": ""})),
    "an unknown miss": (Kind.MISSED, pack_json({"kind": "?", "target": 0, "detail": ""})),
    "an unknown reason": (Kind.REJECTED, pack_json({"reason": "BECAUSE", "seen": "", "hint": ""})),
    "a probe's answer": (Kind.FACTS, b"{}"),
    "the end too early": (Kind.DONE, b"{}"),
    "the parent's own words": (Kind.REQUEST, b"{}"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_decoder_is_a_crashed_decoder(clip: Path, sandbox: Sandbox, lie: str) -> None:
    probe = probe_video(clip, sandbox=sandbox)
    lying = LyingSandbox(LIES[lie])
    with pytest.raises(MediaRejected) as caught:
        list(decode_samples(clip, probe, plan_samples(probe).targets, sandbox=lying))
    assert caught.value.reason is RejectReason.DECODER_CRASHED


def test_lies_after_a_good_frame_cost_only_what_follows(clip: Path, sandbox: Sandbox) -> None:
    probe = probe_video(clip, sandbox=sandbox)
    lying = LyingSandbox((Kind.FRAME, GOOD.pack()), (Kind.FRAME, GOOD.pack()))
    stream = decode_samples(clip, probe, plan_samples(probe).targets, sandbox=lying)
    assert [len(group) for group in stream] == [1]
    assert len(stream.report.missing) == 31


PROBE_LIES = {
    "no facts": [(Kind.DONE, b"{}")],
    "empty facts": [(Kind.FACTS, b"{}")],
    "facts of another kind": [(Kind.FACTS, b'{"codec": 7}')],
    "a frame": [(Kind.FRAME, GOOD.pack())],
    "times that are no integers": [(Kind.TIMES, b"123")],
    "the same again and again": [(Kind.TIMES, b"")] * 2,
}


@pytest.mark.parametrize("lie", PROBE_LIES)
def test_a_lying_probe_is_a_crashed_probe(clip: Path, lie: str) -> None:
    with pytest.raises(MediaRejected) as caught:
        probe_video(clip, sandbox=LyingSandbox(*PROBE_LIES[lie]))
    assert caught.value.reason is RejectReason.DECODER_CRASHED


def test_a_childs_words_are_cleaned_before_they_are_shown(clip: Path) -> None:
    words = pack_json({"reason": "CORRUPT", "seen": "\x1b[31mred\nline" + "x" * 9000, "hint": "h\x00"})
    with pytest.raises(MediaRejected) as caught:
        probe_video(clip, sandbox=LyingSandbox((Kind.REJECTED, words)))
    assert caught.value.reason is RejectReason.CORRUPT
    assert caught.value.seen.isprintable()
    assert len(caught.value.seen) == 500
