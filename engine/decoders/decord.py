"""Decoding by decord2, for comparison. Exact where it works, and it refuses where it would not be.

Measured on decord2 3.4.0 with frames that carry their number: `seek_accurate` and `skip_frames` give wrong
frames, without an error, for HEVC and H.264 with open groups, transport streams and AVI. Reading every frame
in turn is right for MP4 and Matroska, so that is what happens here; the default decoder is faster.
"""

import os
from collections.abc import Iterator
from io import BytesIO
from typing import Protocol, cast

import numpy as np
from av.video.frame import VideoFrame

from engine.arrays import F64, U8
from engine.container import Container, MediaKind
from engine.decoders.job import DecodedFrame, DecodeJob, MissedFrame, MissKind
from engine.decoders.opening import DECODER_THREADS
from engine.decoders.pictures import decode_picture
from engine.errors import Unavailable
from engine.limits import format_size
from engine.results import RejectReason

_MOST_BYTES = 256 << 20  # it reads its input into memory, since it can open no path in the sandbox
_TIME_SLACK_US = 1_500  # its times are float32 seconds


class _Array(Protocol):
    def asnumpy(self) -> U8: ...


class _Reader(Protocol):
    def __len__(self) -> int: ...
    def next(self) -> _Array: ...
    def get_frame_timestamp(self, idx: list[int]) -> F64: ...


class _Library(Protocol):
    """The part of the module `decord` that is used here."""

    DECORDError: type[Exception]

    # The library's own name.
    def VideoReader(self, uri: BytesIO, *, num_threads: int, fault_tol: float) -> _Reader: ...  # noqa: N802


def _import_library() -> _Library:
    try:
        # Optional, 0.1 to 0.5 s to import, and with an FFmpeg of its own: only when it is asked for.
        import decord
    except ImportError as error:
        raise Unavailable(
            RejectReason.ENGINE_UNAVAILABLE,
            "decord2 is not installed",
            "pip install 'fakesieve[decord]', or use the decoder pyav",
        ) from error
    return cast("_Library", decord)


class DecordSource:
    """Reads every frame from the first on and keeps those asked for."""

    name = "decord"

    def __init__(self) -> None:
        self._library = _import_library()

    def decode(self, descriptor: int, job: DecodeJob) -> Iterator[DecodedFrame | MissedFrame]:
        if job.container.kind is MediaKind.PICTURE:
            return decode_picture(descriptor, job)
        _check_job(job)
        return self._decode_video(descriptor, job)

    def _decode_video(self, descriptor: int, job: DecodeJob) -> Iterator[DecodedFrame | MissedFrame]:
        data = BytesIO(os.pread(descriptor, job.size_bytes, 0))
        try:
            # Any frame that it would silently replace by a neighbour is an error instead.
            reader = self._library.VideoReader(data, num_threads=DECODER_THREADS, fault_tol=1e-9)
            times = np.asarray(reader.get_frame_timestamp(list(range(len(reader)))))[:, 0]
        except self._library.DECORDError as error:
            raise _refusal(f"it failed to open the file ({_first_line(error)})") from error
        wanted = _match(np.rint(times * 1e6).astype(np.int64), job)
        damage = ""
        for index in range(max(wanted) + 1):
            try:
                rgb = reader.next().asnumpy()
            except (self._library.DECORDError, StopIteration) as error:
                damage = f"decord stopped: {_first_line(error) or 'it ended early'}"
                if len(wanted) == len(job.targets):  # whether the file or decord is at fault is not known
                    raise _refusal(damage) from error
                break
            if index in wanted:
                number = wanted.pop(index)
                yield DecodedFrame(number, job.targets[number][0], _fit(rgb, job))
        for number in sorted(wanted.values()):
            yield MissedFrame(number, MissKind.CORRUPT, damage)


def _refusal(why: str) -> Unavailable:
    return Unavailable(
        RejectReason.ENGINE_UNAVAILABLE,
        f"decord cannot decode this input exactly: {why}",
        "use the decoder pyav",
    )


def _first_line(error: BaseException) -> str:
    """What it says, without the places in its own source that stand before it."""
    line = (str(error).splitlines() or [""])[0]
    return line.rpartition("Check failed: ")[2][:200]


def _check_job(job: DecodeJob) -> None:
    facts = job.facts
    if job.container not in (Container.MP4, Container.MATROSKA) or facts.is_index_timed:
        raise _refusal(f"its frame numbers are wrong in {job.container.value}")
    if facts.is_hdr or facts.is_interlaced or facts.is_mirrored:
        raise _refusal("it knows nothing of HDR, interlacing and mirroring")
    if job.size_bytes > min(_MOST_BYTES, job.limits.memory_bytes // 2):
        raise _refusal(f"{format_size(job.size_bytes)} do not fit into memory")


def _match(times_us: np.ndarray, job: DecodeJob) -> dict[int, int]:
    """Frame number -> target number. Refuses when its times are not those of the probe."""
    wanted: dict[int, int] = {}
    for number, (pts_us, _) in enumerate(job.targets):
        index = int(np.abs(times_us - pts_us).argmin())
        if abs(int(times_us[index]) - pts_us) > _TIME_SLACK_US + job.tolerance_us:
            raise _refusal(f"it knows no frame at {pts_us} us")
        wanted[index] = number
    if len(wanted) != len(job.targets) or int(times_us.min()) < -_TIME_SLACK_US:
        raise _refusal("its frames are not those that a player shows")
    return wanted


def _fit(rgb: U8, job: DecodeJob) -> U8:
    """Decord turns pictures upright but leaves pixels as they are coded: make them square."""
    size = job.facts.width, job.facts.height
    if (rgb.shape[1], rgb.shape[0]) == size:
        return rgb
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    return cast("U8", frame.reformat(*size, interpolation="BICUBIC").to_ndarray())
