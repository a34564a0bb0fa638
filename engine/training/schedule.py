"""Learning rate over a run that may be stopped and resumed at any time."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Warm-up, constant rate, then a cool-down to zero over the last ``cooldown`` steps of ``total``.

    A constant middle lets a later session go on from any checkpoint; only the cool-down is final.
    """

    peak: float
    warmup: int
    total: int
    cooldown: int

    def __post_init__(self) -> None:
        if self.peak <= 0 or self.warmup < 0 or not 0 <= self.cooldown <= self.total:
            raise ValueError(f"impossible schedule {self}")

    def rate(self, step: int) -> float:
        """Learning rate of step 0, 1, ...: linear up, flat, then 1 - sqrt of the cool-down's progress."""
        rate = self.peak
        if step < self.warmup:
            rate *= (step + 1) / self.warmup
        left = self.total - step
        if left < self.cooldown:
            rate *= 1 - (1 - max(0, left) / self.cooldown) ** 0.5
        return rate
