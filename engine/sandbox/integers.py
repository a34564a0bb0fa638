"""Columns of integers as payloads of messages: apart from the channel, which loads no numpy."""

from collections.abc import Sequence

import numpy as np

from engine.arrays import I64
from engine.sandbox.channel import Message, ProtocolBroken


def pack_integers(values: Sequence[int] | I64) -> bytes:
    """64-bit integers as a payload."""
    return np.asarray(values, dtype="<i8").tobytes()


def unpack_integers(message: Message) -> I64:
    """The payload of a message as packed 64-bit integers, shape [n]."""
    if len(message.payload) % 8:
        raise ProtocolBroken(f"{message.kind.name}: length is no multiple of 8")
    return np.frombuffer(message.payload, dtype="<i8").astype(np.int64)
