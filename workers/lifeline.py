"""A pipe that ends a process with the one that started it, whatever either of them is doing just then.

The starter alone has the end for writing and never writes. When it is gone, however it went, the kernel sends
SIGIO to whoever holds on to the other end, and that signal ends a process which does not handle it. So it
needs no thread of the process, which an engine that builds itself may keep from running for minutes. The
kernel's other way, PR_SET_PDEATHSIG, follows the thread that started the process instead of the process.
"""

import fcntl
import os
import select
import signal
import sys


class Lifeline:
    """The starter's side. ``descriptor`` is for the process to inherit."""

    def __init__(self) -> None:
        self.descriptor, self._held = os.pipe()

    def close(self) -> None:
        """Let go of it, which ends a process that still holds on to it."""
        os.close(self._held)
        os.close(self.descriptor)


def hold_on(descriptor: int) -> None:
    """End this process when the other side is gone, at once if it is gone already."""
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGIO})
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([descriptor], [], [], 0)[0]:  # nobody writes, so this is the end
        sys.exit(0)
