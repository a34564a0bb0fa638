"""Makes glibc keep freed memory, which more than doubles the speed of training on a CPU."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_KEEP = 2**31 - 1
_GROW_BY = 256 * 1024 * 1024


def keep_heap() -> bool:
    """Stop glibc from returning large blocks to the kernel; returns whether the C library took it.

    Each step allocates and frees gigabytes of activations. Returned to the kernel, they are zeroed page
    by page at the next step: 1.5 against 4 pictures a second were measured on a busy two-core machine.
    Elsewhere than on Linux nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # a C library other than glibc, musl for one
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _KEEP), (_M_TOP_PAD, _GROW_BY))
    return all(bool(mallopt(name, value)) for name, value in settings)
