"""What a finished shard leaves in its row: its evidence, what it cost, and why it has none.

Around the bytes of the evidence lies a small header of our own, so that whoever scores the job can tell what
the whole of it cost, and can give the reason of a video of which nothing could be decoded.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from engine.errors import EngineError, MediaRejected
from engine.evidence import ShardEvidence
from engine.results import RejectReason

_MAGIC = b"FSSR"
_VERSION = 1
_PREFIX = struct.Struct("<4sHHI")


class ShardResultInvalid(ValueError):
    """Bytes that are no result of this version."""


@dataclass(frozen=True)
class ShardResult:
    """The result of one ``screen`` shard. Times are milliseconds of this shard, by stage."""

    evidence: ShardEvidence
    timings_ms: Mapping[str, int] = field(default_factory=dict[str, int])
    inference_s: float = 0.0  # of the network, its share of joint batches
    fault: MediaRejected | None = None  # why not one sample could be decoded

    def to_bytes(self) -> bytes:
        """Return the form for the shard's row."""
        fault = self.fault
        header = json.dumps(
            {
                "timings_ms": dict(self.timings_ms),
                "inference_s": self.inference_s,
                "fault": None if fault is None else [fault.reason.value, fault.seen, fault.hint],
            },
            allow_nan=False,
        ).encode()
        return _PREFIX.pack(_MAGIC, _VERSION, 0, len(header)) + header + self.evidence.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a result. Raises ShardResultInvalid, also where the evidence in it is of another version."""
        try:
            magic, version, _, length = _PREFIX.unpack_from(data)
            if magic != _MAGIC or version != _VERSION:
                raise ValueError(f"magic {magic!r} and version {version}")
            body = data[_PREFIX.size :]
            header: dict[str, Any] = json.loads(body[:length])
            fault = header["fault"]
            return cls(
                evidence=ShardEvidence.from_bytes(body[length:]),
                timings_ms={str(stage): int(ms) for stage, ms in header["timings_ms"].items()},
                inference_s=float(header["inference_s"]),
                fault=None if fault is None else MediaRejected(RejectReason(fault[0]), fault[1], fault[2]),
            )
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, struct.error) as error:
            raise ShardResultInvalid(f"no result of a shard: {error}") from error


def find_fault(results: list[ShardResult]) -> EngineError | None:
    """Return the first shard's fault if not one shard of the video gave a sample."""
    faults = [result.fault for result in results]
    return faults[0] if faults and None not in faults else None


def add_timings(results: list[ShardResult]) -> dict[str, int]:
    """Add up the milliseconds of all shards by stage; shards ran side by side, so it is work and no wait."""
    spent: dict[str, int] = {}
    for result in results:
        for stage, ms in result.timings_ms.items():
            spent[stage] = spent.get(stage, 0) + ms
    return spent
