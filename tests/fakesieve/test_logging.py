"""Lines of ours and of libraries look the same, and no secret is in them."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.typing import EventDict

from fakesieve.logging import LETTERS_MAX, bound_fields, configure_logging, get_logger, redact_text
from fakesieve.settings import LogFormat, LogLevel
from tests.log_lines import logging_as_json, read_events

SIGNED = "https://h/videos/a.mp4?X-Amz-Signature=0badc0de&X-Amz-Expires=60"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What a process writes that logs as JSON."""
    with logging_as_json() as written:
        yield written


def test_an_event_is_one_line_with_its_fields(stream: io.StringIO) -> None:
    with bound_fields(job="job_1", shard=2):
        get_logger("fakesieve.jobs").info("shard.claimed", attempt=1)
    get_logger("fakesieve.jobs").info("done")
    first, second = read_events(stream)
    assert first.pop("timestamp")
    assert first == {
        "event": "shard.claimed",
        "job": "job_1",
        "shard": 2,
        "attempt": 1,
        "level": "info",
        "logger": "fakesieve.jobs",
    }
    assert "job" not in second


def test_an_event_below_the_level_is_not_made(stream: io.StringIO) -> None:
    made = list[str]()
    first, *rest = structlog.get_config()["processors"]

    def note(logger: object, method: str, event: EventDict) -> EventDict:
        del logger
        made.append(method)
        return event

    structlog.configure(processors=[first, note, *rest])
    get_logger("fakesieve.jobs").debug("too.much")
    get_logger("fakesieve.jobs").info("enough")
    assert made == ["info"]
    assert [line["event"] for line in read_events(stream)] == ["enough"]


def test_records_of_libraries_have_the_same_form(stream: io.StringIO) -> None:
    with bound_fields(job="job_1"):
        logging.getLogger("somebody").warning("got %s", "it", extra={"tries": 2})
    (line,) = read_events(stream)
    assert (line["event"], line["logger"], line["level"]) == ("got it", "somebody", "warning")
    assert (line["job"], line["tries"]) == ("job_1", 2)


def test_chatty_libraries_are_heard_from_warnings_on(stream: io.StringIO) -> None:
    logging.getLogger("botocore.client").info("hello")
    logging.getLogger("botocore.client").warning("careful")
    get_logger("fakesieve").debug("too much")
    assert [line["event"] for line in read_events(stream)] == ["careful"]


def test_an_exception_is_one_line_with_its_trace(stream: io.StringIO) -> None:
    try:
        raise ValueError(f"cannot read {SIGNED}")
    except ValueError:
        get_logger("fakesieve").exception("shard.failed")
    (line,) = read_events(stream)
    assert "ValueError: cannot read https://h/videos/a.mp4?***" in str(line["exception"])
    assert "0badc0de" not in stream.getvalue()


@pytest.mark.parametrize(
    "name", ["secret_key", "password", "S3_ACCESS_KEY", "api_key", "token", "Authorization"]
)
def test_fields_with_names_of_secrets_are_hidden(stream: io.StringIO, name: str) -> None:
    get_logger("fakesieve").info("e", **{name: "hunter2"}, inner={"deep": [{name: "hunter2"}]})
    assert "hunter2" not in stream.getvalue()


def test_the_key_of_an_object_is_no_secret(stream: io.StringIO) -> None:
    get_logger("fakesieve").info("e", bucket="videos", key="in/a.mp4")
    assert read_events(stream)[0]["key"] == "in/a.mp4"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (SIGNED, "https://h/videos/a.mp4?***"),
        ("postgresql://app:hunter2@db:5432/x", "postgresql://***@db:5432/x"),
        ("redis://:hunter2@h/0 and s3://b/k", "redis://***@h/0 and s3://b/k"),
        ("https://h/a#hunter2", "https://h/a"),
        ("key fsk_0123456789abcdef ends", "key fsk_*** ends"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_addresses_and_keys_lose_what_opens_doors(text: str, shown: str) -> None:
    assert redact_text(text) == shown


@given(st.text())
def test_any_text_can_be_written(text: str) -> None:
    assert len(redact_text(text)) <= LETTERS_MAX + 40
    redact_text(f"http://{text}")


def test_a_long_text_is_cut(stream: io.StringIO) -> None:
    get_logger("fakesieve").info("e", text="x" * 100_000)
    assert len(stream.getvalue()) < LETTERS_MAX + 500


def test_text_logs_cannot_be_broken_into_lines_or_colours(stream: io.StringIO) -> None:
    written = io.StringIO()
    configure_logging(LogFormat.TEXT, LogLevel.INFO, written)
    get_logger("fakesieve").info("e", name="a\r\nlevel=error \x1b[31m")
    assert len(written.getvalue().splitlines()) == 1
    assert "\x1b" not in written.getvalue()
    assert written.getvalue().index("event=e") < written.getvalue().index("name=")
