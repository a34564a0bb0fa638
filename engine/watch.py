"""How a scan tells what it is doing and how long each part of it took."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from typing import Protocol

from engine.errors import MediaRejected


class Stage(StrEnum):
    """What a scan is doing; also the keys of its timings."""

    PROBE = "probe"
    DECODE = "decode"
    DETECT = "detect"
    CROP = "crop"
    PREDICT = "predict"
    SCORE = "score"


class ScanWatcher(Protocol):
    """Is told how a scan goes on. What it raises ends the scan and reaches the caller."""

    def on_stage(self, stage: Stage) -> None:
        """Say which stage begins; decoding stands for decoding up to prediction."""
        ...

    def on_samples(self, done: int, total: int, faces: int) -> None:
        """Say how many samples are decoded, of how many, and how many faces were found in them."""
        ...

    def on_broken(self, fault: MediaRejected) -> None:
        """Say that decoding broke off, or gave nothing of a part; without an error the rest is scored."""
        ...


class SilentWatcher:
    """Tells nobody."""

    def on_stage(self, stage: Stage) -> None:
        """Do nothing."""

    def on_samples(self, done: int, total: int, faces: int) -> None:
        """Do nothing."""

    def on_broken(self, fault: MediaRejected) -> None:
        """Do nothing."""


class StageClock:
    """Adds up the time that each stage took."""

    def __init__(self) -> None:
        self._spent_s = dict.fromkeys(Stage, 0.0)
        self._begun = time.monotonic()

    @contextmanager
    def measure(self, stage: Stage) -> Generator[None]:
        """Count the time of the block for a stage."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self._spent_s[stage] += time.monotonic() - begun

    @property
    def timings_ms(self) -> dict[str, int]:
        """Milliseconds by stage, and ``total`` since the clock was made."""
        spent = {stage.value: round(1000 * seconds) for stage, seconds in self._spent_s.items()}
        return {**spent, "total": round(1000 * (time.monotonic() - self._begun))}
