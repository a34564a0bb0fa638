"""How far apart two engines' answers are, and the bound within which an engine is admitted."""

from dataclasses import dataclass

import numpy as np

from engine.arrays import F32, U8

# Engines sum in different orders. Float32 noise of the reference itself is 3e-5 on logits of size 1 and was
# 3.5e-6 of the largest logit with weights that blow it up to 4000. With bfloat16, logits of size 1 were off
# by up to 0.1 and patch logits by 0.4 with random weights.
# Float16 has three bits more than bfloat16, so an eighth of its bounds; not measured, for want of a GPU.
ABSOLUTE_MAX = {"f32": 1e-4, "bf16": 0.4, "f16": 0.05}
RELATIVE_MAX = {"f32": 3e-5, "bf16": 0.1, "f16": 0.0125}
_PROBE_SEED = 20_240_611


@dataclass(frozen=True)
class Answers:
    """What a network says of some crops."""

    logits: F32  # [B, 2]
    patch_logits: F32 | None  # [B, 2, g, g], null from a triage graph


@dataclass(frozen=True)
class ParityReport:
    """How far answers are from the expected ones."""

    logits_max: float  # largest absolute difference
    patch_logits_max: float | None
    bound: float
    verdict_flips: int  # crops whose larger logit is another one

    @property
    def passes(self) -> bool:
        """Whether every difference is within the bound; false where one is not a number."""
        differences = [self.logits_max, *([] if self.patch_logits_max is None else [self.patch_logits_max])]
        return all(difference <= self.bound for difference in differences)

    def describe(self) -> str:
        """Say the differences in one line."""
        patches = "" if self.patch_logits_max is None else f" and {self.patch_logits_max:.1e} in patch logits"
        return f"{self.logits_max:.1e} in logits{patches}, at most {self.bound:.1e} is allowed"


def compare_answers(expected: Answers, seen: Answers, precision: str = "f32") -> ParityReport:
    """Measure the largest differences between two sets of answers to the same crops."""
    patches: float | None = None
    largest = float(np.abs(expected.logits).max())
    if seen.patch_logits is not None and expected.patch_logits is not None:
        patches = float(np.abs(expected.patch_logits - seen.patch_logits).max())
        largest = max(largest, float(np.abs(expected.patch_logits).max()))
    return ParityReport(
        logits_max=float(np.abs(expected.logits - seen.logits).max()),
        patch_logits_max=patches,
        bound=ABSOLUTE_MAX[precision] + RELATIVE_MAX[precision] * largest,
        verdict_flips=int((expected.logits.argmax(1) != seen.logits.argmax(1)).sum()),
    )


def probe_crops(side: int, count: int) -> U8:
    """Draw fixed crops ``[count, 3, side, side]``: shades, noise and edges, none of them a face."""
    random = np.random.default_rng(_PROBE_SEED)
    rows, columns = np.mgrid[0:side, 0:side] / side
    crops = np.empty((count, 3, side, side), np.uint8)
    for index in range(count):
        waves = [np.sin((index + 2) * (rows * a + columns * b)) for a, b in random.uniform(1, 20, (3, 2))]
        noise = random.normal(0, 10.0 * index, (3, side, side))
        crops[index] = np.clip(128 + 80 * np.stack(waves) + noise, 0, 255)
    crops[-1, :, side // 3 : side // 2, side // 4 :] = 250
    return crops
