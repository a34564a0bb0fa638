"""The clean, single-threaded process that has imported everything and forks one child per call.

It reads no media: its only input are four descriptors per call from the parent. One child is always forked
ahead, so that a call need not wait for the fork. It keeps a dead child unreaped until the parent lets go of
the call, so that the process number which the parent may signal cannot have passed to a stranger. Run by
`engine.sandbox.handle` as ``python -I -c``.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
from dataclasses import dataclass

from engine.sandbox.child import run_child, warm_up
from engine.sandbox.lockdown import die_with_parent

DESCRIPTORS_PER_CALL = 4  # input, channel, shared memory, status


@dataclass
class _Spare:
    """A child that waits for its call; it has seen nothing of any other."""

    pid: int
    alive: int  # read end of a pipe whose other end only the child holds: readable when the child is gone
    handover: socket.socket


@dataclass
class _Child:
    pid: int
    alive: int  # as a spare's
    status: socket.socket  # to the parent; readable when the parent has let go
    has_ended: bool = False


class _Zygote:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._spare: _Spare | None = None
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)

    def serve(self) -> None:
        """Answer calls until the parent is gone; then end every child that is left."""
        self._refill()
        while True:
            for key, _ in self._selector.select():
                current = self._selector.get_map().get(key.fileobj)
                if current is None or current.data is not key.data:
                    continue  # released or handed over by an earlier event of this round
                if key.data is None:
                    _, descriptors, _, _ = socket.recv_fds(self._control, 16, DESCRIPTORS_PER_CALL)
                    if not descriptors:
                        return
                    self._start(descriptors)
                elif isinstance(key.data, _Spare):
                    self._bury(key.data)
                elif key.fileobj is key.data.status:
                    self._release(key.data)
                else:
                    self._report(key.data)

    def _start(self, descriptors: list[int]) -> None:
        *given, status = descriptors
        spare = self._hand_over(given)
        for descriptor in given:
            os.close(descriptor)
        child = _Child(spare.pid, spare.alive, socket.socket(fileno=status))
        self._selector.modify(child.alive, selectors.EVENT_READ, child)
        self._selector.register(child.status, selectors.EVENT_READ, child)
        self._tell(child, {"pid": child.pid})
        self._refill()

    def _hand_over(self, given: list[int]) -> _Spare:
        """Give a call's descriptors to the spare child, or to a fresh one where it has died meanwhile."""
        for spare in (self._spare, None):
            taker = spare or self._fork()
            try:
                socket.send_fds(taker.handover, [b"call"], given)
            except OSError:
                self._bury(taker)
                continue
            taker.handover.close()
            self._spare = None
            return taker
        raise ChildProcessError("children end before they are given a call")

    def _refill(self) -> None:
        """Fork the next spare; where the machine has no room for one, the next call forks its own child."""
        with contextlib.suppress(OSError):
            self._spare = self._fork()

    def _fork(self) -> _Spare:
        parent = os.getpid()
        with contextlib.ExitStack() as on_failure:  # no descriptor is left where there is no room for a child
            handover, taken = map(on_failure.enter_context, _pair())
            alive, life = os.pipe()
            on_failure.callback(os.close, alive)
            with taken, os.fdopen(life, "wb", 0):
                pid = os.fork()
                if pid == 0:
                    die_with_parent(parent)
                    run_child(taken.fileno(), life)
            on_failure.pop_all()
        spare = _Spare(pid, alive, handover)
        self._selector.register(alive, selectors.EVENT_READ, spare)
        return spare

    def _bury(self, spare: _Spare) -> None:
        """A spare died before its call. The next call forks anew, so this cannot go in circles."""
        self._selector.unregister(spare.alive)
        os.close(spare.alive)
        spare.handover.close()
        _kill_group(spare.pid)
        os.waitpid(spare.pid, 0)
        if self._spare is spare:
            self._spare = None

    def _report(self, child: _Child) -> None:
        """The child is gone or as good as gone: say how, but leave its process number taken."""
        self._selector.unregister(child.alive)
        os.close(child.alive)
        _kill_group(child.pid)  # it may have closed its pipe, or left something behind
        ended = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        child.has_ended = True
        assert ended is not None
        signalled = ended.si_code != os.CLD_EXITED
        self._tell(child, {"signal" if signalled else "exit": ended.si_status})

    def _release(self, child: _Child) -> None:
        """The parent has let go of the call: end the child if it runs, and reap it."""
        self._selector.unregister(child.status)
        if not child.has_ended:
            _kill_group(child.pid)
            self._selector.unregister(child.alive)
            os.close(child.alive)
        os.waitpid(child.pid, 0)
        child.status.close()

    def _tell(self, child: _Child, fact: dict[str, int]) -> None:
        with contextlib.suppress(OSError):  # the parent has let go; the selector reports that next
            child.status.send(json.dumps(fact).encode())


def _pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _kill_group(pid: int) -> None:
    for kill in (os.killpg, os.kill):  # by number too: it may not have made its own group yet
        try:
            kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def main() -> None:
    """Import, warm up, say ready, serve. The control socket is the descriptor named in the first argument."""
    control = socket.socket(fileno=int(sys.argv[1]))
    warm_up()
    control.send(b"ready")
    _Zygote(control).serve()
