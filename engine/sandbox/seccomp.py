"""A seccomp filter written by hand: a list of system calls that decoding needs, everything else refused.

Refused calls give EPERM, so that a library which merely tries keeps working. ``clone3`` gives ENOSYS, which
sends glibc back to ``clone``, whose flags a filter can read: threads may start, processes may not.
Source: https://docs.kernel.org/userspace-api/seccomp_filter.html and bpf(4) for the instructions.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterable
from functools import cache

_LIBC = ctypes.CDLL(None, use_errno=True)

_ALLOW = 0x7FFF0000
_KILL_PROCESS = 0x80000000
_ERRNO = 0x00050000

_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL = 0x15
_JUMP_AT_LEAST = 0x35
_JUMP_ANY_BIT = 0x45
_RETURN = 0x06

_CLONE_THREAD = 0x00010000
_PROT_EXEC = 4
_AT_EMPTY_PATH = 0x1000
_PR_SET_NAME = 15
_FCNTL_COMMANDS = (0, 1, 2, 3, 1030)  # duplicate, read and write the descriptor's own flags

_X32_BIT = 0x40000000

# Audit numbers of the two architectures, and the column of each in the table below.
_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

# name: (x86_64, aarch64); None where the architecture has no such call.
_NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "poll": (7, None),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "pread64": (17, 67),
    "readv": (19, 65),
    "writev": (20, 66),
    "select": (23, None),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "dup": (32, 23),
    "nanosleep": (35, 101),
    "getpid": (39, 172),
    "clone": (56, 220),
    "exit": (60, 93),
    "fcntl": (72, 25),
    "gettimeofday": (96, 169),
    "getrusage": (98, 165),
    "sysinfo": (99, 179),
    "times": (100, 153),
    "sigaltstack": (131, 132),
    "prctl": (157, 167),
    "gettid": (186, 178),
    "time": (201, None),
    "futex": (202, 98),
    "sched_getaffinity": (204, 123),
    "set_tid_address": (218, 96),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "tgkill": (234, 131),
    "newfstatat": (262, 79),
    "pselect6": (270, 72),
    "ppoll": (271, 73),
    "set_robust_list": (273, 99),
    "prlimit64": (302, 261),
    "getcpu": (309, 168),
    "getrandom": (318, 278),
    "membarrier": (324, 283),
    "rseq": (334, 293),
    "clone3": (435, 435),
}


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _argument(index: int, *, high: bool = False) -> bytes:
    # struct seccomp_data: nr, arch, instruction_pointer, then six little-endian 64-bit arguments.
    return _step(_LOAD_WORD, 16 + 8 * index + (4 if high else 0))


def _refuse(code: int) -> bytes:
    return _step(_RETURN, _ERRNO | code)


_ALLOWED = _step(_RETURN, _ALLOW)
_DENIED = _refuse(errno.EPERM)


def _if_number(number: int, body: bytes) -> bytes:
    # `body` always returns, so falling behind it means that the number was another one.
    return _step(_JUMP_EQUAL, number, 0, len(body) // 8) + body


def _allow_if_any_bit(index: int, bits: int) -> bytes:
    return _argument(index) + _step(_JUMP_ANY_BIT, bits, 0, 1) + _ALLOWED + _DENIED


def _deny_if_any_bit(index: int, bits: int) -> bytes:
    return _argument(index) + _step(_JUMP_ANY_BIT, bits, 0, 1) + _DENIED + _ALLOWED


def _allow_if_among(index: int, values: Iterable[int]) -> bytes:
    tests = b"".join(_step(_JUMP_EQUAL, value, 0, 1) + _ALLOWED for value in values)
    return _argument(index) + tests + _DENIED


def _allow_if_null(index: int) -> bytes:
    low = _argument(index) + _step(_JUMP_EQUAL, 0, 1, 0) + _DENIED
    return low + _argument(index, high=True) + _step(_JUMP_EQUAL, 0, 1, 0) + _DENIED + _ALLOWED


def _conditions() -> dict[str, bytes]:
    return {
        "clone": _allow_if_any_bit(0, _CLONE_THREAD),
        "clone3": _refuse(errno.ENOSYS),
        "mmap": _deny_if_any_bit(2, _PROT_EXEC),
        "mprotect": _deny_if_any_bit(2, _PROT_EXEC),
        # glibc's fstat. A filter cannot read the path: who sets the bit and names one learns of a file that
        # it exists, and its size and times, but cannot open it.
        "newfstatat": _allow_if_any_bit(3, _AT_EMPTY_PATH),
        "prctl": _allow_if_among(0, [_PR_SET_NAME]),  # decoder threads name themselves
        "fcntl": _allow_if_among(1, _FCNTL_COMMANDS),
        "prlimit64": _allow_if_null(2),  # reading a limit, not setting one
    }


def build_filter(machine: str, pid: int) -> bytes | None:
    """The filter as BPF instructions of 8 bytes for this architecture, ``None`` where we have no table.

    ``pid`` is the process that will be confined: it may send signals to itself only.
    """
    if machine not in _ARCHITECTURES:
        return None
    number = _NUMBERS["tgkill"][_ARCHITECTURES[machine][1]]
    assert number is not None
    own_signals = _if_number(number, _allow_if_among(0, [pid]))  # abort() signals its own process
    return _same_for_all(machine) + own_signals + _DENIED


@cache
def _same_for_all(machine: str) -> bytes:
    """The program but for its end, built once before children are forked."""
    audit, column = _ARCHITECTURES[machine]
    program = _step(_LOAD_WORD, 4) + _step(_JUMP_EQUAL, audit, 1, 0) + _step(_RETURN, _KILL_PROCESS)
    program += _step(_LOAD_WORD, 0)
    if machine == "x86_64":
        program += _step(_JUMP_AT_LEAST, _X32_BIT, 0, 1) + _step(_RETURN, _KILL_PROCESS)
    conditions = _conditions()
    for name, numbers in _NUMBERS.items():
        number = numbers[column]
        if number is not None and name != "tgkill":
            program += _if_number(number, conditions.get(name, _ALLOWED))
    return program


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def install_filter() -> bool:
    """Confine this thread and all it starts; no_new_privs must be set. False where it cannot be done."""
    code = build_filter(os.uname().machine, os.getpid())
    if code is None:
        return False
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    set_seccomp, mode_filter = 22, 2
    return _LIBC.prctl(set_seccomp, mode_filter, ctypes.byref(program), 0, 0) == 0
