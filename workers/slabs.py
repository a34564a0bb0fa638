"""Shared memory in which crops and answers pass between the slots and the inference process.

One sealed memfd holds all slabs. It has no name, so it is gone with the last process that has it open,
however that process ends. A shard holds one slab from before its first frame is decoded until it is done:
no free slab, no decode, and so the memory that waiting crops take is bounded.
"""

import mmap
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from engine.arrays import F32, U8
from engine.errors import Unavailable
from engine.results import RejectReason
from engine.sandbox.memory import create_shared_memory

CHECK_S = 0.25  # how often who waits for a slab or for an answer looks whether to go on waiting
_ALIGNMENT = 64  # bytes of a cache line; engines read aligned rows faster


def keep_waiting() -> None:
    """Never end a wait: the look of who cannot be told to end."""


@dataclass(frozen=True)
class SlabLayout:
    """How the memory is cut: ``slabs`` times room for ``crops`` crops and their answers."""

    slabs: int
    crops: int  # most of one request
    input_size: int  # side of a crop in pixels
    grid: int  # side of a patch map

    def __post_init__(self) -> None:
        if min(self.slabs, self.crops, self.input_size, self.grid) < 1:
            raise ValueError(f"no slabs of {self}")

    @property
    def crop_bytes(self) -> int:
        return _align(self.crops * 3 * self.input_size**2)

    @property
    def logit_bytes(self) -> int:
        return _align(self.crops * 2 * 4)

    @property
    def patch_bytes(self) -> int:
        return _align(self.crops * 2 * self.grid**2 * 4)

    @property
    def slab_bytes(self) -> int:
        return self.crop_bytes + self.logit_bytes + self.patch_bytes

    @property
    def total_bytes(self) -> int:
        return self.slabs * self.slab_bytes


def _align(size_bytes: int) -> int:
    return -(-size_bytes // _ALIGNMENT) * _ALIGNMENT


class SlabMemory:
    """A mapping of the slabs. The descriptor stays the caller's and may be closed after."""

    def __init__(self, descriptor: int, layout: SlabLayout) -> None:
        self.layout = layout
        self._map = mmap.mmap(descriptor, layout.total_bytes)

    def crops(self, slab: int, count: int) -> U8:
        """View of the first ``count`` crops of a slab, [count, 3, S, S]."""
        side = self.layout.input_size
        return self._view(slab, 0, np.uint8, (count, 3, side, side))

    def logits(self, slab: int, count: int) -> F32:
        """View of the answers' logits, [count, 2]."""
        return self._view(slab, self.layout.crop_bytes, np.float32, (count, 2))

    def patches(self, slab: int, count: int) -> F32:
        """View of the answers' patch logits, [count, 2, g, g]."""
        grid = self.layout.grid
        offset = self.layout.crop_bytes + self.layout.logit_bytes
        return self._view(slab, offset, np.float32, (count, 2, grid, grid))

    def close(self) -> None:
        """Drop the mapping; views taken from it must be gone."""
        self._map.close()

    def _view(self, slab: int, offset: int, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
        if not 0 <= slab < self.layout.slabs or not 1 <= shape[0] <= self.layout.crops:
            raise ValueError(f"slab {slab} with {shape[0]} crops does not lie in {self.layout}")
        start = slab * self.layout.slab_bytes + offset
        return np.ndarray(shape, dtype, self._map, start)


class SlabRing:
    """Hands out slabs, each to one shard at a time, in the order in which they came back."""

    def __init__(self, layout: SlabLayout) -> None:
        self.layout = layout
        self.descriptor = create_shared_memory(layout.total_bytes)
        self._free = deque(range(layout.slabs))
        self._changed = threading.Condition()

    @property
    def free_count(self) -> int:
        """How many slabs no shard holds."""
        with self._changed:
            return len(self._free)

    def close(self) -> None:
        """Let go of the memory; it is gone once the mappings of it are."""
        os.close(self.descriptor)

    def take(self, timeout_s: float, check: Callable[[], None] = keep_waiting) -> int:
        """Take a slab; waits for it. Raises Unavailable if none came free within ``timeout_s``.

        ``check`` is called while nothing comes; what it raises ends the waiting.
        """
        end_s = time.monotonic() + timeout_s
        while True:
            left_s = end_s - time.monotonic()
            with self._changed:
                if self._changed.wait_for(lambda: bool(self._free), max(0.0, min(left_s, CHECK_S))):
                    return self._free.popleft()
            if left_s <= 0:
                raise Unavailable(
                    RejectReason.ENGINE_UNAVAILABLE,
                    f"all {self.layout.slabs} slabs were taken for {timeout_s:g} s",
                    "the shard is given back; use fewer slots if this lasts",
                )
            check()

    def give(self, slab: int) -> None:
        """Let the next one have a slab that was taken."""
        with self._changed:
            self._free.append(slab)
            self._changed.notify()
