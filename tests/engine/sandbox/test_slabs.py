"""Shared memory for frames: bounded, sealed, copied."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.sandbox.memory import create_shared_memory
from engine.sandbox.slabs import IN_FLIGHT_BYTES, FrameSlots, SlotShape


@given(st.integers(1, 8192), st.integers(1, 8192))
def test_few_frames_are_in_flight_and_one_always_may_be(width: int, height: int) -> None:
    shape = SlotShape.for_picture(width, height)
    assert 1 <= shape.count <= 8
    assert shape.total_bytes <= max(IN_FLIGHT_BYTES, shape.frame_bytes)


def test_what_the_child_writes_the_parent_reads_and_cannot_change() -> None:
    shape = SlotShape(7, 5, 3)
    memory = create_shared_memory(shape.total_bytes)
    try:
        child, parent = FrameSlots(memory, shape, writable=True), FrameSlots(memory, shape, writable=False)
        picture = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
        child.slot(2)[:] = picture
        assert np.array_equal(parent.slot(2), picture)
        assert not parent.slot(0).any()
        with pytest.raises(ValueError, match="read-only"):
            parent.slot(0)[0] = 1
        child.close()
        parent.close()
    finally:
        os.close(memory)


def test_a_child_cannot_shorten_the_memory_under_the_parent() -> None:
    memory = create_shared_memory(8192)
    try:
        for size in (0, 4096, 16_384):
            with pytest.raises(PermissionError):
                os.ftruncate(memory, size)
    finally:
        os.close(memory)


def test_senseless_shapes_are_refused() -> None:
    for wrong in ((0, 5, 1), (5, 0, 1), (5, 5, 0), (5, 5, 99)):
        with pytest.raises(ValueError, match="slots"):
            SlotShape(*wrong)
