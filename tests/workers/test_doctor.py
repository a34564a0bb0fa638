"""``fakesieve doctor`` beside a fleet: what answers, what does not, and what to do."""

import secrets

import pytest
import redis
from sqlalchemy import text

from engine.cli.doctor import Check, Status
from fakesieve.database import Database
from fakesieve.embedded.postgres import PostgresServer
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.embedded.valkey import ValkeyServer
from fakesieve.jobs.rows import HostBeat
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.object_stores.s3_client import S3Options
from tests.job_stores import make_sql_case
from workers.doctor import check_fleet

SILENT = "http://127.0.0.1:1"


@pytest.fixture
def environment(
    postgres: PostgresServer,
    module_database_name: str,
    valkey: ValkeyServer,
    s3: SeaweedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, str]:
    """Where a fleet's services are, as a worker's environment says."""
    bucket = f"doctor-{secrets.token_hex(4)}"
    S3Objects(S3Options(s3.endpoint, s3.access_key, s3.secret_key)).make_bucket(bucket)
    values = {
        "FAKESIEVE_DATABASE_URL": postgres.url(database=module_database_name),
        "FAKESIEVE_BROKER_URL": valkey.url,
        "FAKESIEVE_S3_ENDPOINT": s3.endpoint,
        "FAKESIEVE_S3_ACCESS_KEY": s3.access_key,
        "FAKESIEVE_S3_SECRET_KEY": s3.secret_key,
        "FAKESIEVE_BUCKET": bucket,
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_without_a_fleet_nothing_is_asked() -> None:
    assert check_fleet({"HOME": "/root"}) == []


def test_a_fleet_that_answers_is_told_service_by_service(
    environment: dict[str, str], module_database: Database
) -> None:
    store = SqlJobStore(module_database)
    beat = HostBeat("hst_doctor", slots=3, is_draining=False, name="here", version="1", rss_bytes=1)
    store.run(lambda tx: tx.beat_host(beat))
    found = by_name(check_fleet(environment))
    assert {name: check.status for name, check in found.items()} == dict.fromkeys(
        (
            "database",
            "clock of the database",
            "workers",
            "invariants",
            "broker",
            "object store",
            "clock of the object store",
            "input limits",
        ),
        Status.OK,
    )
    assert found["workers"].seen == "1 with 3 slots, on no model yet"
    assert environment["FAKESIEVE_BUCKET"] in found["object store"].seen
    store.run(lambda tx: tx.remove_host(beat.owner))
    assert by_name(check_fleet(environment))["workers"].status is Status.WARN


@pytest.mark.parametrize(
    ("name", "value", "check", "seen"),
    [
        ("FAKESIEVE_DATABASE_URL", "postgresql://u:secret@127.0.0.1:1/none", "database", "DATABASE_UNAVAIL"),
        ("FAKESIEVE_BROKER_URL", "redis://:secret@127.0.0.1:1/0", "broker", "BROKER_UNAVAILABLE"),
        ("FAKESIEVE_S3_ENDPOINT", SILENT, "object store", "OBJECT_STORE_UNAVAILABLE"),
        ("FAKESIEVE_BUCKET", "no-such-bucket", "object store", "no-such-bucket"),
    ],
)
def test_a_service_that_does_not_answer_fails_alone_and_keeps_its_secret(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    check: str,
    seen: str,
) -> None:
    monkeypatch.setenv(name, value)
    checks = check_fleet(environment | {name: value})
    failed = [each for each in checks if each.status is Status.FAIL]
    assert [each.name for each in failed] == [check]
    assert seen in failed[0].seen
    assert failed[0].hint
    assert "secret" not in str(checks)


def test_a_database_without_tables_is_told_what_to_do(
    environment: dict[str, str], postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"empty_{secrets.token_hex(4)}"
    postgres.make_database(name)
    url = postgres.url(database=name)
    monkeypatch.setenv("FAKESIEVE_DATABASE_URL", url)
    found = by_name(check_fleet(environment | {"FAKESIEVE_DATABASE_URL": url}))["database"]
    postgres.drop_database(name)
    assert found.status is Status.FAIL
    assert "fakesieve migrate" in found.hint


def test_a_job_that_is_stuck_is_named_with_its_rule(
    environment: dict[str, str], job_database: Database
) -> None:
    case = make_sql_case(job_database)
    job_id = case.submit("stuck")
    assert by_name(check_fleet(environment))["invariants"] == Check(
        "invariants", Status.OK, "hold for the 1 jobs that were looked at"
    )
    case.store.run(
        lambda tx: tx.session.execute(text("DELETE FROM outbox WHERE job_id = :id"), {"id": job_id})
    )
    found = by_name(check_fleet(environment))["invariants"]
    assert found.status is Status.FAIL
    assert found.seen.startswith("I6: an open shard of a live job is leased")
    assert found.seen.endswith(f"{job_id}/0 (1 such)")


def test_a_broker_that_evicts_fails(environment: dict[str, str], valkey: ValkeyServer) -> None:
    with redis.Redis.from_url(valkey.url) as broker:
        broker.config_set("maxmemory-policy", "allkeys-lru")
        try:
            found = by_name(check_fleet(environment))["broker"]
        finally:
            broker.config_set("maxmemory-policy", "noeviction")
    assert (found.status, "allkeys-lru" in found.seen) == (Status.FAIL, True)


def test_the_limits_that_a_worker_would_have_are_told(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKESIEVE_VIDEO_FRAMES_MAX", "5000")
    found = by_name(check_fleet(environment))["input limits"]
    assert (found.status, found.seen.partition(" but for ")[2]) == (
        Status.OK,
        "FAKESIEVE_VIDEO_FRAMES_MAX 5000",
    )
    monkeypatch.setenv("FAKESIEVE_VIDEO_CODECS", "realvideo")
    found = by_name(check_fleet(environment))["input limits"]
    assert (found.status, "realvideo" in found.seen) == (Status.FAIL, True)


def test_an_api_that_does_not_answer_fails_with_its_address() -> None:
    (found,) = check_fleet({"FAKESIEVE_API_URL": SILENT})
    assert found.status is Status.FAIL
    assert SILENT in found.seen
