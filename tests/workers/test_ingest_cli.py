"""``fakesieve ingest`` as people run it: real database, real object store, settings from the environment."""

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import boto3.session
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from fakesieve.database import Database
from fakesieve.embedded.postgres import PostgresServer
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.errors import FleetError
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.object_stores.s3_client import S3Options
from fakesieve.records.tenants import ensure_tenant
from tests.waiting import PATIENCE_S, wait_until
from workers.ingest_cli import ingest

JOBS = text("SELECT source_key, source_kind, lane FROM job ORDER BY source_key")


@pytest.fixture
def fleet(
    monkeypatch: pytest.MonkeyPatch,
    postgres: PostgresServer,
    database_name: str,
    database: Database,
    s3: SeaweedServer,
) -> tuple[S3Objects, str]:
    """The environment of a fleet with one tenant, and a bucket with two videos and a text."""
    with database.transaction(tenant_id=None) as session:
        ensure_tenant(session, "default")
    objects = S3Objects(S3Options(s3.endpoint, s3.access_key, s3.secret_key))
    bucket = f"ingest-{uuid.uuid4().hex[:12]}"
    objects.make_bucket(bucket)
    for name, value in {
        "DATABASE_URL": postgres.url(database=database_name),
        "BROKER_URL": "redis://127.0.0.1:9",
        "S3_ENDPOINT": s3.endpoint,
        "S3_ACCESS_KEY": s3.access_key,
        "S3_SECRET_KEY": s3.secret_key,
        "BUCKET": bucket,
    }.items():
        monkeypatch.setenv(f"FAKESIEVE_{name}", value)
    return objects, bucket


def put(objects: S3Objects, bucket: str, folder: Path, *keys: str) -> None:
    source = folder / "source"
    for key in keys:
        source.write_text(key)
        objects.upload(source, bucket, key)


def list_jobs(database: Database) -> list[tuple[str, str, str]]:
    with database.transaction(tenant_id=None) as session:
        return [tuple(row) for row in session.execute(JOBS)]


def test_a_sweep_submits_what_is_not_known(
    fleet: tuple[S3Objects, str],
    database: Database,
    tmp_path: Path,
) -> None:
    put(*fleet, tmp_path, "in/a.mp4", "in/b c.MP4", "in/readme.txt", "out/d.mp4")
    arguments = ["sweep", "--prefix", "in/", "--extension", ".mp4"]
    dry = CliRunner().invoke(ingest, [*arguments, "--dry-run"])
    assert json.loads(dry.stdout) == {"new": 2, "known": 0, "outside": 1, "dry_run": True}
    assert list_jobs(database) == []
    first, second = (CliRunner().invoke(ingest, arguments) for _ in range(2))
    assert json.loads(first.stdout) == {"new": 2, "known": 0, "outside": 1}
    assert json.loads(second.stdout) == {"new": 0, "known": 2, "outside": 1}
    dry = CliRunner().invoke(ingest, [*arguments, "--dry-run"])
    assert json.loads(dry.stdout) == {"new": 0, "known": 2, "outside": 1, "dry_run": True}
    assert list_jobs(database) == [("in/a.mp4", "s3_sweep", "bulk"), ("in/b c.MP4", "s3_sweep", "bulk")]


def test_a_sweep_of_the_fleets_bucket_takes_nothing_of_any_tenant(
    fleet: tuple[S3Objects, str], database: Database, tmp_path: Path
) -> None:
    put(*fleet, tmp_path, "uploads/ten_other/x.mp4", "exports/ten_other/y.csv")
    swept = CliRunner().invoke(ingest, ["sweep"])
    assert json.loads(swept.stdout) == {"new": 0, "known": 0, "outside": 2}
    assert list_jobs(database) == []


def test_what_cannot_be_watched_is_refused(fleet: tuple[S3Objects, str]) -> None:
    for arguments in (["sweep", "--bucket", "../x"], ["sweep", "--extension", "mp4"]):
        refused = CliRunner().invoke(ingest, arguments)
        assert isinstance(refused.exception, FleetError)
        assert refused.exception.reason == "INVALID_REQUEST"
    assert CliRunner().invoke(ingest, ["events", "--queue", "events"]).exit_code == 2


def test_events_are_taken_until_the_process_is_told_to_stop(
    fleet: tuple[S3Objects, str],
    database: Database,
    tmp_path: Path,
) -> None:
    moto = pytest.importorskip("moto.server", reason="moto is in the test extra")
    put(*fleet, tmp_path, "a.mp4")
    cloud = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    cloud.start()
    endpoint = "http://{}:{}".format(*cloud.get_host_and_port())
    sqs = boto3.session.Session("key", "secret", region_name="us-east-1").client("sqs", endpoint_url=endpoint)
    queue_url = sqs.create_queue(QueueName="events")["QueueUrl"]
    record = {
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": fleet[1]}, "object": {"key": "a.mp4"}},
    }
    sqs.send_message(QueueUrl=queue_url, MessageBody=json.dumps({"Records": [record]}))
    command = [sys.executable, "-m", "fakesieve", "ingest", "events", "--queue", queue_url]
    process = subprocess.Popen(
        [*command, "--queue-endpoint", endpoint], env=dict(os.environ), stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: list_jobs(database) or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        cloud.stop()
    assert list_jobs(database) == [("a.mp4", "s3_event", "standard")], log
    assert process.returncode == 0, log
    assert '"event": "ingest.taken"' in log
