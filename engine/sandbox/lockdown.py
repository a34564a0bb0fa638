"""Everything that a child gives up before it looks at an input, in the order that works."""

import ctypes
import os
import resource
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass

from engine.sandbox.landlock import restrict_process
from engine.sandbox.seccomp import install_filter

_LIBC = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_DUMPABLE = 4

OPEN_FILES = 16

# What lists of processes call a child; the kernel keeps 15 bytes.
SPARE_NAME = "sandbox-spare"
CHILD_NAME = "sandbox-child"


@dataclass(frozen=True)
class Confinement:
    """What is in force in a process: Landlock's ABI (0 none) and whether the seccomp filter holds."""

    no_new_privs: bool
    landlock_abi: int
    seccomp: bool


def _prctl(option: int, value: int | bytes) -> bool:
    return _LIBC.prctl(option, value, 0, 0, 0) == 0


def name_process(name: str) -> None:
    """Have lists of processes show this one by a name of at most 15 bytes."""
    _prctl(_PR_SET_NAME, name.encode())


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the process ``parent`` that forked it dies."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def set_resource_limits(memory_bytes: int, cpu_s: int) -> None:
    """Bound address space beyond what is mapped now, processor time, files, and forbid core dumps.

    A limit that is tighter already, as by the shell's ``ulimit``, stays.
    """
    statm = os.open("/proc/self/statm", os.O_RDONLY)
    mapped_bytes = int(os.read(statm, 100).split()[0]) * resource.getpagesize()
    os.close(statm)
    for limit, value in (
        (resource.RLIMIT_AS, mapped_bytes + memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        most = resource.getrlimit(limit)[1]
        kept = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(limit, (kept, kept))


def lock_down(memory_bytes: int, cpu_s: int) -> Confinement:
    """Give up everything but open descriptors, memory and threads. There is no way back.

    Whatever must be imported has to be imported before: Landlock makes later imports fail with odd
    PermissionErrors. Landlock comes before seccomp because its own system calls are not on the list.
    """
    set_resource_limits(memory_bytes, cpu_s)
    _prctl(_PR_SET_DUMPABLE, 0)
    privileges_dropped = _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    abi = restrict_process() if privileges_dropped else 0
    return Confinement(privileges_dropped, abi, install_filter() if privileges_dropped else False)


def _is_refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return True
    return False


def _fork_and_end() -> None:
    if os.fork() == 0:
        os._exit(0)
    os.wait()


def find_open_doors() -> list[str]:
    """What this process can still do and must not: names out of read, write, connect, fork.

    Tried for real, so that the answer holds on kernels that we have not seen.
    """
    attempts: dict[str, Callable[[], object]] = {
        "read": lambda: os.close(os.open("/", os.O_RDONLY)),
        "write": lambda: os.close(os.open("/dev/null", os.O_WRONLY)),
        "connect": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).close(),
        "fork": _fork_and_end,
    }
    return [name for name, attempt in attempts.items() if not _is_refused(attempt)]
