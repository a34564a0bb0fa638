"""Figures of a process where Prometheus reads them."""

from collections.abc import Generator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from fakesieve.logging import get_logger

_log = get_logger(__name__)


@contextmanager
def serve_metrics(registry: CollectorRegistry, port: int, host: str) -> Generator[int]:
    """Answer Prometheus from a thread of its own during the block; give the port, of 0 the one found."""
    server, thread = start_http_server(port, host, registry=registry)
    _log.info("metrics.served", host=host, port=server.server_port)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
