import base64
import json

import pytest
import redis
from celery.exceptions import Reject

from fakesieve.errors import Unavailable
from fakesieve.ids import IdPrefix, new_id
from fakesieve.jobs.rows import ShardKey
from fakesieve.jobs.states import Lane
from workers.app import make_app
from workers.doorbell import CeleryDoorbell
from workers.tasks import add_tasks

KEY = ShardKey(new_id(IdPrefix.JOB), 3)


@pytest.fixture
def broker(valkey):
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
        yield client
        client.flushall()


@pytest.mark.parametrize("lane", Lane)
def test_doorbell_lies_in_the_queue_of_its_lane(valkey, broker, lane):
    CeleryDoorbell(make_app(valkey.url)).ring(KEY, lane)
    assert {name: broker.llen(name) for name in Lane} == {name: int(name is lane) for name in Lane}


@pytest.mark.parametrize(("index", "task"), [(0, "prepare_job"), (3, "screen_shard")])
def test_doorbell_says_which_shard_and_no_more(valkey, broker, index, task):
    key = ShardKey(KEY.job_id, index)
    CeleryDoorbell(make_app(valkey.url)).ring(key, Lane.BULK)
    message = json.loads(broker.lpop("bulk"))
    arguments, keywords, _ = json.loads(base64.b64decode(message["body"]))
    assert (arguments, keywords) == ([], {"v": 1, "job": key.job_id, "shard": index})
    assert message["headers"]["task"] == task


def test_messages_that_wait_are_counted_by_lane(valkey, broker):
    doorbell = CeleryDoorbell(make_app(valkey.url))
    assert doorbell.count_held() == dict.fromkeys(Lane, 0)
    for lane in (Lane.BULK, Lane.INTERACTIVE, Lane.BULK):
        doorbell.ring(KEY, lane)
    assert doorbell.count_held() == {Lane.INTERACTIVE: 1, Lane.STANDARD: 0, Lane.BULK: 2}
    broker.flushall()
    assert doorbell.count_held() == dict.fromkeys(Lane, 0)


@pytest.mark.parametrize(
    "ask", [lambda doorbell: doorbell.ring(KEY, Lane.STANDARD), lambda doorbell: doorbell.count_held()]
)
def test_silent_broker_is_told_without_its_password(ask):
    doorbell = CeleryDoorbell(make_app("redis://:secret@127.0.0.1:1/0"))
    with pytest.raises(Unavailable) as caught:
        ask(doorbell)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("task", ["prepare_job", "screen_shard"])
def test_task_hands_its_shard_to_the_host(task):
    app, answered = make_app("redis://127.0.0.1:1/0"), []
    add_tasks(app, lambda key: answered.append(key) is None)
    app.tasks[task](v=1, job=KEY.job_id, shard=3)
    assert answered == [KEY]


def test_doorbell_at_a_draining_host_goes_back_to_the_queue():
    app = make_app("redis://127.0.0.1:1/0")
    add_tasks(app, lambda key: False)
    with pytest.raises(Reject) as caught:
        app.tasks["screen_shard"](v=1, job=KEY.job_id, shard=3)
    assert caught.value.requeue
