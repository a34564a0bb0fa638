"""Messages between the parent and a sandbox child: one kind byte, one length, one payload.

Nothing here executes what it reads: payloads are JSON, packed integers or nothing. The parent treats every
message of a child as hostile: kinds are a closed list and lengths are bounded before they are believed.
"""

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import cast

_HEADER = struct.Struct("<cI")
_FRAME = struct.Struct("<IIq?")
_SLOT = struct.Struct("<I")

MAX_PAYLOAD_BYTES = 32 << 20  # two million times of eight bytes, doubled


class Kind(Enum):
    """What a message is. The value is its byte on the wire."""

    REQUEST = b"Q"  # parent to child: JSON
    SLOT_FREE = b"A"  # parent to child: slot number
    FACTS = b"P"  # child to parent: JSON of a probe
    TIMES = b"T"  # packed int64, presentation times of all frames
    KEYFRAMES = b"K"  # packed int64, presentation times of keyframes
    FRAME = b"F"  # a frame lies in a slot
    MISSED = b"X"  # JSON: a target that could not be decoded
    REJECTED = b"E"  # JSON: reason, seen, hint
    DONE = b"D"  # JSON: the call is complete


class ProtocolBroken(Exception):
    """The other side sent something that is not a message of this protocol."""


@dataclass(frozen=True)
class Message:
    """One message as it was read; the payload is not yet interpreted."""

    kind: Kind
    payload: bytes

    def json(self) -> dict[str, object]:
        """The payload as a JSON object."""
        try:
            value: object = json.loads(self.payload)
        except (ValueError, RecursionError) as error:
            raise ProtocolBroken(f"{self.kind.name}: no JSON") from error
        if not isinstance(value, dict):
            raise ProtocolBroken(f"{self.kind.name}: no JSON object")
        return cast("dict[str, object]", value)


@dataclass(frozen=True)
class FrameNotice:
    """A decoded frame lies in ``slot`` for target number ``target``."""

    slot: int
    target: int
    pts_us: int
    is_resized: bool  # the stream changed its resolution; the frame was scaled to the probed one

    def pack(self) -> bytes:
        return _FRAME.pack(self.slot, self.target, self.pts_us, self.is_resized)

    @staticmethod
    def unpack(payload: bytes) -> "FrameNotice":
        if len(payload) != _FRAME.size:
            raise ProtocolBroken("FRAME: wrong length")
        return FrameNotice(*_FRAME.unpack(payload))


def pack_json(value: Mapping[str, object]) -> bytes:
    """A JSON object as a payload."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def pack_slot(slot: int) -> bytes:
    """A slot number as a payload."""
    return _SLOT.pack(slot)


def unpack_slot(payload: bytes) -> int:
    """The slot number of a SLOT_FREE message."""
    if len(payload) != _SLOT.size:
        raise ProtocolBroken("SLOT_FREE: wrong length")
    return int(_SLOT.unpack(payload)[0])


def encode(kind: Kind, payload: bytes = b"") -> bytes:
    """A message as it goes over the wire."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"payload of {len(payload)} bytes is above the limit")
    return _HEADER.pack(kind.value, len(payload)) + payload


class MessageParser:
    """Cuts a byte stream into messages; feed it whatever arrived."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """All messages complete with ``data``.

        Raises `ProtocolBroken` on an unknown kind or a length above the limit; the stream cannot be
        followed after that.
        """
        self._buffer += data
        messages: list[Message] = []
        while len(self._buffer) >= _HEADER.size:
            byte, length = cast("tuple[bytes, int]", _HEADER.unpack_from(self._buffer))
            try:
                kind = Kind(byte)
            except ValueError as error:
                raise ProtocolBroken(f"unknown kind {byte!r}") from error
            if length > MAX_PAYLOAD_BYTES:
                raise ProtocolBroken(f"{kind.name}: {length} bytes")
            end = _HEADER.size + length
            if len(self._buffer) < end:
                break
            messages.append(Message(kind, bytes(self._buffer[_HEADER.size : end])))
            del self._buffer[:end]
        return messages


class ChildChannel:
    """The child's end: plain blocking reads and writes on one descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._parser = MessageParser()
        self._waiting: list[Message] = []

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        view = memoryview(encode(kind, payload))
        while view:
            view = view[os.write(self._descriptor, view) :]

    def receive(self) -> Message:
        """The next message of the parent. Raises `EOFError` when the parent is gone."""
        while not self._waiting:
            data = os.read(self._descriptor, 1 << 16)
            if not data:
                raise EOFError("the parent closed the channel")
            self._waiting += self._parser.feed(data)
        return self._waiting.pop(0)
