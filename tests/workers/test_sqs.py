"""Bucket events by way of a queue service: S3 and SQS of moto, which sends what Amazon's send."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3.session
import pytest

from fakesieve.errors import Unavailable
from fakesieve.ingest.take import Watch
from fakesieve.object_stores.retries import RetryRule
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.object_stores.s3_client import S3Options
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from tests.fakes import MemoryJobStore
from workers.ingest import EventListener
from workers.sqs import QueueOptions, SqsQueue

KEY, SECRET = "key", "secret"


@dataclass(frozen=True)
class Cloud:
    """A bucket whose events go to a queue."""

    endpoint: str
    objects: S3Objects
    queue_url: str
    sqs: Any

    def open_queue(self, **options: object) -> SqsQueue:
        chosen = {"endpoint": self.endpoint, "access_key": KEY, "secret_key": SECRET, "wait_s": 0}
        return SqsQueue(QueueOptions(self.queue_url, **(chosen | options)))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server_module = pytest.importorskip("moto.server", reason="moto is in the test extra")
    server = server_module.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def cloud(endpoint: str) -> Cloud:
    session = boto3.session.Session(KEY, SECRET, region_name="us-east-1")
    sqs, s3 = (session.client(name, endpoint_url=endpoint) for name in ("sqs", "s3"))
    queue_url = sqs.create_queue(QueueName="events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    s3.create_bucket(Bucket="clips")
    s3.put_bucket_notification_configuration(
        Bucket="clips",
        NotificationConfiguration={
            "QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}]
        },
    )
    objects = S3Objects(S3Options(endpoint, KEY, SECRET), retry=RetryRule(tries=1, missing_pauses_s=()))
    return Cloud(endpoint, objects, queue_url, sqs)


def drain(listener: EventListener) -> None:
    while listener.take_turn():
        pass


def test_an_upload_becomes_a_job_by_way_of_the_queue(cloud: Cloud, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"video")
    ref = cloud.objects.upload(source, "clips", "day 1/My Clip+ü (1).mp4").ref
    cloud.objects.upload(source, "clips", "gone.mp4")
    cloud.objects.delete(VideoRef("clips", "gone.mp4"))
    store = MemoryJobStore(lambda: 1_000_000.0)
    watch = Watch("ten_a", "clips", fleet_bucket="fleet")
    drain(EventListener(store, cloud.objects, cloud.open_queue(), [watch]))
    assert [job.draft.source for job in store.jobs.values()] == [ref]
    assert cloud.open_queue(hidden_s=1).receive() == []


def test_a_message_that_is_not_removed_comes_again(cloud: Cloud) -> None:
    cloud.sqs.purge_queue(QueueUrl=cloud.queue_url)
    cloud.sqs.send_message(QueueUrl=cloud.queue_url, MessageBody=json.dumps({"Event": "s3:TestEvent"}))
    queue = cloud.open_queue(hidden_s=1, wait_s=20)  # moto looks once a second, and may just miss the first
    (first,) = queue.receive()
    (again,) = queue.receive()
    assert again.body == first.body
    queue.remove([again])
    assert cloud.open_queue(hidden_s=1, wait_s=2).receive() == []


def test_a_queue_that_is_not_there_is_told(cloud: Cloud) -> None:
    options = QueueOptions(f"{cloud.endpoint}/123/none", "us-east-1", cloud.endpoint, KEY, SECRET, wait_s=0)
    with pytest.raises(Unavailable) as caught:
        SqsQueue(options).receive()
    assert caught.value.reason is Reason.BROKER_UNAVAILABLE
    assert "none" in caught.value.seen


def test_a_service_that_is_not_there_is_told() -> None:
    queue = SqsQueue(QueueOptions("http://127.0.0.1:9/1/q", "us-east-1", "http://127.0.0.1:9", KEY, SECRET))
    with pytest.raises(Unavailable, match="BROKER_UNAVAILABLE"):
        queue.receive()


@pytest.mark.parametrize("wrong", [{"url": "queue"}, {"wait_s": 21}, {"hidden_s": 0}])
def test_options_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        QueueOptions(**({"url": "https://sqs/1/q"} | wrong))


def test_options_hide_the_secret() -> None:
    assert "hush" not in repr(QueueOptions("https://sqs/1/q", access_key="key", secret_key="hush"))
