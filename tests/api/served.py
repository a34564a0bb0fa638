"""An application behind a real socket, for tests of what a test client cannot do."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from fakesieve.embedded.ports import find_ports
from tests.waiting import wait_until


@contextmanager
def serve_app(app: FastAPI) -> Iterator[str]:
    """Serve the application during the block; gives its address."""
    (port,) = find_ports(1)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
