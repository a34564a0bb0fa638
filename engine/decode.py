"""Decode the planned frames of an input in the sandbox and hand them on in small groups."""

import os
import signal
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from engine.arrays import I64, U8
from engine.decoders.job import MissKind
from engine.errors import MediaRejected
from engine.limits import Limits
from engine.probe import Probe, clean_words, crash, given_or_own, open_source, rejection, sandbox_lost
from engine.results import EvidenceReason, MediaWarning, RejectReason
from engine.sampling import SampleTarget
from engine.sandbox.channel import FrameNotice, Kind, Message, ProtocolBroken, pack_slot
from engine.sandbox.handle import CallDied, CallTimedOut, Sandbox, SandboxCall, SandboxLost
from engine.sandbox.slabs import FrameSlots, SlotShape
from engine.source import SourceStamp, check_unchanged
from engine.targets import TargetLedger

GROUP_FRAMES = 8
GROUP_BYTES = 64 << 20
_DAMAGE = frozenset(
    {RejectReason.CORRUPT, RejectReason.TRUNCATED, RejectReason.NO_FRAMES, RejectReason.RESOLUTION_CHANGE}
)


@dataclass(frozen=True)
class SampledFrames:
    """Some decoded samples in order of time. Displayed orientation, square pixels, full-range sRGB."""

    rgb: U8  # [N, H, W, 3]
    pts_us: I64  # [N] when the frame is shown, strictly increasing
    target_us: I64  # [N] when it was asked for

    def __post_init__(self) -> None:
        if self.rgb.ndim != 4 or self.rgb.shape[3] != 3 or self.rgb.dtype != np.uint8:
            raise ValueError(f"frames are U8 [N, H, W, 3], not {self.rgb.dtype} {self.rgb.shape}")
        if self.pts_us.shape != self.rgb.shape[:1] or self.target_us.shape != self.rgb.shape[:1]:
            raise ValueError("every frame has a time and a target")
        if np.any(np.diff(self.pts_us) <= 0):
            raise ValueError("frames are sorted by time and none stands twice")

    def __len__(self) -> int:
        return len(self.pts_us)


@dataclass(frozen=True)
class MissingFrame:
    """A frame that was asked for and did not come."""

    pts_us: int
    reason: EvidenceReason
    detail: str


@dataclass(frozen=True)
class DecodeReport:
    """What became of the targets; every one is either decoded or missing."""

    requested: int
    decoded: int
    missing: tuple[MissingFrame, ...]
    warnings: tuple[MediaWarning, ...]
    peak_rss_bytes: int  # of the decoding child; 0 when it did not live to tell
    decode_ms: float  # from the first request to the last frame, time in the consumer excluded
    failure: MediaRejected | None = None  # what broke decoding off, after some samples

    def __post_init__(self) -> None:
        if self.decoded + len(self.missing) != self.requested:
            raise ValueError(f"{self.decoded} decoded and {len(self.missing)} missing of {self.requested}")


def decode_samples(
    path: Path,
    probe: Probe,
    targets: Sequence[SampleTarget],
    *,
    sandbox: Sandbox | None = None,
    decoder: str = "pyav",
    limits: Limits | None = None,
) -> "SampleStream":
    """Decode ``targets`` (sorted by time) of an input that `probe_video` has seen.

    Nothing happens before the stream is iterated. A crash, a time-out or damage on the way ends the stream
    early and is told in the report; only when not one frame came, iterating raises `MediaRejected`. Raises
    `Unavailable` where the sandbox or the decoder cannot be had.
    """
    return SampleStream(path, probe, targets, sandbox, decoder, limits or Limits())


class SampleStream:
    """Iterator of `SampledFrames`; ``report`` is there once it is exhausted. Close it if left early."""

    def __init__(
        self,
        path: Path,
        probe: Probe,
        targets: Sequence[SampleTarget],
        sandbox: Sandbox | None,
        decoder: str,
        limits: Limits,
    ) -> None:
        self._path, self._probe, self._decoder, self._limits = path, probe, decoder, limits
        self._sandbox = sandbox
        self._ledger = TargetLedger(probe, targets)
        self._groups = self._run()
        self._report: DecodeReport | None = None

    @property
    def report(self) -> DecodeReport:
        """What became of the targets. Raises `RuntimeError` before the stream is exhausted."""
        if self._report is None:
            raise RuntimeError("the report is complete once all groups were taken")
        return self._report

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> SampledFrames:
        return next(self._groups)

    def close(self) -> None:
        """End the decoding child, if it still runs."""
        self._groups.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> Generator[SampledFrames]:
        ledger = self._ledger
        with open_source(self._path) as (descriptor, status), given_or_own(self._sandbox) as sandbox:
            stamp = SourceStamp.of(status)
            probed = self._probe.stamp or replace(stamp, size_bytes=self._probe.size_bytes)
            check_unchanged(descriptor, probed, self._probe.sha256)
            yield from self._decode(sandbox, descriptor, tries=2)
            check_unchanged(descriptor, stamp, self._probe.sha256)
        self._report = _report(ledger)

    def _decode(self, sandbox: Sandbox, descriptor: int, tries: int) -> Generator[SampledFrames]:
        """One child for all targets that are still open, another one if the zygote is lost."""
        ledger = self._ledger
        numbers = ledger.open_numbers()
        if not numbers:
            return
        shape = SlotShape.for_picture(self._probe.width, self._probe.height, len(numbers))
        job = ledger.job(self._decoder, shape, self._limits)
        call, memory = sandbox.call_with_slabs(
            job.to_json(), descriptor, shape.total_bytes, self._limits.wall_s
        )
        with call, closing(_map_slots(memory, shape)) as slots:
            try:
                yield from _Receiver(call, slots, ledger, numbers).groups()
            except SandboxLost as error:
                sandbox.recover(call)
                if tries == 1:
                    raise sandbox_lost() from error
            else:
                return
        yield from self._decode(sandbox, descriptor, tries - 1)


def _map_slots(memory: int, shape: SlotShape) -> FrameSlots:
    try:
        return FrameSlots(memory, shape, writable=False)
    finally:
        os.close(memory)


def _report(ledger: TargetLedger) -> DecodeReport:
    """The report. Raises `MediaRejected` when targets were asked for and none was decoded."""
    if ledger.targets and not ledger.decoded:
        raise ledger.failure or _why_nothing(ledger)
    warnings: list[MediaWarning] = []
    if ledger.kinds & {MissKind.CORRUPT, MissKind.ABSENT}:
        warnings.append(MediaWarning.CORRUPT_FRAMES)
    if ledger.failure is not None:
        warnings.append(warn_of(ledger.failure))
    if ledger.was_resized or MissKind.RESOLUTION in ledger.kinds:
        warnings.append(MediaWarning.RESOLUTION_CHANGE)
    missing = tuple(
        MissingFrame(ledger.targets[number].pts_us, EvidenceReason.NOT_DECODED, detail)
        for number, detail in sorted(ledger.missing.items())
    )
    return DecodeReport(
        requested=len(ledger.targets),
        decoded=len(ledger.decoded),
        missing=missing,
        warnings=tuple(dict.fromkeys(warnings)),
        peak_rss_bytes=ledger.peak_rss_bytes,
        decode_ms=ledger.decode_ms,
        failure=ledger.failure,
    )


def warn_of(failure: MediaRejected) -> MediaWarning:
    """Return what samples that a failure took away say of their input: a limit is no damage."""
    is_damage = failure.reason in _DAMAGE
    return MediaWarning.CORRUPT_FRAMES if is_damage else MediaWarning.DECODE_BROKEN_OFF


def _why_nothing(ledger: TargetLedger) -> MediaRejected:
    reason = RejectReason.NO_FRAMES
    if MissKind.CORRUPT in ledger.kinds:
        reason = RejectReason.CORRUPT
    elif MissKind.RESOLUTION in ledger.kinds:
        reason = RejectReason.RESOLUTION_CHANGE
    first = ledger.missing[min(ledger.missing)]
    return MediaRejected(
        reason,
        f"none of {len(ledger.targets)} samples could be decoded: {first}",
        "the file is damaged; get it again from its source",
    )


class _Receiver:
    """Reads what one child says, copies its frames out of shared memory, and believes nothing."""

    def __init__(
        self, call: SandboxCall, slots: FrameSlots, ledger: TargetLedger, numbers: list[int]
    ) -> None:
        self._call = call
        self._slots = slots
        self._ledger = ledger
        self._numbers = numbers  # the child's number of a target -> ours
        shape = slots.shape
        self._capacity = max(1, min(GROUP_FRAMES, GROUP_BYTES // shape.frame_bytes))
        self._group = _Group(self._capacity, shape)
        self._is_done = False

    def groups(self) -> Iterator[SampledFrames]:
        """What the child sends, until it is done or broke off. Raises `SandboxLost` after the last group."""
        lost: SandboxLost | None = None
        while not self._is_done:
            begun = time.monotonic()
            try:
                self._take(self._call.receive())
            except SandboxLost as error:
                self._is_done, lost = True, error
            except MediaRejected as error:
                self._end(error)
            except CallTimedOut as error:
                self._end(_timed_out(str(error)))
            except CallDied as error:
                is_cpu_limit = error.signal_number == signal.SIGXCPU
                self._end(_timed_out(str(error)) if is_cpu_limit else crash(str(error)))
            except (ProtocolBroken, ValueError) as error:
                self._end(crash(f"it answered nonsense ({error})"))
            finally:
                self._ledger.decode_ms += 1000 * (time.monotonic() - begun)
            if len(self._group) == self._capacity or (self._is_done and len(self._group)):
                full, self._group = self._group, _Group(self._capacity, self._slots.shape)
                yield full.frames()
        if lost is not None:
            raise lost

    def _end(self, failure: MediaRejected) -> None:
        self._is_done = True
        self._ledger.note_failure(failure)

    def _take(self, message: Message) -> None:
        if message.kind is Kind.FRAME:
            self._take_frame(FrameNotice.unpack(message.payload))
        elif message.kind is Kind.MISSED:
            value = message.json()
            kind, number = MissKind(str(value.get("kind"))), self._own_number(value.get("target"))
            self._ledger.note_missing(number, kind, clean_words(value.get("detail")))
        elif message.kind is Kind.REJECTED:
            raise rejection(message.json())
        elif message.kind is Kind.DONE:
            peak = message.json().get("peak_rss_bytes")
            self._ledger.peak_rss_bytes = peak if isinstance(peak, int) and peak > 0 else 0
            self._is_done = True
            if any(self._ledger.is_open(number) for number in self._numbers):
                raise ProtocolBroken("it left targets unanswered")
        else:
            raise ProtocolBroken(f"{message.kind.name} while decoding")

    def _own_number(self, number: object) -> int:
        if not isinstance(number, int) or not 0 <= number < len(self._numbers):
            raise ProtocolBroken(f"there is no target {number}")
        if not self._ledger.is_open(self._numbers[number]):
            raise ProtocolBroken(f"target {number} was answered twice")
        return self._numbers[number]

    def _take_frame(self, notice: FrameNotice) -> None:
        number = self._own_number(notice.target)
        if notice.slot >= self._slots.shape.count:
            raise ProtocolBroken(f"there is no slot {notice.slot}")
        if not self._ledger.last_pts_us < notice.pts_us < 1 << 62:
            raise ProtocolBroken(f"a frame at {notice.pts_us} us after {self._ledger.last_pts_us} us")
        target_us = self._ledger.targets[number].pts_us
        self._group.add(self._slots.slot(notice.slot), notice.pts_us, target_us)
        self._ledger.note_frame(number, notice.pts_us, is_resized=notice.is_resized)
        self._call.send(Kind.SLOT_FREE, pack_slot(notice.slot))


class _Group:
    """Frames on their way into one `SampledFrames`."""

    def __init__(self, capacity: int, shape: SlotShape) -> None:
        # Memory that is never written is never given by the kernel, so a part-filled group costs its part.
        self._rgb = np.empty((capacity, shape.height, shape.width, 3), np.uint8)
        self._pts: list[int] = []
        self._targets: list[int] = []

    def __len__(self) -> int:
        return len(self._pts)

    def add(self, rgb: U8, pts_us: int, target_us: int) -> None:
        self._rgb[len(self)] = rgb  # a copy: the child may scribble over its slot at any time
        self._pts.append(pts_us)
        self._targets.append(target_us)

    def frames(self) -> SampledFrames:
        times = np.array(self._pts, np.int64), np.array(self._targets, np.int64)
        return SampledFrames(self._rgb[: len(self)], *times)


def _timed_out(what: str) -> MediaRejected:
    return MediaRejected(
        RejectReason.DECODE_TIMEOUT,
        f"decoding took too long: {what}",
        "raise the time limit (scan: --timeout), or give a smaller or simpler video",
    )
