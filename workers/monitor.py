"""The monitor: asks a live database for what must never be there, and says so loudly when it is.

It mends nothing. What it finds is a fault of ours, or somebody wrote into the tables by hand.
"""

from itertools import groupby

from fakesieve.database import Database
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.sql.invariants import Violation, look
from fakesieve.logging import get_logger
from workers.metrics import FleetMetrics

_log = get_logger(__name__)

MONITOR_S = 60.0
IDS_SHOWN = 5


class Monitor:
    """One monitor; any number may run, each of which looks for itself.

    The first turn does not look: what a fleet left when it stopped is the reconciler's to put right first.
    """

    def __init__(self, database: Database, limits: JobLimits, metrics: FleetMetrics | None = None) -> None:
        self._database, self._limits = database, limits
        self._metrics = metrics or FleetMetrics()
        self._is_first = True

    def take_turn(self) -> bool:
        """Look once; false, as the next look is due after the pause whatever this one found.

        Raises Unavailable where the database does not answer, or not in time.
        """
        if self._is_first:
            self._is_first = False
            return False
        with self._database.transaction(tenant_id=None) as session:
            seen = look(session, self._limits)
        self._metrics.note_look(seen.count())
        for _, broken in groupby(seen.violations, key=lambda each: each.name):
            _tell(list(broken))
        return False


def _tell(broken: list[Violation]) -> None:
    """Log one line for a rule, with the ids of the first few rows that break it."""
    _log.error(
        "fleet.invariant_broken",
        invariant=broken[0].name,
        says=broken[0].says,
        rows=len(broken),
        ids=[each.subject for each in broken[:IDS_SHOWN]],
    )
