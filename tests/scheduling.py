"""How the kernel gives a process its time, kept from what libraries make of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ordinary_priority() -> Iterator[None]:
    """Give the thread at hand back the priority that it had.

    SVT-AV1 makes a thread of root that encodes a real-time one, of the highest priority (FIFO, 99), and
    leaves it so. Whatever it starts later is one too: servers, browsers, other tests. Where they compute,
    nothing else of the machine runs.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if (os.sched_getscheduler(0), os.sched_getparam(0)) != (policy, parameters):
            os.sched_setscheduler(0, policy, parameters)
