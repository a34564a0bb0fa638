import os
import threading
from pathlib import Path

import numpy as np
import pytest

from engine.errors import Unavailable
from tests.waiting import PATIENCE_S
from workers.retry import ClaimLost
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
    assert {ring.take(1.0), ring.take(1.0)} == {0, 1}
    with pytest.raises(Unavailable, match="all 2 slabs"):
        ring.take(0.01)


def test_shard_that_is_told_to_end_waits_for_no_slab(ring):
    def check():
        raise ClaimLost

    ring.take(1.0, check)  # one that is there is taken without a question
    ring.take(1.0)
    with pytest.raises(ClaimLost):
        ring.take(PATIENCE_S, check)


def test_returned_slab_wakes_who_waits(ring):
    got = []

    ring.take(1.0)
    held = ring.take(1.0)
    waiter = threading.Thread(target=lambda: got.append(ring.take(PATIENCE_S)))
    waiter.start()
    ring.give(held)
    waiter.join(PATIENCE_S)
    assert got == [held]


def test_memory_has_no_name_and_cannot_shrink(ring):
    other = SlabRing(LAYOUT)
    # Not a file under /dev/shm, which somebody else could open and a killed process would leave there.
    name = Path(f"/proc/self/fd/{other.descriptor}").readlink().name
    assert name.startswith("memfd:")
    with pytest.raises(PermissionError):
        os.ftruncate(other.descriptor, 0)
    other.close()
