"""What somebody who can write to the broker can do to a worker: nothing."""

import base64
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from fakesieve.embedded.valkey import ValkeyServer
from fakesieve.ids import IdPrefix, new_id
from fakesieve.jobs.rows import ShardKey
from fakesieve.jobs.states import Lane
from tests.waiting import PATIENCE_S, wait_until
from workers.app import make_app
from workers.doorbell import CeleryDoorbell
from workers.strangers import find_fault

KEY = ShardKey(new_id(IdPrefix.JOB), 3)

# A worker as hosts run it, which writes the shards that it was rung for and the faults that it counted.
WORKER = """
import sys
from workers.app import make_app
from workers.host import consume
from workers.strangers import message_refused
from workers.tasks import add_tasks

def say(*words):
    print(*words, flush=True)
    return True

def count(fault="", **_):
    say("refused", fault)

app = make_app(sys.argv[1])
add_tasks(app, lambda key: say("rung", key.job_id, key.index))
message_refused.connect(count, weak=False)
sys.exit(consume(app, "hst_test", 2))
"""


class Canary:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self._path), "w")


@pytest.fixture
def broker(valkey: ValkeyServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
        yield client
        client.flushall()


def ring(valkey: ValkeyServer, key: ShardKey = KEY) -> None:
    CeleryDoorbell(make_app(valkey.url)).ring(key, Lane.BULK)


def encode(body: object) -> str:
    return base64.b64encode(json.dumps(body).encode()).decode()


@pytest.fixture
def doorbell(valkey: ValkeyServer, broker: redis.Redis) -> dict[str, object]:
    """One as it lies in the broker."""
    ring(valkey)
    return json.loads(broker.lpop("bulk"))


def with_body(doorbell: dict[str, object], **changes: object) -> dict[str, object]:
    arguments = {"v": 1, "job": KEY.job_id, "shard": 3} | changes
    return doorbell | {"body": encode([[], {k: v for k, v in arguments.items() if v != "left out"}, {}])}


def test_doorbell_of_ours_has_no_fault(doorbell: dict[str, object]) -> None:
    assert find_fault(doorbell) is None


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"v": 2}, "version"),
        ({"v": "left out"}, "version"),
        ({"job": "left out"}, "arguments"),
        ({"job": "job_1'; drop table job; --"}, "arguments"),
        ({"job": new_id(IdPrefix.VIDEO)}, "arguments"),
        ({"job": None}, "arguments"),
        ({"shard": -1}, "arguments"),
        ({"shard": 1 << 31}, "arguments"),
        ({"shard": True}, "arguments"),
        ({"shard": 3.0}, "arguments"),
        ({"more": 1}, "arguments"),
        ({"more": "x" * 4000}, "too_long"),
    ],
)
def test_strange_arguments_are_named(
    doorbell: dict[str, object], changes: dict[str, object], fault: str
) -> None:
    assert find_fault(with_body(doorbell, **changes)) == fault


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("content-type", "application/x-python-serialize", "content_type"),
        ("content-encoding", "binary", "content_type"),
        ("headers", None, "malformed"),
        ("headers", {"task": "screen_shard"}, "malformed"),
        ("properties", None, "malformed"),
        ("properties", {"delivery_tag": "x", "body_encoding": "rot13"}, "malformed"),
        ("body", "not base64", "malformed"),
        ("body", encode({"no": "triple"}), "malformed"),
        ("body", encode([[], [], {}]), "arguments"),
    ],
)
def test_strange_messages_are_named(
    doorbell: dict[str, object], name: str, value: object, fault: str
) -> None:
    assert find_fault(doorbell | {name: value}) == fault


@pytest.mark.parametrize("name", ["eta", "expires", "compression"])
def test_message_that_is_to_wait_or_be_unpacked_is_refused(doorbell: dict[str, object], name: str) -> None:
    headers = doorbell["headers"]
    assert isinstance(headers, dict)
    assert find_fault(doorbell | {"headers": headers | {name: "2099-01-01T00:00:00"}}) == "malformed"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    st.dictionaries(
        st.sampled_from(["body", "headers", "properties", "content-type", "content-encoding"]), JSON
    )
)
def test_no_message_of_another_form_passes_or_raises(raw: dict[str, object]) -> None:
    assert find_fault(raw) is not None


def test_worker_outlives_whatever_lies_in_its_queue(
    valkey: ValkeyServer, broker: redis.Redis, doorbell: dict[str, object], tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    pickled = base64.b64encode(pickle.dumps(Canary(canary))).decode()
    headers = doorbell["headers"]
    assert isinstance(headers, dict)
    strange = [
        doorbell | {"content-type": "application/x-python-serialize", "body": pickled},
        doorbell | {"headers": headers | {"task": "celery.backend_cleanup"}},
        doorbell | {"headers": {"task": "no_such_task"}},
        with_body(doorbell, job="x" * 10_000_000),
        with_body(doorbell, v=2),
        {"task": "screen_shard", "id": "1", "args": [], "kwargs": {}},  # the protocol before Celery 4
        [],
        None,
    ]
    texts = [json.dumps(message) for message in strange]
    texts += ["no json", "\x80", "[" * 200_000, '{"__type__": "decimal", "__value__": "x"}', "", "1e999"]
    broker.rpush("bulk", *reversed(texts))
    ring(valkey, ShardKey(KEY.job_id, 7))  # behind all of them
    with (tmp_path / "out").open("w") as out:
        worker = subprocess.Popen([sys.executable, "-c", WORKER, valkey.url], stdout=out)
        try:
            wait_until(lambda: "rung" in (tmp_path / "out").read_text() or worker.poll() is not None)
            assert worker.poll() is None
        finally:
            worker.terminate()
            worker.wait(PATIENCE_S)
    lines = [
        line for line in (tmp_path / "out").read_text().splitlines() if line.startswith(("refused", "rung"))
    ]
    assert lines[-1] == f"rung {KEY.job_id} 7"
    assert [line.split()[0] for line in lines[:-1]] == ["refused"] * len(texts)
    assert [lines.count(f"refused {fault}") for fault in ("content_type", "too_long", "version")] == [1, 1, 1]
    assert not canary.exists()
    assert broker.hlen("unacked") == 0
