"""What a forked child does: take one request, lock itself down, answer it, end.

The functions that look at media are those of `engine.decoders`; here is only the frame around them.
"""

import fcntl
import gc
import os
import resource
import signal
import socket
import tempfile
import traceback
from dataclasses import asdict
from typing import NoReturn, cast

import av
import numpy as np
from av.logging import ERROR, Capture, set_level, set_skip_repeated

from engine.container import Container
from engine.decoders.inspect import inspect_media
from engine.decoders.job import DecodedFrame, DecodeJob, MissedFrame, ProbeJob, read_record
from engine.decoders.select import load_source
from engine.errors import EngineError
from engine.limits import Limits
from engine.results import RejectReason
from engine.sandbox.channel import ChildChannel, FrameNotice, Kind, pack_json, unpack_slot
from engine.sandbox.integers import pack_integers
from engine.sandbox.lockdown import CHILD_NAME, SPARE_NAME, find_open_doors, lock_down, name_process
from engine.sandbox.seccomp import build_filter
from engine.sandbox.slabs import FrameSlots, SlotShape

INPUT, CHANNEL, SLABS, LIFE = 3, 4, 5, 6  # descriptor numbers inside the child


def run_child(handover: int, life: int) -> NoReturn:
    """The life of a child after the fork: it waits for its call, answers it, and ends with the process."""
    status = 1
    try:
        os.setsid()
        name_process(SPARE_NAME)
        _take_descriptors(handover, life)
        with Capture(local=False):  # nobody reads what FFmpeg says here, and formatting it costs time
            _take_descriptors(*_await_call(3), 4)
            name_process(CHILD_NAME)
            _answer(ChildChannel(CHANNEL))
        status = 0
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent has gone or has heard enough
    finally:
        os._exit(status)


def _await_call(handover: int) -> list[int]:
    """Wait until the zygote hands over input, channel and shared memory. Raises EOFError if it never does."""
    with socket.socket(fileno=handover) as zygote:
        _, descriptors, _, _ = socket.recv_fds(zygote, 16, 3)
    if not descriptors:
        raise EOFError
    return descriptors


def _take_descriptors(*wanted: int) -> None:
    """Move descriptors to 3 and on, silence the standard streams and close all others."""
    silent = os.open(os.devnull, os.O_RDWR)
    # Each goes to a free number: at a fixed one, another of the four might lie in a zygote of many children.
    parked = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3 + len(wanted)) for descriptor in wanted]
    for number, descriptor in enumerate([silent, silent, silent, *parked]):
        os.dup2(descriptor, number, inheritable=False)
    os.closerange(3 + len(wanted), os.sysconf("SC_OPEN_MAX"))


def _answer(channel: ChildChannel) -> None:
    request = channel.receive().json()
    try:
        _DUTIES[str(request["do"])](channel, request)
    except EngineError as error:
        _reject(channel, error.reason, error.seen, error.hint)
    except MemoryError:
        _reject(channel, RejectReason.LIMIT_MEMORY, "decoding needs more memory than it may have", _RAISE)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except Exception:  # noqa: BLE001 - process edge: whatever it is, the parent must hear of it
        seen = traceback.format_exc(limit=-4)[-1500:]
        _reject(channel, RejectReason.INTERNAL, seen, "please report this with the file's kind and codec")


_RAISE = "give a copy with a smaller picture, or raise the memory limit"


def _reject(channel: ChildChannel, reason: RejectReason, seen: str, hint: str) -> None:
    channel.send(Kind.REJECTED, pack_json({"reason": reason.value, "seen": seen, "hint": hint}))


def _cpu_seconds(limits: Limits) -> int:
    return int(2 * limits.wall_s) + 5  # two decoder threads; the parent's clock is the first to strike


def _check(channel: ChildChannel, request: dict[str, object]) -> None:
    """Lock down and try what must be refused, for the report on the sandbox's level."""
    limits = read_record(Limits, cast("dict[str, object]", request["limits"]))
    state = lock_down(limits.memory_bytes, _cpu_seconds(limits))
    channel.send(Kind.DONE, pack_json({**asdict(state), "open": find_open_doors()}))


def _probe(channel: ChildChannel, request: dict[str, object]) -> None:
    job = ProbeJob.from_json(request)
    lock_down(job.limits.memory_bytes, _cpu_seconds(job.limits))
    seen = inspect_media(INPUT, job)
    channel.send(Kind.FACTS, pack_json(asdict(seen.facts)))
    channel.send(Kind.TIMES, pack_integers(seen.frames_us))
    channel.send(Kind.KEYFRAMES, pack_integers(seen.keyframes_us))
    channel.send(Kind.DONE, pack_json(_own_cost()))


def _decode(channel: ChildChannel, request: dict[str, object]) -> None:
    job = DecodeJob.from_json(request)
    shape = SlotShape(job.facts.width, job.facts.height, job.slots)
    slots = FrameSlots(SLABS, shape, writable=True)
    source = load_source(job.decoder)
    lock_down(job.limits.memory_bytes, _cpu_seconds(job.limits))
    free = list(range(shape.count))
    for answer in source.decode(INPUT, job):
        if isinstance(answer, MissedFrame):
            channel.send(Kind.MISSED, pack_json(asdict(answer)))
            continue
        if not free:
            free.append(unpack_slot(channel.receive().payload))
        _put(channel, slots, free.pop(), answer)
    channel.send(Kind.DONE, pack_json(_own_cost()))


def _put(channel: ChildChannel, slots: FrameSlots, slot: int, frame: DecodedFrame) -> None:
    np.copyto(slots.slot(slot), frame.rgb)
    channel.send(Kind.FRAME, FrameNotice(slot, frame.target, frame.pts_us, frame.is_resized).pack())


def _own_cost() -> dict[str, object]:
    return {"peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


_DUTIES = {"check": _check, "probe": _probe, "decode": _decode}


def warm_up() -> None:
    """Do in the zygote, once and on our own data, what children do on others': no import comes later.

    A module that Python or FFmpeg loads at first use would be refused by the sandbox.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    set_level(ERROR)  # errors then carry FFmpeg's own words
    set_skip_repeated(False)
    with tempfile.TemporaryFile() as clip:
        _draw_clip(clip.fileno())
        size = os.fstat(clip.fileno()).st_size
        limits = Limits()
        facts = inspect_media(clip.fileno(), ProbeJob(Container.MP4, size, limits)).facts
        job = DecodeJob(Container.MP4, size, "pyav", facts, ((0, 0),), 0, 1, limits)
        list(load_source("pyav").decode(clip.fileno(), job))
    build_filter(os.uname().machine, os.getpid())
    gc.collect()
    gc.freeze()  # what is there now is never collected, so children do not copy its pages


def _draw_clip(descriptor: int) -> None:
    with os.fdopen(os.dup(descriptor), "wb") as target, av.open(target, "w", format="mp4") as clip:
        stream = clip.add_stream("libx264", rate=25, options={"threads": "1", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        picture = np.zeros((64, 64, 3), np.uint8)
        for _ in range(2):
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        clip.mux(stream.encode())
