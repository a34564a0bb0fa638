"""One chain for our events and for the records of libraries: events with fields, one line each, no secrets.

``configure_logging`` is called once where a process begins. Elsewhere: ``get_logger(__name__)`` and
``log.info("shard.claimed", shard=3)``; what is bound with ``bound_fields`` stands in each line until its end.
"""

import logging
import re
import sys
from collections.abc import Generator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import TextIO, cast
from urllib.parse import urlsplit, urlunsplit

import structlog
from structlog.contextvars import bind_contextvars, merge_contextvars, reset_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

from fakesieve.settings import LogFormat, LogLevel
from fakesieve.texts import escape_line

Logger = structlog.stdlib.BoundLogger

HIDDEN = "***"
LETTERS_MAX = 4000
# Libraries that tell more than anybody wants to know at the level of information.
_QUIET = ("botocore", "boto3", "s3transfer", "urllib3", "kombu", "amqp", "celery", "sqlalchemy", "alembic")
_SECRET_NAMES = re.compile(
    r"(secret|password|passwd|token|authorization|signature|credential|cookie|(api|access|private)_?key)",
    re.I,
)
_URLS = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>]+", re.I)
_KEYS = re.compile(r"\bfsk_[0-9a-z_]{8,}", re.I)


def configure_logging(format_: LogFormat, level: LogLevel, stream: TextIO | None = None) -> None:
    """Send all events and records of this process to ``stream``, by default the standard error."""
    shared: list[Processor] = [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        # First, so that an event below the level costs nothing more.
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=Logger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # a test, or a forked child, may configure again
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()], processors=_finish(format_)
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.value.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))
    logging.captureWarnings(capture=True)


def _finish(format_: LogFormat) -> list[Processor]:
    """Return the end of the chain, where secrets go and the line is made."""
    if format_ is LogFormat.JSON:
        render: list[Processor] = [structlog.processors.JSONRenderer(ensure_ascii=True, default=str)]
    else:
        first = ["timestamp", "level", "event"]
        render = [
            _escape_event,
            structlog.processors.LogfmtRenderer(key_order=first, bool_as_flag=False),
        ]
    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        redact_event,
        *render,
    ]


def get_logger(name: str) -> Logger:
    """Return a logger named after its module."""
    return structlog.stdlib.get_logger(name)


@contextmanager
def bound_fields(**fields: object) -> Generator[None]:
    """Put fields, such as ``job`` and ``shard``, into every event of this thread until the block ends."""
    tokens = bind_contextvars(**fields)
    try:
        yield
    finally:
        reset_contextvars(**tokens)


def redact_event(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Hide what must not be kept: fields with names of secrets, and parts of addresses within texts."""
    del logger, method
    return cast("EventDict", _redact_fields(event))


def _escape_event(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Write out what could steer a terminal or begin a line of its own; JSON does so by itself."""
    del logger, method
    return {name: escape_line(str(value)) for name, value in event.items()}


def _redact_fields(fields: Mapping[str, object]) -> MutableMapping[str, object]:
    return {
        name: HIDDEN if _SECRET_NAMES.search(name) and value is not None else _redact_value(value)
        for name, value in fields.items()
    }


def _redact_value(value: object) -> object:
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        return _redact_fields({str(name): each for name, each in pairs})
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_redact_value(each) for each in cast("list[object]", value)]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return redact_text(str(value))


def redact_text(text: str) -> str:
    """Return a text without API keys, and with its addresses cut down to what says where they lead."""
    shown = _KEYS.sub(f"fsk_{HIDDEN}", _URLS.sub(lambda found: _redact_url(found.group()), text))
    return shown if len(shown) <= LETTERS_MAX else f"{shown[:LETTERS_MAX]}... {len(shown)} letters"


def _redact_url(address: str) -> str:
    """Drop user, password, query and fragment: a signed address opens the object for whoever reads it."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return HIDDEN
    host = parts.netloc.rpartition("@")
    place = f"{HIDDEN}@{host[2]}" if host[1] else parts.netloc
    return urlunsplit((parts.scheme, place, parts.path, HIDDEN if parts.query else "", ""))
