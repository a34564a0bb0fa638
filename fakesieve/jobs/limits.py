"""How often and how long: the figures that decide when work is given up or rung again."""

from dataclasses import dataclass


@dataclass(frozen=True)
class JobLimits:
    """Spans in seconds on the database's clock.

    ``max_attempts`` counts claims that ended badly; clean give-backs are refunded. ``max_deliveries``
    counts every claim and ends loops of refunds. ``doorbell_wait_s`` is how long a published doorbell may
    stay unanswered before it is taken for lost. ``batch_idle_s`` is how long an open batch without live jobs
    may get no further one before its submission is taken for cut off: far longer than a caller that sends a
    list again needs, and far shorter than anybody waits for a batch.
    """

    lease_s: float = 60.0
    max_attempts: int = 3
    max_deliveries: int = 50
    doorbell_wait_s: float = 90.0
    host_silence_s: float = 60.0
    batch_idle_s: float = 3_600.0
    doorbells_per_slot: int = 2
    step_rows: int = 200  # rows that one transaction of the reconciler locks at most

    def __post_init__(self) -> None:
        for name in ("lease_s", "doorbell_wait_s", "host_silence_s", "batch_idle_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, is {getattr(self, name)}")
        for name in ("max_attempts", "doorbells_per_slot", "step_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, is {getattr(self, name)}")
        if self.max_deliveries < self.max_attempts:
            raise ValueError("max_deliveries is below max_attempts: no attempt could be refunded")
