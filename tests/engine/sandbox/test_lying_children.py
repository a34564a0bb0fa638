"""A child that lies: our end of a call, with the other end in our hands."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.decode import decode_samples
from engine.errors import MediaRejected
from engine.probe import probe_video
from engine.results import RejectReason
from engine.sampling import plan_samples
from engine.sandbox.channel import FrameNotice, Kind, ProtocolBroken, encode, pack_json, pack_slot
from engine.sandbox.handle import CallDied, CallTimedOut, Sandbox, SandboxCall, SandboxLost
from engine.sandbox.slabs import MAX_SLOTS
from tests.waiting import PATIENCE_S


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
