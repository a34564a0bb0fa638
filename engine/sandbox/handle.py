"""The parent's side of the sandbox: start the zygote, make calls, watch the clock, survive anything."""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from engine.errors import Unavailable
from engine.limits import Limits
from engine.results import RejectReason
from engine.sandbox.channel import Kind, Message, MessageParser, ProtocolBroken, encode, pack_json
from engine.sandbox.memory import create_shared_memory

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[2]); from engine.sandbox.zygote import main; main()"
_START_S = 60.0
_END_S = 5.0
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "LANG", "LC_ALL")


class SandboxLevel(StrEnum):
    """What stands between an input and the machine."""

    FULL = "full"  # the child can open, connect to and start nothing (tried, not assumed)
    RLIMITS = "rlimits"  # a process of its own with bounded memory and time, no more
    NONE = "none"  # it has not started


class CallTimedOut(Exception):
    """The child kept the parent waiting longer than the call may."""


class CallDied(Exception):
    """The child ended without finishing. ``signal_number`` is set when a signal ended it."""

    def __init__(self, description: str, signal_number: int | None = None) -> None:
        super().__init__(description)
        self.signal_number = signal_number


class SandboxLost(Exception):
    """The zygote is gone; what was called did nothing wrong. `Sandbox.recover` makes another try possible."""


@dataclass(frozen=True)
class SandboxState:
    """What was found when the sandbox was tried: see `SandboxLevel`."""

    level: SandboxLevel
    landlock_abi: int
    seccomp: bool
    open_doors: tuple[str, ...]

    @property
    def description(self) -> str:
        """One line for people."""
        parts = [f"Landlock ABI {self.landlock_abi}" if self.landlock_abi else "no Landlock"]
        parts.append("seccomp" if self.seccomp else "no seccomp")
        if self.open_doors:
            parts.append(f"not refused: {', '.join(self.open_doors)}")
        return f"{self.level.value} ({', '.join(parts)})"


class SandboxCall:
    """One forked child and the talk with it. Always close it; closing ends the child."""

    def __init__(
        self,
        channel: socket.socket,
        status: socket.socket,
        wall_s: float,
        zygote: subprocess.Popen[bytes] | None,
    ) -> None:
        self.zygote = zygote
        self._channel = channel
        self._status = status
        self._left_s = wall_s
        self._parser = MessageParser()
        self._messages: list[Message] = []
        self._pid: int | None = None
        self._ended: str | None = None
        self._signal: int | None = None
        self._selector = selectors.DefaultSelector()
        self._selector.register(channel, selectors.EVENT_READ)
        self._selector.register(status, selectors.EVENT_READ)

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        """Send a message; a child that is gone, or does not read, shows itself at the next `receive`."""
        begun = time.monotonic()
        self._channel.settimeout(max(0.001, self._left_s))
        with contextlib.suppress(OSError):  # also a TimeoutError: no time is left then
            self._channel.sendall(encode(kind, payload))
        self._left_s -= time.monotonic() - begun

    def receive(self) -> Message:
        """The next message. Only the time spent waiting here counts against the call's wall clock.

        Raises `CallTimedOut`, `CallDied`, `SandboxLost` or `ProtocolBroken`.
        """
        while not self._messages:
            begun = time.monotonic()
            ready = self._selector.select(max(0.0, self._left_s))
            self._left_s -= time.monotonic() - begun
            sources = [key.fileobj for key, _ in ready]
            if self._channel in sources:
                self._read_channel()
            elif self._status in sources:
                self._read_status()
            elif self._left_s <= 0:
                raise CallTimedOut("the child did not answer in time")
        return self._messages.pop(0)

    def _read_channel(self) -> None:
        try:
            data = self._channel.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        if data:
            self._messages += self._parser.feed(data)
            return
        self._selector.unregister(self._channel)
        if self._ended is not None:
            raise CallDied(self._ended, self._signal)

    def _read_status(self) -> None:
        data = self._status.recv(4096)
        if not data:
            raise SandboxLost("the zygote ended")
        fact = cast("dict[str, int]", json.loads(data))
        if "pid" in fact:
            self._pid = fact["pid"]
            return
        self._signal = fact.get("signal")
        self._ended = f"signal {self._signal}" if self._signal else f"exit status {fact.get('exit')}"
        if self._channel not in self._selector.get_map():
            raise CallDied(self._ended, self._signal)
        # What it had still written lies in the channel; its end is read from there.
        self._selector.unregister(self._status)

    @property
    def pid(self) -> int | None:
        """The child's process number once the zygote has told it."""
        return self._pid

    def close(self) -> None:
        """Let go of the child: the zygote ends and reaps it when it sees its status socket closed."""
        self._selector.close()
        self._channel.close()
        self._status.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Sandbox:
    """A handle on one zygote. Safe to use from several threads; each call has its own child.

    Starting returns at once; the zygote imports meanwhile, and the first call waits for it. A zygote that
    dies is started again by the next call.
    """

    def __init__(self, limits: Limits, *, allow_unsandboxed: bool) -> None:
        self._limits = limits
        self._allow_unsandboxed = allow_unsandboxed
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._state: SandboxState | None = None
        self._is_closed = False

    @classmethod
    def start(cls, limits: Limits | None = None, *, allow_unsandboxed: bool = False) -> Self:
        """Start a zygote in the background; ``limits`` are those under which the sandbox is tried out.

        Raises `Unavailable` where no process can be started.
        ``allow_unsandboxed`` accepts a kernel without Landlock and seccomp, where only resource limits
        stand between an input and the machine.
        """
        sandbox = cls(limits or Limits(), allow_unsandboxed=allow_unsandboxed)
        with sandbox._lock:
            sandbox._spawn()
        return sandbox

    @property
    def level(self) -> SandboxLevel:
        """How confined children are. Waits for the start; ``NONE`` when it fails."""
        try:
            return self.inspect().level
        except Unavailable:
            return SandboxLevel.NONE

    @property
    def description(self) -> str:
        """The level with its parts, for people."""
        try:
            return self.inspect().description
        except Unavailable as error:
            return f"none ({error.seen})"

    def inspect(self) -> SandboxState:
        """Try what children can do. Raises `Unavailable` when no child can be started at all."""
        with self._lock:
            self._ensure_ready()
            assert self._state is not None
            return self._state

    def call(self, request: Mapping[str, object], source: int, slab_bytes: int, wall_s: float) -> SandboxCall:
        """Fork a child for a request. ``source`` is the input's descriptor, which stays the caller's.

        The shared memory's descriptor is not kept here: take it with `call_with_slabs`.
        """
        call, slabs = self.call_with_slabs(request, source, slab_bytes, wall_s)
        os.close(slabs)
        return call

    def call_with_slabs(
        self, request: Mapping[str, object], source: int, slab_bytes: int, wall_s: float
    ) -> tuple[SandboxCall, int]:
        """As `call`, with the descriptor of the shared memory, which the caller closes.

        Raises `Unavailable` when the sandbox cannot be had, or confines less than it must.
        """
        with self._lock:
            self._ensure_ready()
            state = self._state
            assert state is not None
            if state.level is not SandboxLevel.FULL and not self._allow_unsandboxed:
                raise _too_open(state)
            try:
                return self._fork(request, source, slab_bytes, wall_s)
            except OSError:
                self._stop()  # it died since its last call: one fresh one, then give up
            self._ensure_ready()
            try:
                return self._fork(request, source, slab_bytes, wall_s)
            except OSError as error:
                raise _not_started(str(error)) from error

    def recover(self, lost: SandboxCall) -> None:
        """After `SandboxLost` of a call: have the next call start a new zygote, unless one was started."""
        with self._lock:
            if self._process is lost.zygote:
                self._stop()

    def close(self) -> None:
        """End the zygote and every child that still runs."""
        with self._lock:
            self._is_closed = True
            self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- below: with the lock held

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        # One thread each: forking needs it, and a memory arena per thread would eat the address space.
        environment |= {
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "1",
            "MALLOC_MMAP_THRESHOLD_": "33554432",
            "MALLOC_TRIM_THRESHOLD_": "134217728",
        }
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-c", _PROGRAM, str(theirs.fileno()), str(_ROOT)],
                    pass_fds=[theirs.fileno()],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise _not_started(error.strerror or str(error)) from error
        self._control = ours

    def _ensure_ready(self) -> None:
        if self._is_closed:
            raise RuntimeError("the sandbox was closed")
        if self._process is not None and self._process.poll() is not None:
            self._stop()
        if self._process is None:
            self._spawn()
        if self._state is None:
            self._wait_until_ready()
            self._state = self._try_doors()

    def _wait_until_ready(self) -> None:
        assert self._control is not None
        self._control.settimeout(_START_S)
        try:
            answer = self._control.recv(16)
        except (TimeoutError, ConnectionResetError):
            answer = b""
        if answer != b"ready":
            raise _not_started(self._last_words())
        assert self._process is not None
        assert self._process.stderr is not None
        self._process.stderr.close()

    def _last_words(self) -> str:
        assert self._process is not None
        self._process.kill()
        _, errors = self._process.communicate()
        lines = errors.decode(errors="replace").strip().splitlines()
        self._process = None
        return lines[-1] if lines else "it ended without a word"

    def _try_doors(self) -> SandboxState:
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            call, slabs = self._fork({"do": "check", "limits": asdict(self._limits)}, nothing, 0, _START_S)
            os.close(slabs)
            with call:
                found = call.receive().json()
        except (OSError, CallTimedOut, CallDied, SandboxLost, ProtocolBroken) as error:
            raise _not_started(str(error)) from error
        finally:
            os.close(nothing)
        doors = tuple(str(door) for door in cast("list[object]", found["open"]))
        level = SandboxLevel.RLIMITS if doors else SandboxLevel.FULL
        return SandboxState(level, cast("int", found["landlock_abi"]), bool(found["seccomp"]), doors)

    def _fork(
        self, request: Mapping[str, object], source: int, slab_bytes: int, wall_s: float
    ) -> tuple[SandboxCall, int]:
        assert self._control is not None
        with contextlib.ExitStack() as opened:  # whatever fails on the way, no descriptor is left
            slabs = create_shared_memory(slab_bytes)
            opened.callback(os.close, slabs)
            ours, theirs = map(opened.enter_context, socket.socketpair())
            pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            status, zygotes = map(opened.enter_context, pair)
            call = opened.enter_context(SandboxCall(ours, status, wall_s, self._process))
            descriptors = [source, theirs.fileno(), slabs, zygotes.fileno()]
            socket.send_fds(self._control, [b"fork"], descriptors)
            theirs.close()
            zygotes.close()
            call.send(Kind.REQUEST, pack_json(request))
            opened.pop_all()
            return call, slabs

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()  # the zygote reads the end of its work from this
        if self._process is not None:
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            if self._process.stderr is not None:
                self._process.stderr.close()
        self._process, self._control, self._state = None, None, None


def _not_started(why: str) -> Unavailable:
    return Unavailable(
        RejectReason.SANDBOX_UNAVAILABLE,
        f"the decoding sandbox did not start: {why}",
        "run `fakesieve doctor`; Linux with memfd and Unix sockets is needed",
    )


def _too_open(state: SandboxState) -> Unavailable:
    return Unavailable(
        RejectReason.SANDBOX_UNAVAILABLE,
        f"a decoder could still {' and '.join(state.open_doors)} on this kernel",
        "use a kernel with Landlock or seccomp, or for files that you trust give scan, evaluate or demo the"
        " option --allow-unsandboxed",
    )
