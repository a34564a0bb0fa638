"""The clean, single-threaded process that has imported everything and forks one child per call.

It reads no media: its only input are four descriptors per call from the parent. It keeps a dead child
unreaped until the parent lets go of the call, so that the process number which the parent may signal
cannot have passed to a stranger. Run by `engine.sandbox.handle` as ``python -I -c``.
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
class _Child:
    pid: int
    alive: int  # read end of a pipe whose other end only the child holds: readable when the child is gone
    status: socket.socket  # to the parent; readable when the parent has let go
    has_ended: bool = False


class _Zygote:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)

    def serve(self) -> None:
        """Fork on request until the parent is gone; then end every child that is left."""
        while True:
            for key, _ in self._selector.select():
                current = self._selector.get_map().get(key.fileobj)
                if current is None or current.data is not key.data:
                    continue  # released by an earlier event of this round
                if key.data is None:
                    _, descriptors, _, _ = socket.recv_fds(self._control, 16, DESCRIPTORS_PER_CALL)
                    if not descriptors:
                        return
                    self._fork(descriptors)
                elif key.fileobj is key.data.status:
                    self._release(key.data)
                else:
                    self._report(key.data)

    def _fork(self, descriptors: list[int]) -> None:
        parent = os.getpid()
        alive, life = os.pipe()
        pid = os.fork()
        if pid == 0:
            die_with_parent(parent)
            run_child(descriptors[0], descriptors[1], descriptors[2], life)
        for descriptor in (*descriptors[:3], life):
            os.close(descriptor)
        child = _Child(pid, alive, socket.socket(fileno=descriptors[3]))
        self._selector.register(alive, selectors.EVENT_READ, child)
        self._selector.register(child.status, selectors.EVENT_READ, child)
        self._tell(child, {"pid": pid})

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
