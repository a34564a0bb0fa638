"""The filter program, run here by a small interpreter of its own: which calls pass, on both machines."""

import errno
import struct

import pytest

from engine.sandbox.seccomp import build_filter

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
X86, ARM = 0xC000003E, 0xC00000B7
PID = 4242


def run(code: bytes, number: int, *arguments: int, audit: int = X86) -> int:
    """Interpret a seccomp program over one system call and give its verdict (bpf(4), seccomp(2))."""
    values = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<iIQ6Q", number, audit, 0, *values)
    steps = list(struct.iter_unpack("=HBBI", code))
    place, word = 0, 0
    while True:
        operation, if_true, if_false, value = steps[place]
        place += 1
        if operation == 0x20:
            (word,) = struct.unpack_from("<I", data, value)
        elif operation == 0x06:
            return value
        else:
            holds = {0x15: word == value, 0x35: word >= value, 0x45: bool(word & value)}[operation]
            place += if_true if holds else if_false


X86_FILTER = build_filter("x86_64", PID) or b""
ARM_FILTER = build_filter("aarch64", PID) or b""
DENIED = ERRNO | errno.EPERM


@pytest.mark.parametrize("number", [0, 1, 3, 8, 11, 202, 228, 231], ids=str)
def test_what_decoding_needs_passes(number: int) -> None:
    assert run(X86_FILTER, number) == ALLOW


DENIED_CALLS = {
    "open": 2, "openat": 257, "openat2": 437, "socket": 41, "connect": 42, "bind": 49, "fork": 57,
    "vfork": 58, "execve": 59, "execveat": 322, "ptrace": 101, "kill": 62, "creat": 85, "mkdir": 83,
    "unlink": 87, "chmod": 90, "stat": 4, "access": 21, "mount": 165, "unshare": 272,
    "io_uring_setup": 425, "bpf": 321, "seccomp": 317, "pidfd_getfd": 438,
}  # fmt: skip


@pytest.mark.parametrize("name", DENIED_CALLS)
def test_opening_connecting_starting_and_the_rest_are_denied(name: str) -> None:
    assert run(X86_FILTER, DENIED_CALLS[name]) == DENIED


@pytest.mark.parametrize(("code", "clone", "audit"), [(X86_FILTER, 56, X86), (ARM_FILTER, 220, ARM)])
def test_threads_start_and_processes_do_not(code: bytes, clone: int, audit: int) -> None:
    thread_flags, process_flags = 0x003D0F00, 0x01200011
    assert run(code, clone, thread_flags, audit=audit) == ALLOW
    assert run(code, clone, process_flags, audit=audit) == DENIED
    assert run(code, 435, audit=audit) == ERRNO | errno.ENOSYS  # clone3: its flags lie out of sight


def test_no_memory_becomes_code() -> None:
    for number in (9, 10):
        assert run(X86_FILTER, number, 0, 4096, 3) == ALLOW
        assert run(X86_FILTER, number, 0, 4096, 5) == DENIED


def test_calls_are_allowed_only_with_harmless_arguments() -> None:
    assert run(X86_FILTER, 262, 3, 0, 0, 0x1000) == ALLOW  # fstat of an open descriptor
    assert run(X86_FILTER, 262, 3, 0, 0, 0) == DENIED  # stat of a path
    assert run(X86_FILTER, 157, 15) == ALLOW  # a thread's name
    assert run(X86_FILTER, 157, 22) == DENIED
    assert run(X86_FILTER, 302, 0, 9, 0) == ALLOW  # reading a limit
    assert run(X86_FILTER, 302, 0, 9, 1) == DENIED
    assert run(X86_FILTER, 302, 0, 9, 1 << 32) == DENIED  # a pointer whose low half is zero
    assert run(X86_FILTER, 234, PID) == ALLOW  # abort() in its own process
    assert run(X86_FILTER, 234, 1) == DENIED


def test_another_architectures_calls_kill() -> None:
    assert run(X86_FILTER, 0, audit=0x40000003) == KILL
    assert run(X86_FILTER, 0x40000000) == KILL  # the x32 calls behind the same architecture number
    assert run(ARM_FILTER, 63, audit=ARM) == ALLOW
    assert run(ARM_FILTER, 63, audit=X86) == KILL


def test_machines_without_a_table_get_no_filter() -> None:
    assert build_filter("riscv64", PID) is None


def test_the_program_is_within_the_kernels_size() -> None:
    assert len(X86_FILTER) // 8 < 4096
