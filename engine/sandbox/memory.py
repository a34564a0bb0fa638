"""The piece of memory that parent and child share: apart from its frames, for it needs no numpy."""

import fcntl
import os


def create_shared_memory(size_bytes: int) -> int:
    """A descriptor of zeroed shared memory that can neither grow nor shrink.

    The seals matter: a child that shortened it would kill the reading parent with SIGBUS.
    """
    descriptor = os.memfd_create("frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size_bytes)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
