"""Landlock by raw system calls: after `restrict_process` no path can be opened and no TCP port used.

Source: https://docs.kernel.org/userspace-api/landlock.html. Needs no privilege, only no_new_privs.
"""

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long

_CREATE_RULESET = 444  # the numbers are the same on every architecture
_RESTRICT_SELF = 446
_VERSION_FLAG = 1

# Highest file access right known to each ABI, as the number of bits from zero.
_FS_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NET_BITS = 0b11  # bind and connect of TCP, from ABI 4
_SCOPE_BITS = 0b11  # abstract sockets and signals to outside, from ABI 6


class _RulesetAttr(ctypes.Structure):
    _fields_ = [
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    ]


def _syscall(number: int, *arguments: int | ctypes.c_void_p | None) -> int:
    return int(_LIBC.syscall(ctypes.c_long(number), *arguments))


def landlock_abi() -> int:
    """The kernel's Landlock version, 0 where it is missing or switched off."""
    return max(0, _syscall(_CREATE_RULESET, None, ctypes.c_void_p(0), _VERSION_FLAG))


def _ruleset_for(abi: int) -> tuple[_RulesetAttr, int]:
    attr = _RulesetAttr(handled_access_fs=(1 << _FS_BITS[min(abi, 5)]) - 1)
    size = 8
    if abi >= 4:
        attr.handled_access_net = _NET_BITS
        size = 16
    if abi >= 6:
        attr.scoped = _SCOPE_BITS
        size = 24
    return attr, size


def restrict_process() -> int:
    """Forbid this thread and all it starts every path and every TCP port; no_new_privs must be set.

    Gives the ABI in force, 0 when the kernel has no Landlock. Files that are already open stay usable.
    """
    abi = landlock_abi()
    if abi == 0:
        return 0
    attr, size = _ruleset_for(abi)
    pointer = ctypes.cast(ctypes.byref(attr), ctypes.c_void_p)
    ruleset = _syscall(_CREATE_RULESET, pointer, ctypes.c_void_p(size), 0)
    if ruleset < 0:
        return 0
    refused = _syscall(_RESTRICT_SELF, ruleset, 0) != 0
    os.close(ruleset)
    return 0 if refused else abi
