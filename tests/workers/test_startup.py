import json
import os
import shutil
import subprocess
import sys

import pytest
import redis

from engine.bundle import MANIFEST, find_bundle
from engine.model_names import DEFAULT_MODEL
from fakesieve.errors import SetupRefused, Unavailable
from fakesieve.reasons import Reason
from tests.waiting import PATIENCE_S
from workers.cli import EXIT_REFUSED
from workers.startup import check_broker


@pytest.fixture
def evicting(valkey):
    """The broker's address while it drops keys when its memory is full."""
    with redis.Redis.from_url(valkey.url) as broker:
        broker.config_set("maxmemory-policy", "allkeys-lru")
        try:
            yield valkey.url
        finally:
            broker.config_set("maxmemory-policy", "noeviction")


def start_refused(role, place, database_url, **changes):
    """Run a service that is to end by itself at once; return its exit code and what it said."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("FAKESIEVE_")}
    needed = {
        "FAKESIEVE_DATABASE_URL": database_url,
        "FAKESIEVE_BUCKET": "videos",
        "FAKESIEVE_S3_ENDPOINT": "http://127.0.0.1:1",
        "FAKESIEVE_SCRATCH_DIR": str(place),
    }
    command = [sys.executable, "-P", "-m", "fakesieve", role]
    run = subprocess.run(
        command, env=ours | needed | changes, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    return run.returncode, run.stderr


def test_broker_that_evicts_is_refused(evicting):
    with pytest.raises(SetupRefused, match="allkeys-lru") as caught:
        check_broker(evicting)
    assert caught.value.reason is Reason.BROKER_MISCONFIGURED
    assert "noeviction" in caught.value.hint


@pytest.mark.parametrize("role", ["worker", "relay"])
def test_service_does_not_start_beside_a_broker_that_evicts(
    role, postgres, database_name, evicting, tmp_path
):
    code, said = start_refused(
        role, tmp_path, postgres.url(database=database_name), FAKESIEVE_BROKER_URL=evicting
    )
    assert code == EXIT_REFUSED == 78, said
    assert "error: BROKER_MISCONFIGURED: the broker's maxmemory-policy is allkeys-lru\nhint: " in said


def test_worker_does_not_start_with_a_model_that_is_not_what_its_manifest_says(
    postgres, database_name, valkey, tmp_path
):
    bundle = shutil.copytree(find_bundle(DEFAULT_MODEL), tmp_path / "bundle")
    form = json.loads((bundle / MANIFEST).read_text())
    form["files"]["model.onnx"]["sha256"] = "0" * 64
    (bundle / MANIFEST).write_text(json.dumps(form))
    code, said = start_refused(
        "worker",
        tmp_path,
        postgres.url(database=database_name),
        FAKESIEVE_BROKER_URL=valkey.url,
        FAKESIEVE_MODEL=str(bundle),
    )
    assert code == EXIT_REFUSED, said
    assert f"error: MODEL_INVALID: {bundle / 'model.onnx'} has SHA-256 " in said
    assert f"the manifest says {'0' * 64}\nhint: " in said


def test_broker_that_keeps_everything_is_accepted(valkey):
    check_broker(valkey.url)


def test_broker_that_does_not_answer_is_told_without_its_password():
    with pytest.raises(Unavailable) as caught:
        check_broker("redis://:secret@127.0.0.1:1/0")
    assert caught.value.reason is Reason.BROKER_UNAVAILABLE
    assert "secret" not in str(caught.value)
