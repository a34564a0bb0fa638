"""Runs a few lines of Python inside a locked-down child, forked from a fresh interpreter."""

import subprocess
import sys
import tempfile
import textwrap

import psutil

from tests.waiting import PATIENCE_S

_FRAME = """
import ctypes, errno, os, resource, signal, socket, sys, threading, time
from engine.sandbox.lockdown import lock_down
given = os.open(sys.argv[1], os.O_RDONLY)
os.system  # everything that is used below has to be imported before
state = lock_down(300_000_000, 20)
"""


def in_locked_child(lines: str) -> str:
    """What ``lines`` print inside; ``given`` is a descriptor of a file of eight bytes, ``state`` the lock."""
    program = _FRAME + textwrap.dedent(lines) + "\nsys.stdout.flush(); os._exit(0)\n"
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"12345678")
        file.flush()
        command = [sys.executable, "-c", program, file.name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that waits to be reaped has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
