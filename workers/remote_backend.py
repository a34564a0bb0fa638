"""The network as one shard sees it: the protocol of ``engine.backends``, answered by another process."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engine.arrays import F32, U8
from engine.backends.protocol import check_crops
from fakesieve.jobs.states import Lane
from workers.inference_wire import Answer, Ready
from workers.slabs import SlabMemory


@dataclass(frozen=True)
class SlabUse:
    """A slab while one shard has it."""

    slab: int
    lane: Lane
    subject: str
    is_suspect: bool
    check: Callable[[], None]  # raises what its shard is to end with


class CropScorer(Protocol):
    """What has the crops of a slab scored."""

    def score(self, use: SlabUse, count: int) -> Answer:
        """Have the first ``count`` crops of a slab scored and wait for it."""
        ...


class RemoteBackend:
    """One slab of crops at a time; ``compute_s`` and ``faces`` add up what the shard has cost."""

    def __init__(self, process: CropScorer, ready: Ready, memory: SlabMemory, use: SlabUse) -> None:
        self._process, self._memory, self._use = process, memory, use
        self.name = ready.name
        self.precision = ready.precision
        self.input_size = ready.input_size
        self.grid = ready.grid
        self.ladder = ready.ladder
        self.compute_s = 0.0  # of the network, spent for this shard
        self.faces = 0  # scored for this shard

    def infer(self, crops: U8) -> tuple[F32, F32 | None]:
        """Score crops as the protocol says; more than fit into the slab go in parts."""
        check_crops(crops, self.input_size)
        room = self._memory.layout.crops
        parts = [self._infer_part(crops[place : place + room]) for place in range(0, len(crops), room)]
        patches = [part[1] for part in parts if part[1] is not None]
        return np.concatenate([part[0] for part in parts]), np.concatenate(patches) if patches else None

    def _infer_part(self, crops: U8) -> tuple[F32, F32 | None]:
        self._use.check()
        count = len(crops)
        slab = self._use.slab
        np.copyto(self._memory.crops(slab, count), crops)
        answer = self._process.score(self._use, count)
        self.compute_s += answer.compute_s
        self.faces += count
        logits = self._memory.logits(slab, count).copy()
        return logits, self._memory.patches(slab, count).copy() if answer.has_patches else None
