"""Health: what the probes say, what waits in each lane, what has ended, and the hosts that work."""

from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import Request, Response

from api.dependencies import ServicesDep
from api.pages.people import PersonDep
from api.pages.router import PageRouter, PageTransaction
from api.pages.templates import render
from api.services import Services
from fakesieve.errors import FleetError
from fakesieve.jobs.states import JobState
from fakesieve.records.health_lists import RECENT_H, count_ended, list_hosts, list_lanes, sum_stages
from fakesieve.records.revision import check_revision
from fakesieve.values.people import UserRole

router = PageRouter()


@dataclass(frozen=True)
class ProbeLine:
    """What one probe says. ``fault`` is None where all is well."""

    name: str
    address: str
    fault: FleetError | None = None


@router.get("/status")
def show_status(
    request: Request, person: PersonDep, services: ServicesDep, session: PageTransaction
) -> Response:
    """Show how the installation is, as far as this tenant's business goes. Hosts are for admins."""
    return render(
        request,
        "status.html",
        probes=ask_probes(services),
        lanes=list_lanes(session),
        ended=count_ended(session),
        ended_states=[state for state in JobState if state.is_terminal],
        stages=sum_stages(session),
        hours=RECENT_H,
        hosts=list_hosts(session) if person.may(UserRole.ADMIN) else None,
        now=datetime.now(UTC),
    )


def ask_probes(services: Services) -> list[ProbeLine]:
    """Return what the probes of this process say. That a page is answered says the first two of them."""
    lines = [ProbeLine("live", "/health/live"), ProbeLine("ready", "/health/ready")]
    try:
        check_revision(services.database)
    except FleetError as fault:
        return [*lines, ProbeLine("started", "/health/started", fault)]
    return [*lines, ProbeLine("started", "/health/started")]
