"""Frames cross from child to parent in slots of one sealed piece of shared memory."""

import mmap
from dataclasses import dataclass

import numpy as np

from engine.arrays import U8

IN_FLIGHT_BYTES = 48 << 20  # what may lie decoded and unread; one frame always may
MAX_SLOTS = 8  # a whole group: while one is looked at, the next is decoded to its end


@dataclass(frozen=True)
class SlotShape:
    """Layout of the shared memory: ``count`` frames of ``height`` x ``width`` RGB bytes each."""

    width: int
    height: int
    count: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1 or not 1 <= self.count <= MAX_SLOTS:
            raise ValueError(f"no slots of {self.width}x{self.height} times {self.count}")

    @property
    def frame_bytes(self) -> int:
        return self.width * self.height * 3

    @property
    def total_bytes(self) -> int:
        return self.frame_bytes * self.count

    @staticmethod
    def for_picture(width: int, height: int, frames: int = MAX_SLOTS) -> "SlotShape":
        """As many slots as ``frames`` need and `IN_FLIGHT_BYTES` allows, from one to `MAX_SLOTS`."""
        fitting = IN_FLIGHT_BYTES // (width * height * 3)
        return SlotShape(width, height, max(1, min(MAX_SLOTS, fitting, frames)))


class FrameSlots:
    """A mapping of the shared memory as frames. ``slot(i)`` is U8 [H, W, 3]."""

    def __init__(self, descriptor: int, shape: SlotShape, *, writable: bool) -> None:
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        # All pages at once: one page fault for each costs more than copying the frame does.
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        self._map = mmap.mmap(descriptor, shape.total_bytes, flags, access)
        self._frames = np.frombuffer(self._map, dtype=np.uint8).reshape(
            shape.count, shape.height, shape.width, 3
        )
        self.shape = shape

    def slot(self, index: int) -> U8:
        return self._frames[index]

    def close(self) -> None:
        """Drop the view and the mapping; arrays taken from `slot` must be gone or copied."""
        del self._frames
        self._map.close()
