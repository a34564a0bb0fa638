"""The inference process: the only one on a host that has the network loaded.

``python -m workers.inference_loop CHANNEL SLABS LIFELINE LAUNCH`` takes three inherited descriptors, a socket
of packets, the memory of the slabs and a pipe that only its host holds, and its launch as JSON. It ends when
the other end of the socket is closed, and at once, whatever it does, when its host is gone
(``workers/lifeline.py``). It was started with exec and not forked: OpenCV, ONNX Runtime and CUDA break in
children that are forked from a process with threads.
"""

import json
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass

import numpy as np

from engine.arrays import F32, U8
from engine.backends.parity import probe_crops
from engine.backends.protocol import Backend
from engine.backends.select import GPU_ENGINES, choose_backend
from engine.bundle import ModelBundle, load_bundle
from engine.errors import BackendFailed, BundleInvalid, EngineError
from engine.predict import split_batch
from engine.results import RejectReason
from fakesieve.logging import configure_logging, get_logger
from workers.batching import GPU_WAIT_S, Batcher, BatchRules, Ticket
from workers.inference_wire import Answer, Begun, InferenceLaunch, Ready, Refused, Request, receive, send
from workers.lifeline import hold_on
from workers.slabs import SlabMemory

_log = get_logger(__name__)


@dataclass(frozen=True)
class _Answers:
    logits: F32
    patches: F32 | None
    ran: tuple[int, ...]  # crops of each batch that the engine ran


def main() -> None:
    """Load, warm up, say ready, serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the host's business; it closes the channel
    hold_on(int(sys.argv[3]))
    channel = socket.socket(fileno=int(sys.argv[1]))
    launch = InferenceLaunch(**json.loads(sys.argv[4]))
    memory = SlabMemory(int(sys.argv[2]), launch.slab_layout)
    configure_logging(launch.log_format, launch.log_level)
    try:
        _serve(channel, memory, launch)
    except (BrokenPipeError, ConnectionResetError):  # the host has closed the channel: it needs nothing more
        return
    except Exception:  # noqa: BLE001 - process edge: its host starts another one and knows the status alone
        _log.exception("inference.failed")
        sys.exit(1)


def _serve(channel: socket.socket, memory: SlabMemory, launch: InferenceLaunch) -> None:
    try:
        bundle = _load_checked(launch)
        backend = choose_backend(bundle, launch.engine, launch.threads)
        batch_s = _warm_up(backend)
    except EngineError as fault:
        send(channel, Refused.of(fault))
        return
    ladder = tuple(size for size in backend.ladder if size <= memory.layout.crops)
    send(
        channel,
        Ready(
            backend.name,
            backend.precision,
            backend.input_size,
            backend.grid,
            ladder,
            bundle.weights_sha256,
            batch_s,
        ),
    )
    max_wait_s = choose_wait_s(backend.name) if launch.max_wait_s is None else launch.max_wait_s
    _Server(channel, memory, backend, BatchRules(ladder, max_wait_s)).serve()


def _load_checked(launch: InferenceLaunch) -> ModelBundle:
    bundle = load_bundle(launch.model)
    if bundle.manifest_sha256 != launch.manifest_sha256:
        raise BundleInvalid(
            RejectReason.MODEL_INVALID,
            f"the manifest of {launch.model} was replaced after the host had checked it",
            "start the host again",
        )
    return bundle


def _warm_up(backend: Backend) -> float:
    """Run every batch size once, as engines plan at the first run; return what the largest takes after."""
    for size in reversed(backend.ladder):
        backend.infer(probe_crops(backend.input_size, size))
    begun = time.monotonic()
    backend.infer(probe_crops(backend.input_size, backend.ladder[0]))
    return time.monotonic() - begun


def choose_wait_s(engine: str) -> float:
    """Return how long a part of a batch waits for company on an engine: on a processor not at all.

    A GPU does many faces in about the time of one. On a processor each face takes its own time, whatever goes
    with it: who waited there left a core idle. What arrives while the network is busy goes together anyway.
    """
    return GPU_WAIT_S if engine in GPU_ENGINES else 0.0


class _Server:
    def __init__(
        self, channel: socket.socket, memory: SlabMemory, backend: Backend, rules: BatchRules
    ) -> None:
        self._channel = channel
        self._memory = memory
        self._backend = backend
        self._batcher = Batcher(rules)
        self._requests: dict[int, Request] = {}
        self._peers = 1

    def serve(self) -> None:
        """Answer requests until the host is gone, which may show as an error of the channel."""
        while self._read():
            while tickets := self._batcher.take(time.monotonic(), self._peers):
                self._run(tickets)

    def _read(self) -> bool:
        """Take all requests that are there; wait for one only as long as no batch is due."""
        timeout_s = self._batcher.wait_s(time.monotonic(), self._peers)
        while select.select([self._channel], [], [], timeout_s)[0]:
            message = receive(self._channel)
            if message is None:
                return False
            assert isinstance(message, Request), message
            self._requests[message.number] = message
            self._peers = message.peers
            self._batcher.add(
                Ticket(message.number, message.lane, message.count, time.monotonic(), message.alone)
            )
            timeout_s = 0.0
        return True

    def _run(self, tickets: tuple[Ticket, ...]) -> None:
        """Score one batch and answer each of its requests; a batch that fails is tried in halves."""
        requests = [self._requests.pop(ticket.number) for ticket in tickets]
        send(self._channel, Begun(tuple(request.number for request in requests)))
        crops = self._join(requests)
        begun = time.monotonic()
        try:
            found = infer_rungs(self._backend, crops, self._batcher.rules.ladder)
        except BackendFailed as fault:
            if len(tickets) == 1:
                self._fail(requests[0], fault)
                return
            self._requests |= {request.number: request for request in requests}
            half = len(tickets) // 2
            self._run(tickets[:half])
            self._run(tickets[half:])
            return
        spent_s = time.monotonic() - begun
        place = 0
        for ticket, request in zip(tickets, requests, strict=True):
            part = slice(place, place + request.count)
            self._memory.logits(request.slab, request.count)[:] = found.logits[part]
            if found.patches is not None:
                self._memory.patches(request.slab, request.count)[:] = found.patches[part]
            answer = Answer(
                number=request.number,
                batch=len(crops),
                waited_s=begun - ticket.arrived_s,
                compute_s=spent_s * request.count / len(crops),
                has_patches=found.patches is not None,
                ran=() if place else found.ran,
            )
            send(self._channel, answer)
            place += request.count

    def _join(self, requests: list[Request]) -> U8:
        views = [self._memory.crops(request.slab, request.count) for request in requests]
        return views[0] if len(views) == 1 else np.concatenate(views)

    def _fail(self, request: Request, fault: BackendFailed) -> None:
        send(
            self._channel,
            Answer(request.number, request.count, 0.0, 0.0, has_patches=False, fault=fault.seen),
        )


def infer_rungs(backend: Backend, crops: U8, ladder: tuple[int, ...]) -> _Answers:
    """Score crops in batch sizes of the ladder; a size that the engine cannot do now is tried in halves.

    Out of memory is the usual cause, and smaller batches need less of it. Raises BackendFailed when not even
    one crop alone can be scored.
    """
    logits: list[F32] = []
    patches: list[F32] = []
    place = 0
    for size in split_batch(len(crops), ladder):
        for answer in _infer_halves(backend, crops[place : place + size]):
            logits.append(answer[0])
            if answer[1] is not None:
                patches.append(answer[1])
        place += size
    ran = tuple(len(part) for part in logits)
    return _Answers(np.concatenate(logits), np.concatenate(patches) if patches else None, ran)


def _infer_halves(backend: Backend, crops: U8) -> list[tuple[F32, F32 | None]]:
    try:
        return [backend.infer(crops)]
    except BackendFailed:
        if len(crops) == 1:
            raise
    half = len(crops) // 2
    return _infer_halves(backend, crops[:half]) + _infer_halves(backend, crops[half:])


if __name__ == "__main__":
    main()
