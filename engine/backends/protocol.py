"""What an engine that runs the network offers, whichever it is."""

from typing import Protocol

import numpy as np

from engine.arrays import F32, U8
from engine.bundle import ModelBundle

# Batches that an engine is given, largest first. On a CPU larger ones are no faster (the maps of more faces
# no longer fit its cache: 11.4 ms a face at 2, 16.2 at 16 with lv-compact) and cost memory in proportion.
_LADDERS = {"lv-compact": (4, 2, 1), "lv-xception": (2, 1)}
_SMALLEST_LADDER = (1,)
# A GPU needs many faces at once to be full. lv-xception keeps 20 MB of maps a face, so its largest is half.
_GPU_LADDERS = {"lv-compact": (64, 32, 16, 8, 4, 2, 1)}
_GPU_LADDER = (32, 16, 8, 4, 2, 1)


class Backend(Protocol):
    """One loaded network on one engine; not safe to call from two threads at once."""

    @property
    def name(self) -> str:
        """Return the engine's name, one of those in ``engine/backends/select.py``."""
        ...

    @property
    def precision(self) -> str:
        """Return the arithmetic that it computes in: f32, bf16 or f16."""
        ...

    @property
    def input_size(self) -> int:
        """Return the side of the crops, in pixels."""
        ...

    @property
    def grid(self) -> int:
        """Return the side of the patch map."""
        ...

    @property
    def ladder(self) -> tuple[int, ...]:
        """Return the batch sizes that it runs well, largest first, the last one 1."""
        ...

    def infer(self, crops: U8) -> tuple[F32, F32 | None]:
        """Score uint8 RGB crops ``[B, 3, S, S]``: logits ``[B, 2]`` and patch logits ``[B, 2, g, g]``.

        Patch logits are null from a triage graph. Raises BackendFailed if the engine stops.
        """
        ...


def ladder_for(bundle: ModelBundle) -> tuple[int, ...]:
    """Return the batch sizes that suit a network on a CPU."""
    return _LADDERS.get(bundle.network, _SMALLEST_LADDER)


def gpu_ladder_for(bundle: ModelBundle) -> tuple[int, ...]:
    """Return the batch sizes that a network is run with on a GPU. Chosen by reckoning; none was measured."""
    return _GPU_LADDERS.get(bundle.network, _GPU_LADDER)


def check_crops(crops: U8, input_size: int) -> None:
    """Raise ValueError unless the crops are uint8 ``[B, 3, S, S]`` with B from 1."""
    if crops.dtype != np.uint8 or crops.shape[1:] != (3, input_size, input_size) or not crops.size:
        raise ValueError(
            f"crops are uint8 [B, 3, {input_size}, {input_size}], not {crops.dtype} {crops.shape}"
        )
