"""``fakesieve serve``: the API as a process."""

import gc
import sys
from typing import Annotated

import typer
import uvicorn

from api.app import create_app
from fakesieve.database import open_database
from fakesieve.logging import configure_logging
from fakesieve.records.revision import check_revision
from fakesieve.records.row_security import check_row_security
from fakesieve.settings import Settings, read_settings

_BACKLOG = 512
_KEEP_ALIVE_S = 30
# Objects that a page of a list makes before it lets them go, so that most requests end without a collection.
_YOUNG_OBJECTS = 20_000
# How long a thread computes while another waits. A request gets the processor back some ten times, after each
# answer of the database; with the interpreter's 5 ms it waits that long for a busy one beside it.
_HAND_OVER_S = 0.0005
_STOP_S = 10  # streams are cut then; their clients come back


def serve(
    *,
    host: Annotated[
        str | None, typer.Option(help="Address to listen at; default FAKESIEVE_API_HOST.", show_default=False)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Default FAKESIEVE_API_PORT.", show_default=False),
    ] = None,
) -> None:
    """Answer requests over HTTP until SIGTERM. Any number may run; TLS is a proxy's work."""
    settings = read_settings()
    configure_logging(settings.log_format, settings.log_level)
    _check_database(settings)
    app = create_app(settings)
    _spare_collector()
    sys.setswitchinterval(_HAND_OVER_S)
    uvicorn.run(
        app,
        host=host or settings.api_host,
        port=settings.api_port if port is None else port,
        log_config=None,  # our chain writes its lines too
        access_log=False,  # api.answered has more and no secrets
        server_header=False,
        date_header=True,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_STOP_S,
        # Whose X-Forwarded-For is believed: nobody's by default, so that no caller chooses its address.
        forwarded_allow_ips=settings.api_proxies or "",
        proxy_headers=settings.api_proxies is not None,
    )


def _spare_collector() -> None:
    """Leave what was loaded out of all collections: to look through it stops every request for 0.3 s."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])


def _check_database(settings: Settings) -> None:
    """Refuse to start beside a database of another release, or as a role that it keeps from no tenant."""
    database = open_database(settings.database_url.get_secret_value(), connections_max=1)
    try:
        check_revision(database)
        check_row_security(database)
    finally:
        database.close()
