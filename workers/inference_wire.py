"""Messages between the slots of a host and its inference process: one JSON object in one packet.

Both sides are ours and started from the same code; a packet that does not read means a fault of this program
and fails loudly. Pixels and answers do not pass here, they lie in slabs.
"""

import json
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from engine.errors import BackendFailed, BackendMissing, BundleInvalid, EngineError
from engine.results import RejectReason
from fakesieve.jobs.states import Lane
from fakesieve.settings import LogFormat, LogLevel
from workers.slabs import SlabLayout

PACKET_BYTES = 1 << 16


@dataclass(frozen=True)
class InferenceLaunch:
    """What an inference process is told on its command line."""

    model: str  # a name or folder, as ``load_bundle`` takes it
    engine: str
    threads: int
    layout: Mapping[str, int]  # fields of SlabLayout
    max_wait_s: float | None  # that a part of a batch waits for company; None as suits the engine
    manifest_sha256: str  # of the model as its host checked it, signature included
    log_format: LogFormat = LogFormat.JSON
    log_level: LogLevel = LogLevel.INFO

    def __post_init__(self) -> None:
        object.__setattr__(self, "log_format", LogFormat(self.log_format))  # JSON knows texts only
        object.__setattr__(self, "log_level", LogLevel(self.log_level))

    @property
    def slab_layout(self) -> SlabLayout:
        """The layout of the memory that it shares."""
        return SlabLayout(**self.layout)


@dataclass(frozen=True)
class Ready:
    """The first message of an inference process: the network is loaded and has answered once."""

    name: str
    precision: str
    input_size: int
    grid: int
    ladder: tuple[int, ...]
    weights_sha256: str
    batch_s: float  # that its largest batch took after warming up

    def __post_init__(self) -> None:
        object.__setattr__(self, "ladder", tuple(self.ladder))  # JSON knows lists only


@dataclass(frozen=True)
class Refused:
    """The first message of an inference process that cannot work: it ends after it."""

    kind: str
    reason: str
    seen: str
    hint: str

    @classmethod
    def of(cls, fault: EngineError) -> "Refused":
        """Put an error into a message."""
        return cls(type(fault).__name__, fault.reason.value, fault.seen, fault.hint)

    def to_error(self) -> EngineError:
        """Return the error that was put in."""
        kinds = {kind.__name__: kind for kind in (BackendFailed, BackendMissing, BundleInvalid)}
        return kinds.get(self.kind, EngineError)(RejectReason(self.reason), self.seen, self.hint)


@dataclass(frozen=True)
class Request:
    """A slab holds crops to be scored."""

    number: int
    slab: int
    count: int
    lane: Lane
    peers: int  # shards that run on the host just now, this one included
    alone: bool = False  # whether it goes through the network without company

    def __post_init__(self) -> None:
        object.__setattr__(self, "lane", Lane(self.lane))  # JSON knows texts only


@dataclass(frozen=True)
class Begun:
    """These requests go through the network from now on. Who reads it knows what a dead process died of."""

    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", tuple(self.numbers))  # JSON knows lists only


@dataclass(frozen=True)
class Answer:
    """The slab of a request holds its answers, or ``fault`` says why it does not."""

    number: int
    batch: int  # crops of all requests that were answered together
    waited_s: float  # from its arrival to the start of the batch
    compute_s: float  # its share of the time that the network took
    has_patches: bool
    fault: str | None = None
    ran: tuple[int, ...] = ()  # crops of each batch that the engine ran, on the first of these answers only

    def __post_init__(self) -> None:
        object.__setattr__(self, "ran", tuple(self.ran))  # JSON knows lists only


Message = Ready | Refused | Request | Begun | Answer
_KINDS: Mapping[str, type[Message]] = {
    kind.__name__: kind for kind in (Ready, Refused, Request, Begun, Answer)
}


def send(channel: socket.socket, message: Message) -> None:
    """Send a message. Raises OSError when the other side is gone."""
    channel.send(json.dumps({"type": type(message).__name__, **asdict(message)}).encode())


def receive(channel: socket.socket) -> Message | None:
    """Return the next message, None when the other side is gone and all that it said was read."""
    packet = _receive_packet(channel)
    if not packet:
        return None
    form: dict[str, Any] = json.loads(packet)
    return _KINDS[form.pop("type")](**form)


def _receive_packet(channel: socket.socket) -> bytes:
    try:
        return channel.recv(PACKET_BYTES)
    except ConnectionResetError:
        # It died with packets of ours unread. That is told once, before what it had sent itself.
        try:
            return channel.recv(PACKET_BYTES)
        except ConnectionResetError:
            return b""
