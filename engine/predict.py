"""Run the network over the crops of one group of frames."""

from dataclasses import dataclass

import numpy as np

from engine.arrays import F32, U8
from engine.backends.protocol import Backend
from engine.errors import BackendFailed
from engine.faces.align import FaceBatch
from engine.results import RejectReason


@dataclass(frozen=True)
class FramePredictions:
    """What the network says of each crop, in the order of the batch."""

    logit: F32  # [B] log odds of manipulated against real, not calibrated
    patches: U8 | None  # [B, g, g] 255 * P(patch manipulated); null from a triage graph

    def __post_init__(self) -> None:
        if self.logit.ndim != 1 or not np.isfinite(self.logit).all():
            raise ValueError("logits are [B] and finite")
        if self.patches is not None and (
            self.patches.dtype != np.uint8
            or self.patches.ndim != 3
            or len(self.patches) != len(self.logit)
            or self.patches.shape[1] != self.patches.shape[2]
        ):
            raise ValueError(f"patches are uint8 [{len(self.logit)}, g, g], not {self.patches.shape}")


def predict_faces(batch: FaceBatch, backend: Backend) -> FramePredictions:
    """Score every crop of a batch, in the batch sizes that the engine runs well.

    Raises BackendFailed if the engine stops.
    """
    logits: list[F32] = [np.empty((0, 2), np.float32)]
    patches: list[F32 | None] = []
    start = 0
    for size in split_batch(len(batch.crops), backend.ladder):
        answer = backend.infer(batch.crops[start : start + size])
        logits.append(answer[0])
        patches.append(answer[1])
        start += size
    both = np.concatenate(logits)
    known = [answer for answer in patches if answer is not None]
    if not all(np.isfinite(answer).all() for answer in (both, *known)):
        raise BackendFailed(
            RejectReason.ENGINE_UNAVAILABLE,
            f"{backend.name} answered with a score that is not a number",
            "run 'fakesieve model verify' on the model, or use another --engine",
        )
    return FramePredictions(both[:, 1] - both[:, 0], _patch_probabilities(patches, backend.grid))


def split_batch(count: int, ladder: tuple[int, ...]) -> list[int]:
    """Cut a count into batch sizes of the ladder (largest first, the last one 1)."""
    sizes: list[int] = []
    for size in ladder:
        sizes += [size] * ((count - sum(sizes)) // size)
    return sizes


def _patch_probabilities(patch_logits: list[F32 | None], grid: int) -> U8 | None:
    known = [answer for answer in patch_logits if answer is not None]
    if len(known) < len(patch_logits):
        return None
    logits = np.concatenate([np.empty((0, 2, grid, grid), np.float32), *known])
    odds = np.clip(logits[:, 1] - logits[:, 0], -60.0, 60.0)  # beyond, exp overflows and uint8 is flat anyway
    return np.round(255.0 / (1.0 + np.exp(-odds))).astype(np.uint8)
