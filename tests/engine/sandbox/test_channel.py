"""The wire between parent and child: whatever arrives is a message or a broken protocol."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.sandbox.channel import (
    MAX_PAYLOAD_BYTES,
    ChildChannel,
    FrameNotice,
    Kind,
    Message,
    MessageParser,
    ProtocolBroken,
    encode,
    pack_json,
    pack_slot,
    unpack_slot,
)
from engine.sandbox.integers import pack_integers, unpack_integers

messages = st.builds(Message, st.sampled_from(Kind), st.binary(max_size=200))


@given(st.lists(messages, max_size=8), st.lists(st.integers(1, 50), min_size=1))
def test_messages_survive_any_cutting_of_the_stream(sent: list[Message], cuts: list[int]) -> None:
    stream = b"".join(encode(message.kind, message.payload) for message in sent)
    parser, heard, place = MessageParser(), [], 0
    for cut in cuts * (len(stream) + 1):
        heard += parser.feed(stream[place : place + cut])
        place += cut
        if place >= len(stream):
            break
    assert heard == sent
    last = Message(next(iter(Kind)), b"end")
    assert parser.feed(encode(last.kind, last.payload)) == [last]  # nothing of a message is left over


@given(st.binary(max_size=400))
def test_noise_is_messages_or_a_broken_protocol(noise: bytes) -> None:
    parser = MessageParser()
    try:
        heard = parser.feed(noise)
    except ProtocolBroken:
        return
    assert all(isinstance(message.kind, Kind) for message in heard)


def test_a_length_above_the_limit_is_not_waited_for() -> None:
    with pytest.raises(ProtocolBroken, match="bytes"):
        MessageParser().feed(b"P" + (MAX_PAYLOAD_BYTES + 1).to_bytes(4, "little"))
    with pytest.raises(ProtocolBroken, match="unknown kind"):
        MessageParser().feed(b"\x80\x00\x00\x00\x00")


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=30))
def test_integers_come_back(values: list[int]) -> None:
    assert unpack_integers(Message(Kind.TIMES, pack_integers(values))).tolist() == values


def test_payloads_of_the_wrong_form_break_the_protocol() -> None:
    for payload in (b"", b"[1]", b"{", b"\xff", b'"x"', b"[" * 100_000):
        with pytest.raises(ProtocolBroken):
            Message(Kind.FACTS, payload).json()
    with pytest.raises(ProtocolBroken, match="multiple of 8"):
        unpack_integers(Message(Kind.TIMES, b"1234567"))
    with pytest.raises(ProtocolBroken, match="length"):
        FrameNotice.unpack(b"123")
    with pytest.raises(ProtocolBroken, match="length"):
        unpack_slot(b"")


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(-(2**63), 2**63 - 1), st.booleans())
def test_a_frame_notice_comes_back(slot: int, target: int, pts_us: int, is_resized: bool) -> None:
    notice = FrameNotice(slot, target, pts_us, is_resized)
    assert FrameNotice.unpack(notice.pack()) == notice
    assert unpack_slot(pack_slot(slot)) == slot


def test_json_refuses_what_is_no_number() -> None:
    with pytest.raises(ValueError, match="JSON"):
        pack_json({"x": float(np.nan)})


def test_the_childs_end_reads_and_writes_whole_messages() -> None:
    ours, theirs = os.pipe()
    try:
        channel = ChildChannel(theirs)
        channel.send(Kind.DONE, b"x" * 1000)
        os.close(theirs)
        listening = ChildChannel(ours)
        assert listening.receive() == Message(Kind.DONE, b"x" * 1000)
        with pytest.raises(EOFError):
            listening.receive()
    finally:
        os.close(ours)
