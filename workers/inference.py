"""The host's side of inference: keeps the one inference process alive and lends the network to the slots.

A process that dies or hangs is started again, and what waited in it is sent once more: the crops still lie
in their slabs. What was in the batch that ended it is sent alone. If it ends the process again, its slot gets
EngineKilled, which costs its shard an attempt; the others never hear of it. Only a process that cannot be
kept alive gives all slots BackendFailed, and they give their shards back for another host.
"""

import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from engine.bundle import ModelBundle
from engine.errors import BackendFailed, BundleInvalid, EngineError
from engine.results import RejectReason
from fakesieve.jobs.states import Lane
from fakesieve.logging import get_logger
from workers.inference_start import start_process
from workers.inference_wire import Answer, Begun, InferenceLaunch, Ready, Refused, Request, receive, send
from workers.lifeline import Lifeline
from workers.remote_backend import RemoteBackend, SlabUse
from workers.retry import EngineKilled
from workers.slabs import CHECK_S, SlabMemory, SlabRing, keep_waiting

_log = get_logger(__name__)

_TRIES = 5  # of a request that was never begun, each in a fresh process
_END_S = 2.0  # for a process whose channel is closed to end by itself
_POLL_S = 0.25  # how often a process that keeps requests waiting is looked at


@dataclass(frozen=True)
class RestartRules:
    """When a process is given up on."""

    backoff_s: tuple[float, ...] = (1.0, 2.0, 4.0)  # before each start after one that answered nothing
    start_s: float = 120.0  # for loading the network and its first batches
    least_deadline_s: float = 10.0  # without an answer while requests wait
    deadline_batches: float = 20.0  # as a number of largest batches, where that is longer

    def deadline_s(self, batch_s: float) -> float:
        """How long a process may keep requests waiting without answering one."""
        return max(self.least_deadline_s, self.deadline_batches * batch_s)


@dataclass(frozen=True)
class InferenceHealth:
    """How the inference process is."""

    is_ready: bool
    restarts: int
    waiting: int  # requests
    fault: str | None  # why it was given up on


class _Lost(Exception):
    """The process ended with the request in it; ``was_begun`` if it was being scored just then."""

    def __init__(self, why: str, *, was_begun: bool = False) -> None:
        super().__init__(why)
        self.was_begun = was_begun


@dataclass(frozen=True)
class _Pending:
    """A request without an answer, and whose it is."""

    request: Request
    future: Future[Answer]
    subject: str


class InferenceProcess:
    """Starts, watches and restarts the inference process; safe to use from every slot."""

    def __init__(
        self,
        bundle: ModelBundle,
        launch: InferenceLaunch,
        *,
        rules: RestartRules | None = None,
        on_answer: Callable[[Lane, Answer], None] | None = None,
        on_ended: Callable[[], None] | None = None,  # each process that died or hung
        on_failed: Callable[[EngineError], None] | None = None,
    ) -> None:
        self._bundle = bundle
        self._launch = launch
        self._rules = rules or RestartRules()
        self._on_answer, self._on_ended, self._on_failed = on_answer, on_ended, on_failed
        self._lifeline = Lifeline()
        self._ring = SlabRing(launch.slab_layout)
        self._memory = SlabMemory(self._ring.descriptor, launch.slab_layout)
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._ready: Ready | None = None
        self._fault: EngineError | None = None
        self._pending: dict[int, _Pending] = {}
        self._begun: frozenset[int] = frozenset()
        self._blamed: frozenset[str] = frozenset()  # whose crops the last process died of
        self._progress_s = 0.0
        self._numbers = 0
        self._peers = 0
        self._restarts = -1
        self._keeper = threading.Thread(target=self._keep, name="inference-keeper", daemon=True)

    def start(self) -> Ready:
        """Start the process and wait until it has the network loaded. Raises EngineError if it refuses."""
        self._keeper.start()
        return self._wait_ready()

    @property
    def pid(self) -> int | None:
        """Process id while one runs."""
        process = self._process
        return None if process is None else process.pid

    @property
    def health(self) -> InferenceHealth:
        """Say how it is now."""
        with self._changed:
            fault = None if self._fault is None else str(self._fault)
            return InferenceHealth(self._ready is not None, max(0, self._restarts), len(self._pending), fault)

    @contextmanager
    def lend(
        self,
        lane: Lane,
        timeout_s: float,
        *,
        subject: str = "",
        is_suspect: bool = False,
        check: Callable[[], None] = keep_waiting,
    ) -> Generator[RemoteBackend]:
        """Lend the network to one shard, with a slab of its own. Raises Unavailable if no slab comes free.

        ``subject`` names the shard, so that its crops are told from those of others when the process dies.
        Those of a suspect, which was tried before, are never in one batch with others. ``check`` is called
        again and again while the shard waits for a slab or for answers, and ends that by what it raises.
        """
        slab = self._ring.take(timeout_s, check)
        try:
            with self._changed:
                self._peers += 1
            try:
                place = SlabUse(slab, lane, subject, is_suspect, check)
                yield RemoteBackend(self, self._wait_ready(check), self._memory, place)
            finally:
                with self._changed:
                    self._peers -= 1
        finally:
            self._give_back(slab)

    def score(self, use: SlabUse, count: int) -> Answer:
        """Have the first ``count`` crops of a slab scored and wait for it.

        Raises EngineKilled if they ended the process twice, once in any batch and once alone, and
        BackendFailed if the engine failed or the process cannot be kept alive. What ``use.check`` raises ends
        the waiting, and its slab comes back with the answer.
        """
        fault, unbegun, is_blamed = "", 0, False
        while unbegun < _TRIES:
            try:
                future = self._submit(use, count, alone=use.is_suspect or is_blamed)
                answer = _wait_for(future, use.check)
            except _Lost as lost:
                fault = str(lost)
                if not lost.was_begun:
                    unbegun += 1
                elif is_blamed:
                    seen = f"{count} crops, alone in their batch, ended the inference process: {fault}"
                    raise EngineKilled(seen) from lost
                else:
                    is_blamed = True
                continue
            if answer.fault is None:
                if self._on_answer is not None:
                    self._on_answer(use.lane, answer)
                return answer
            raise _failed(answer.fault)
        raise _failed(f"the inference process ended {_TRIES} times before it began {count} crops: {fault}")

    def close(self) -> None:
        """End the process and let go of the memory. Requests that wait get BackendFailed."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._hang_up()
        if self._keeper.ident is not None:
            self._keeper.join()
        with suppress(BufferError):  # a slot that still reads its answer keeps the mapping until it is done
            self._memory.close()
        self._ring.close()
        self._lifeline.close()

    # ---- the slots' threads

    def _wait_ready(self, check: Callable[[], None] = keep_waiting) -> Ready:
        with self._changed:
            while not self._changed.wait_for(
                lambda: self._ready is not None or self._fault is not None, CHECK_S
            ):
                check()
            if self._fault is not None:
                raise self._fault
            assert self._ready is not None
            return self._ready

    def _submit(self, use: SlabUse, count: int, *, alone: bool) -> Future[Answer]:
        future: Future[Answer] = Future()
        with self._changed:  # held from there on: a process that ends now fails what it was given
            self._wait_ready(use.check)
            assert self._channel is not None
            self._numbers += 1
            request = Request(self._numbers, use.slab, count, use.lane, self._peers, alone)
            if not self._pending:
                self._progress_s = time.monotonic()
            self._pending[request.number] = _Pending(request, future, use.subject)
            with suppress(OSError):  # the keeper sees the same end and fails the request
                send(self._channel, request)
        return future

    def _give_back(self, slab: int) -> None:
        """Let the next shard have a slab, but not before the process is done with what was asked of it."""
        with self._changed:
            left = [each.future for each in self._pending.values() if each.request.slab == slab]
        if not left:
            self._ring.give(slab)
        for future in left:  # one at most: a shard waits for its answers one by one
            future.add_done_callback(lambda _: self._ring.give(slab))

    # ---- the keeper's thread

    def _keep(self) -> None:
        """Start processes one after the other until one is refused or too many in a row are of no use."""
        useless, why, blamed = 0, "", frozenset[str]()
        while not self._stop.is_set():
            if useless > len(self._rules.backoff_s):
                seen = f"the inference process failed {useless} times in a row: {why}"
                return self._give_up(_failed(seen))
            if useless and self._stop.wait(self._rules.backoff_s[useless - 1]):
                break
            try:
                answers, why = self._run_process()
            except EngineError as fault:
                return self._give_up(fault)
            except OSError as error:  # no memory or no descriptors for one more process
                answers, why = 0, str(error)
            except Exception as error:  # noqa: BLE001 - a thread's edge: slots would wait for a dead keeper
                _log.exception("inference.keeper_failed")
                return self._give_up(_failed(f"its keeper failed: {type(error).__name__}: {error}"))
            self._tell_end(why, answers)
            # The same crops again say nothing more about the host.
            is_news = not self._blamed or self._blamed != blamed
            useless = 0 if answers else useless + is_news
            blamed = self._blamed
        return self._give_up(_failed("the host is shutting down"))

    def _tell_end(self, why: str, answers: int) -> None:
        """Log and count that a process died or hung, which its host outlives without another word."""
        if self._stop.is_set():
            return
        _log.warning("inference.ended", why=why, answers=answers, blamed=sorted(self._blamed))
        if self._on_ended is not None:
            self._on_ended()

    def _run_process(self) -> tuple[int, str]:
        """Run one process to its end. Return how many requests it answered and how it ended."""
        channel = self._spawn()
        answers, why = 0, ""
        try:
            ready, why = self._await_ready(channel)
            if ready is not None:
                with self._changed:
                    self._channel, self._ready = channel, ready
                    self._changed.notify_all()
                answers, why = self._serve(channel, ready)
        finally:
            why = self._bury(channel, why)
        return answers, why

    def _spawn(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs, self._changed:
                self._restarts += 1
                descriptors = (theirs.fileno(), self._ring.descriptor, self._lifeline.descriptor)
                self._process = start_process(self._launch, descriptors)
        except OSError:
            ours.close()
            raise
        return ours

    def _await_ready(self, channel: socket.socket) -> tuple[Ready | None, str]:
        """Return the first message, or why there is none, which is empty for a process that has ended.

        Raises EngineError if it is a refusal or another network than before.
        """
        limit_s = time.monotonic() + self._rules.start_s
        while not self._stop.is_set() and time.monotonic() < limit_s:
            if not select.select([channel], [], [], _POLL_S)[0]:
                continue
            message = receive(channel)
            if isinstance(message, Refused):
                raise message.to_error()
            if isinstance(message, Ready) and message.weights_sha256 != self._bundle.weights_sha256:
                raise BundleInvalid(
                    RejectReason.MODEL_INVALID,
                    f"the weights of {self._launch.model} were replaced while the host ran",
                    "start the host again, so that its results name the new weights",
                )
            return (message, "") if isinstance(message, Ready) else (None, "")
        return None, "it did not start in time"

    def _serve(self, channel: socket.socket, ready: Ready) -> tuple[int, str]:
        answers = 0
        deadline_s = self._rules.deadline_s(ready.batch_s)
        while not self._stop.is_set():
            if select.select([channel], [], [], _POLL_S)[0]:
                answer = receive(channel)
                if answer is None:
                    return answers, ""
                if isinstance(answer, Begun):
                    self._begun = frozenset(answer.numbers)
                    continue
                assert isinstance(answer, Answer), answer
                answers += answer.fault is None
                self._deliver(answer)
            elif self._is_hung(deadline_s):
                return answers, f"it answered nothing for {deadline_s:.0f} s"
        return answers, "the host is shutting down"

    def _deliver(self, answer: Answer) -> None:
        with self._changed:
            self._progress_s = time.monotonic()
            done = self._pending.pop(answer.number)
            self._begun -= {answer.number}
        done.future.set_result(answer)

    def _is_hung(self, deadline_s: float) -> bool:
        with self._changed:
            return bool(self._pending) and time.monotonic() - self._progress_s > deadline_s

    def _bury(self, channel: socket.socket, why: str) -> str:
        """End the process if it still runs, fail what was in it and say how it ended."""
        with self._changed:
            process, self._process, self._channel, self._ready = self._process, None, None, None
            lost, self._pending = self._pending, {}
            begun, self._begun = self._begun, frozenset()
            self._blamed = frozenset(lost[number].subject for number in begun if number in lost)
        channel.close()
        assert process is not None
        if why and not self._stop.is_set():  # it hangs
            process.kill()
        try:
            code = process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        why = why or (f"signal {-code}" if code < 0 else f"exit status {code}")
        for number, each in lost.items():
            each.future.set_exception(_Lost(why, was_begun=number in begun))
        return why

    def _give_up(self, fault: EngineError) -> None:
        with self._changed:
            self._fault = fault
            self._changed.notify_all()
        if self._on_failed is not None and not self._stop.is_set():
            self._on_failed(fault)

    def _hang_up(self) -> None:
        with self._changed:
            if self._channel is not None:
                with suppress(OSError):
                    self._channel.shutdown(socket.SHUT_RDWR)


def _wait_for(future: Future[Answer], check: Callable[[], None]) -> Answer:
    while True:
        try:
            return future.result(CHECK_S)
        except TimeoutError:
            check()


def _failed(seen: str) -> BackendFailed:
    return BackendFailed(
        RejectReason.ENGINE_UNAVAILABLE,
        seen,
        "the shard is given back and tried again; see the host's log for the engine's own words",
    )
