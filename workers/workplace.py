"""What the slots of a host share."""

import threading
from dataclasses import dataclass, field

from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.store import JobStore
from workers.leases import Leases
from workers.metrics import FleetMetrics
from workers.scratch import Scratch
from workers.screener import Screener
from workers.tracing import Tracer


@dataclass(frozen=True)
class Workplace:
    """One for a host; every part of it may be used from several threads."""

    store: JobStore
    owner: str  # names the host in leases
    limits: JobLimits
    leases: Leases
    scratch: Scratch
    screener: Screener
    metrics: FleetMetrics
    tracer: Tracer
    draining: threading.Event = field(default_factory=threading.Event)  # set once nothing new is begun
