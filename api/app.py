"""The application: its routes, and what stands around them."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI
from typing_extensions import override

from api.edge import Edge
from api.headers import declare_headers
from api.pages import pages
from api.problems import install_problems, list_answered
from api.routes import (
    analyses,
    batches,
    bucket_events,
    documents,
    erasure,
    exports,
    feedback,
    health,
    jobs,
    keys,
    models,
    policies,
    reviews,
    reviews_known,
    uploads,
    videos,
    webhooks,
)
from api.services import Services, open_services
from fakesieve.metrics_server import serve_metrics
from fakesieve.settings import Settings

# Each resource's router, in the order in which the document lists them.
ROUTERS: tuple[APIRouter, ...] = (
    uploads.router,
    jobs.router,
    batches.router,
    bucket_events.router,
    videos.router,
    exports.router,
    analyses.router,
    documents.router,
    policies.router,
    models.router,
    reviews.router,
    reviews_known.router,
    feedback.router,
    webhooks.router,
    erasure.router,
    keys.router,
    health.router,
    *pages.ROUTERS,
)

_METRICS_HOST = "0.0.0.0"  # noqa: S104 - Prometheus reads from another host; the figures are no secret

_DESCRIPTION = """\
Screens videos for manipulated faces. The results are triage for people: a verdict is a reason to look, never
a finding about a person. Failures are `application/problem+json` with a `reason` of a closed list.
"""


class _Api(FastAPI):
    """An application whose document tells of the headers, too."""

    @override
    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = list_answered(declare_headers(super().openapi(), self.routes))
        return self.openapi_schema


def create_app(settings: Settings) -> FastAPI:
    """Return the application. Nothing is connected to before the first request."""
    services = open_services(settings)
    app = _Api(
        title="fakesieve",
        version=version("fakesieve"),
        description=_DESCRIPTION,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_make_lifespan(services),
        separate_input_output_schemas=False,
    )
    app.state.services = services
    app.add_middleware(Edge, services=services)
    install_problems(app)
    # Not include_router: it looks for the route of a request twice, a fifth of the event loop's work for it.
    # What it would add to the routes, such as a prefix, no router of ours has.
    for router in ROUTERS:
        app.router.routes.extend(router.routes)
    return app


def _make_lifespan(services: Services) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return what runs around the requests of a process."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        del app
        port = services.settings.metrics_port
        with nullcontext() if port is None else serve_metrics(services.metrics.registry, port, _METRICS_HOST):
            yield
        services.database.close()

    return lifespan
