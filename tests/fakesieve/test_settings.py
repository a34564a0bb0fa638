"""Settings come from the environment, whole or not at all."""

from collections.abc import Iterator

import pytest

from fakesieve.errors import SetupRefused
from fakesieve.reasons import Reason
from fakesieve.settings import PREFIX, LogLevel, Settings, read_settings

WHOLE = {
    "FAKESIEVE_DATABASE_URL": "postgresql://app:hunter2@db/fakesieve",
    "FAKESIEVE_BROKER_URL": "redis://:hunter2@broker/0",
    "FAKESIEVE_BUCKET": "videos",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The least that a process needs, and nothing that this machine has set."""
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)
    for name, value in WHOLE.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_the_least_is_enough(environment: pytest.MonkeyPatch) -> None:
    found = read_settings()
    assert found.database_url.get_secret_value() == WHOLE["FAKESIEVE_DATABASE_URL"]
    assert (found.lease_s, found.reconcile_s, found.max_attempts, found.doorbell_wait_s) == (60, 10, 3, 90)
    assert found.s3_endpoint is None


def test_everything_that_is_missing_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("FAKESIEVE_DATABASE_URL")
    environment.setenv("FAKESIEVE_BUCKET", "")  # an empty variable is none
    with pytest.raises(SetupRefused) as caught:
        read_settings()
    assert caught.value.seen == "FAKESIEVE_DATABASE_URL is not set; FAKESIEVE_BUCKET is not set"
    assert caught.value.reason is Reason.INVALID_SETTINGS


def test_half_a_pair_of_keys_is_refused(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("FAKESIEVE_S3_ACCESS_KEY", "who")
    with pytest.raises(SetupRefused, match="s3_access_key and s3_secret_key go together"):
        read_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEASE_S", "0"),
        ("SLOTS", "0"),
        ("METRICS_PORT", "65536"),
        ("LOG_LEVEL", "loud"),
        ("MAX_ATTEMPTS", "x"),
        ("VIDEO_FRAMES_MAX", "4000001"),
        ("VIDEO_SIDE_PX_MAX", "32767"),
        ("VIDEO_S_MAX", "0"),
        ("DECODE_WAIT_S", "601"),
    ],
)
def test_what_cannot_be_is_refused_by_name(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(PREFIX + name, value)
    with pytest.raises(SetupRefused, match=PREFIX + name):
        read_settings()


def test_a_wait_shorter_than_the_look_is_refused(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("FAKESIEVE_DOORBELL_WAIT_S", "2")
    with pytest.raises(SetupRefused, match="doorbell_wait_s is below reconcile_s"):
        read_settings()


def test_a_heartbeat_comes_four_times_a_lease(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("FAKESIEVE_LEASE_S", "6")
    assert read_settings().heartbeat_s == 1.5


def test_secrets_show_nowhere(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("FAKESIEVE_S3_ACCESS_KEY", "who")
    environment.setenv("FAKESIEVE_S3_SECRET_KEY", "hunter2")
    environment.setenv("FAKESIEVE_API_KEY", "hunter2")
    found = read_settings()
    assert "hunter2" not in repr(found) + str(found) + found.model_dump_json()
    environment.setenv("FAKESIEVE_LOG_LEVEL", "hunter2")
    with pytest.raises(SetupRefused) as caught:
        read_settings()
    assert "hunter2" not in str(caught.value)


def test_settings_do_not_change(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="frozen"):
        read_settings().log_level = LogLevel.DEBUG


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_its_reason(name: str) -> None:
    description = Settings.model_fields[name].description
    assert description is not None
    assert description.endswith(".")
