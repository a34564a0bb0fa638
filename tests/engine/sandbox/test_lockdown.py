"""What a locked process can still do. Each test locks a forked child down for real."""

import ctypes
import errno
import resource
import subprocess
import sys
import textwrap

import pytest

from engine.sandbox.landlock import landlock_abi
from tests.engine.sandbox.support import in_locked_child, is_gone
from tests.waiting import PATIENCE_S, wait_until

HAS_LANDLOCK = landlock_abi() > 0


def attempt(expression: str) -> str:
    """What comes of ``expression`` in a locked child: 'done', or the name of the error number."""
    return in_locked_child(
        f"""
        try:
            {expression}
            print("done")
        except OSError as error:
            print(errno.errorcode[error.errno])
        """
    )


@pytest.mark.parametrize(
    "expression",
    [
        "os.open('/etc/passwd', os.O_RDONLY)",
        "os.open('/tmp/written', os.O_WRONLY | os.O_CREAT)",
        "os.open('/proc/self/maps', os.O_RDONLY)",
        "socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)",
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "os.kill(os.getppid(), 0)",
        "os.unlink('/tmp/absent')",
        "os.stat('/etc/passwd')",
        "os.listdir('/')",
        "os.memfd_create('x')",
    ],
)
def test_reaching_out_is_refused(expression: str) -> None:
    assert attempt(expression) in ("EPERM", "EACCES")


@pytest.mark.parametrize(
    "expression",
    [
        "os.read(given, 4)",
        "os.lseek(given, 0, os.SEEK_SET)",
        "os.fstat(given)",
        "threading.Thread(target=lambda: None).start()",
        "bytearray(50_000_000)",
        "time.sleep(0.001)",
        "os.urandom(8)",
    ],
)
def test_what_decoding_needs_works(expression: str) -> None:
    assert attempt(expression) == "done"


def test_a_shell_cannot_be_started() -> None:
    assert in_locked_child("print(ctypes.CDLL(None).system(b'true') >> 8)") in ("127", "-1")


def test_memory_is_bounded() -> None:
    said = in_locked_child(
        """
        try:
            bytearray(400_000_000)
            print("done")
        except MemoryError:
            print("MemoryError")
        """
    )
    assert said == "MemoryError"


def test_no_file_grows_and_no_core_is_dumped() -> None:
    said = in_locked_child(
        "print(resource.getrlimit(resource.RLIMIT_FSIZE), resource.getrlimit(resource.RLIMIT_CORE))"
    )
    assert said == "(0, 0) (0, 0)"


def test_a_write_to_the_input_is_refused() -> None:
    assert attempt("os.write(given, b'x')") == "EBADF"


def test_the_state_is_told() -> None:
    said = in_locked_child("print(state.no_new_privs, state.seccomp, state.landlock_abi > 0)")
    assert said == f"True True {HAS_LANDLOCK}"


def test_open_doors_are_found_where_nothing_is_locked() -> None:
    program = "from engine.sandbox.lockdown import find_open_doors; print(find_open_doors())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['read', 'write', 'connect', 'fork']"


def test_a_child_dies_with_its_parent() -> None:
    program = textwrap.dedent(
        """
        import os, sys, time
        from engine.sandbox.lockdown import die_with_parent
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            die_with_parent(parent)
            time.sleep(600)
            os._exit(0)
        print(child, flush=True)
        time.sleep(0.2)
        os._exit(0)
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    wait_until(lambda: is_gone(int(done.stdout)))


def test_the_limits_of_this_process_are_untouched() -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 0
    assert ctypes.get_errno() in (0, errno.EPERM, errno.ENOSYS, errno.ENOENT, errno.EINVAL, errno.EAGAIN)


def test_limits_that_are_tighter_already_stay() -> None:
    program = """
        import resource
        from engine.sandbox.lockdown import set_resource_limits
        resource.setrlimit(resource.RLIMIT_CPU, (7, 7))
        set_resource_limits(1 << 30, 125)
        print(resource.getrlimit(resource.RLIMIT_CPU), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.stdout.strip(), done.stderr) == ("(7, 7) 16", "")
