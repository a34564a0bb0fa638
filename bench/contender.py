"""What every contender answers, and the clock that they share."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Screening:
    """One video by one contender. ``frames_read`` is less than ``frames_in_video`` for a slice."""

    score: float | None  # mean P(manipulated) of the faces, to see that all looked at the same thing
    frames_read: int
    frames_in_video: int
    faces: int
    stages_ms: dict[str, float]

    @property
    def scale(self) -> float:
        """How many times longer the whole video would have taken."""
        return self.frames_in_video / self.frames_read if self.frames_read else 1.0


class Contender(Protocol):
    """A way to screen a video, loaded and warm."""

    @property
    def name(self) -> str:
        """Short name, such as ``N0``."""
        ...

    def screen(self, path: Path) -> Screening:
        """Screen one video."""
        ...


class StageClock:
    """Adds up wall time by stage."""

    def __init__(self) -> None:
        self.stages_ms = dict[str, float]()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time inside towards a stage."""
        start = time.perf_counter()
        yield
        self.stages_ms[name] = self.stages_ms.get(name, 0.0) + 1000 * (time.perf_counter() - start)


def mean_score(logits: list[float]) -> float | None:
    """Return the mean probability of logits, or None for none."""
    if not logits:
        return None
    return sum(1 / (1 + math.exp(-max(-60.0, min(60.0, v)))) for v in logits) / len(logits)
