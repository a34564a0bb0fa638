"""Probes for whoever runs the API, and the place where figures are not."""

from typing import Literal

from fastapi import APIRouter

from api.dependencies import ServicesDep
from api.problems import Problem, describe_responses
from api.schemas.shape import Answer
from fakesieve.reasons import Reason

router = APIRouter(tags=["health"], generate_unique_id_function=lambda route: route.name)


class Health(Answer):
    """The process answers."""

    object: Literal["health"] = "health"
    status: Literal["ok"] = "ok"


@router.get("/health/live")
async def show_live() -> Health:
    """Say that the process answers; restart it when this does not."""
    return Health()


@router.get("/health/ready", responses=describe_responses(Reason.DATABASE_UNAVAILABLE))
def show_ready(services: ServicesDep) -> Health:
    """Say that requests can be answered now: the database answers. Send no requests while it does not."""
    services.readiness.check()
    return Health()


@router.get("/health/started", responses=describe_responses(Reason.MIGRATIONS_BEHIND))
def show_started(services: ServicesDep) -> Health:
    """Say that this release fits its database: the migrations that it needs have run."""
    services.started.check()
    return Health()


@router.get("/metrics", include_in_schema=False)
async def refuse_metrics() -> None:
    """Say that figures tell of all tenants, so no key opens them; Prometheus has a port of its own."""
    raise Problem(Reason.MISSING_SCOPE, "figures are read at the port FAKESIEVE_METRICS_PORT")
