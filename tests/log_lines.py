"""What a process writes into its log, for tests that read it."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from fakesieve.logging import configure_logging
from fakesieve.settings import LogFormat, LogLevel


@contextmanager
def logging_as_json() -> Iterator[io.StringIO]:
    """Have this process log as a fleet's processes do unless told otherwise; gives what it writes."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    configure_logging(LogFormat.JSON, LogLevel.INFO, written)
    try:
        yield written
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()


def read_events(written: io.StringIO) -> list[dict[str, object]]:
    """Return the lines that were written, each an event with its fields."""
    return [json.loads(line) for line in written.getvalue().splitlines()]
