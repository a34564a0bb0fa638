import os
import threading
from pathlib import Path

import numpy as np
import pytest

from engine.errors import Unavailable
from tests.waiting import PATIENCE_S
from workers.slabs import SlabLayout, SlabMemory, SlabRing

LAYOUT = SlabLayout(slabs=2, crops=3, input_size=8, grid=4)


@pytest.fixture
def ring():
    ring = SlabRing(LAYOUT)
    yield ring
    ring.close()


def test_crops_and_answers_of_a_slab_do_not_overlap(ring):
    memory = SlabMemory(ring.descriptor, LAYOUT)
    for slab in range(2):
        memory.crops(slab, 3)[:] = 10 + slab
        memory.logits(slab, 3)[:] = 20.0 + slab
        memory.patches(slab, 3)[:] = 30.0 + slab
    for slab in range(2):
        assert (memory.crops(slab, 3) == 10 + slab).all()
        assert (memory.logits(slab, 3) == 20.0 + slab).all()
        assert (memory.patches(slab, 3) == 30.0 + slab).all()


def test_two_mappings_see_the_same_bytes(ring):
    ours, theirs = SlabMemory(ring.descriptor, LAYOUT), SlabMemory(ring.descriptor, LAYOUT)
    ours.crops(1, 2)[:] = np.arange(2 * 3 * 64, dtype=np.uint8).reshape(2, 3, 8, 8)
    assert theirs.crops(1, 2)[1, 2, 7, 7] == (2 * 3 * 64 - 1) % 256


@pytest.mark.parametrize(("slab", "count"), [(-1, 1), (2, 1), (0, 0), (0, 4)])
def test_view_outside_of_the_memory_is_refused(ring, slab, count):
    memory = SlabMemory(ring.descriptor, LAYOUT)
    with pytest.raises(ValueError, match="does not lie"):
        memory.crops(slab, count)


def test_no_free_slab_makes_the_next_shard_wait(ring):
    with ring.lease(1.0) as first, ring.lease(1.0) as second:
        assert {first, second} == {0, 1}
        with pytest.raises(Unavailable, match="all 2 slabs"), ring.lease(0.01):
            pass
    assert ring.free_count == 2


def test_returned_slab_wakes_who_waits(ring):
    got = []

    def wait():
        with ring.lease(PATIENCE_S) as slab:
            got.append(slab)

    with ring.lease(1.0):
        with ring.lease(1.0) as held:
            waiter = threading.Thread(target=wait)
            waiter.start()
        waiter.join(PATIENCE_S)
    assert got == [held]


def test_slab_comes_back_after_an_error(ring):
    with pytest.raises(RuntimeError), ring.lease(1.0):
        raise RuntimeError
    assert ring.free_count == 2


def test_memory_has_no_name_and_cannot_shrink(ring):
    other = SlabRing(LAYOUT)
    # Not a file under /dev/shm, which somebody else could open and a killed process would leave there.
    name = Path(f"/proc/self/fd/{other.descriptor}").readlink().name
    assert name.startswith("memfd:")
    with pytest.raises(PermissionError):
        os.ftruncate(other.descriptor, 0)
    other.close()
