"""The listener and the sweeper: messages go when their jobs are stored, and come again until then."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from fakesieve.errors import Unavailable
from fakesieve.ingest.sweep import ObjectWatermarks, Sweep
from fakesieve.ingest.take import Taken, Watch
from fakesieve.object_stores.folder import FolderObjects
from fakesieve.objects import ObjectFacts, VideoRef
from fakesieve.reasons import Reason
from tests.fakes import MemoryJobStore
from workers.ingest import EventListener, Message, Sweeper

WATCH = Watch("ten_a", "clips", fleet_bucket="fleet")


@dataclass
class MemoryQueue:
    """A queue that gives everything each time until it is removed."""

    messages: list[Message] = field(default_factory=list)

    def put(self, body: object) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        self.messages.append(Message(text, str(len(self.messages))))

    def receive(self) -> Sequence[Message]:
        return tuple(self.messages)

    def remove(self, messages: Sequence[Message]) -> None:
        self.messages = [message for message in self.messages if message not in messages]


class FailingObjects(FolderObjects):
    """A folder store that does not answer for keys that begin with a word."""

    down_for: str | None = None

    def head(self, ref: VideoRef) -> ObjectFacts:
        if self.down_for and ref.key.startswith(self.down_for):
            raise Unavailable(Reason.OBJECT_STORE_UNAVAILABLE, "made up")
        return super().head(ref)


@dataclass
class Ingest:
    objects: FailingObjects
    store: MemoryJobStore
    queue: MemoryQueue
    folder: Path

    @property
    def listener(self) -> EventListener:
        return EventListener(self.store, self.objects, self.queue, [WATCH])

    def put(self, *keys: str) -> None:
        for key in keys:
            (self.folder / "source").write_text(key)
            self.objects.upload(self.folder / "source", "clips", key)

    def list_keys(self) -> list[str]:
        return sorted(job.draft.source.key for job in self.store.jobs.values())


@pytest.fixture
def ingest(tmp_path: Path) -> Ingest:
    objects = FailingObjects(tmp_path / "objects")
    objects.make_bucket("clips")
    objects.make_bucket("fleet")
    return Ingest(objects, MemoryJobStore(lambda: 1_000_000.0), MemoryQueue(), tmp_path)


def tell(*keys: str, name: str = "ObjectCreated:Put", order: str = "01") -> dict[str, object]:
    return {
        "Records": [
            {
                "eventName": name,
                "s3": {"bucket": {"name": "clips"}, "object": {"key": key, "sequencer": order}},
            }
            for key in keys
        ]
    }


def test_messages_become_jobs_and_go(ingest: Ingest) -> None:
    ingest.put("a.mp4", "b.mp4", "c.mp4")
    ingest.queue.put(tell("a.mp4", "b.mp4"))
    ingest.queue.put(tell("c.mp4"))
    assert ingest.listener.take_turn()
    assert ingest.list_keys() == ["a.mp4", "b.mp4", "c.mp4"]
    assert ingest.queue.messages == []
    assert not ingest.listener.take_turn()


def test_repeated_messages_are_one_job(ingest: Ingest) -> None:
    ingest.put("a.mp4")
    for _ in range(3):
        ingest.queue.put(tell("a.mp4"))
    ingest.listener.take_turn()
    ingest.queue.put(tell("a.mp4"))
    ingest.listener.take_turn()
    assert ingest.list_keys() == ["a.mp4"]
    assert ingest.queue.messages == []


def test_tests_tags_and_strangers_make_no_jobs_and_go(ingest: Ingest) -> None:
    ingest.queue.put({"Event": "s3:TestEvent", "Bucket": "clips"})
    ingest.queue.put(tell("a.mp4", name="ObjectTagging:Put"))
    stranger = tell("a.mp4")
    stranger["Records"][0]["s3"]["bucket"]["name"] = "other"  # type: ignore[index] - nested dicts
    ingest.queue.put(stranger)
    ingest.listener.take_turn()
    assert ingest.list_keys() == []
    assert ingest.queue.messages == []


def test_an_object_deleted_before_its_event_is_taken_makes_no_job(ingest: Ingest) -> None:
    ingest.queue.put(tell("gone.mp4", name="ObjectRemoved:Delete", order="02"))
    ingest.queue.put(tell("gone.mp4", order="01"))
    ingest.listener.take_turn()
    assert ingest.list_keys() == []
    assert ingest.queue.messages == []


@pytest.mark.parametrize("is_there", [True, False])
def test_a_put_and_a_deletion_without_an_order_end_with_a_look(ingest: Ingest, is_there: bool) -> None:
    if is_there:  # it was deleted and then put, and the queue has turned them round
        ingest.put("a.mp4")
    for name in ("ObjectCreated:Put", "ObjectRemoved:Delete"):
        ingest.queue.put(tell("a.mp4", name=name, order=""))
    ingest.listener.take_turn()
    assert ingest.list_keys() == (["a.mp4"] if is_there else [])
    assert ingest.queue.messages == []


def test_what_cannot_be_read_stays_for_people_to_see(ingest: Ingest) -> None:
    ingest.put("a.mp4")
    ingest.queue.put("nonsense")
    ingest.queue.put(tell("a.mp4"))
    ingest.listener.take_turn()
    assert [message.body for message in ingest.queue.messages] == ["nonsense"]
    assert ingest.list_keys() == ["a.mp4"]


def test_a_record_that_cannot_be_read_holds_up_none_beside_it_and_is_seen(ingest: Ingest) -> None:
    ingest.put("a.mp4", "b.mp4")
    ingest.queue.put(tell("%FF.mp4", "a.mp4"))
    ingest.queue.put(tell("b.mp4"))
    with capture_logs() as lines:
        ingest.listener.take_turn()
        ingest.listener.take_turn()  # it comes again, up to the queue's own rule
    assert ingest.list_keys() == ["a.mp4", "b.mp4"]
    assert len(ingest.queue.messages) == 1
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["ingest.refused"] * 2


def test_an_outage_keeps_the_messages_that_are_not_done(ingest: Ingest) -> None:
    ingest.put("a.mp4", "late.mp4", "z.mp4")
    for key in ("a.mp4", "late.mp4", "z.mp4"):
        ingest.queue.put(tell(key))
    ingest.objects.down_for = "late"
    with pytest.raises(Unavailable):
        ingest.listener.take_turn()
    assert len(ingest.queue.messages) == 2
    ingest.objects.down_for = None
    ingest.listener.take_turn()
    assert ingest.list_keys() == ["a.mp4", "late.mp4", "z.mp4"]
    assert ingest.queue.messages == []


def test_a_full_quota_is_waited_for(ingest: Ingest) -> None:
    ingest.put("a.mp4", "b.mp4")
    ingest.store.quotas["ten_a"] = 1
    sweeper = Sweeper(Sweep(ingest.store, ingest.objects, ObjectWatermarks(ingest.objects, "fleet"), WATCH))
    for key in ("a.mp4", "b.mp4"):
        ingest.queue.put(tell(key))
    for turn in (ingest.listener.take_turn, sweeper.take_turn):
        with pytest.raises(Unavailable) as caught:
            turn()
        assert caught.value.reason is Reason.QUOTA_EXCEEDED
    assert len(ingest.queue.messages) == 1
    ingest.store.quotas["ten_a"] = 2
    ingest.listener.take_turn()
    assert ingest.list_keys() == ["a.mp4", "b.mp4"]


def test_a_key_that_the_store_cannot_hold_stays_and_stops_nobody(ingest: Ingest) -> None:
    ingest.put("a.mp4")
    ingest.queue.put(tell("x/../../a.mp4"))
    ingest.queue.put(tell("a.mp4"))
    ingest.listener.take_turn()
    assert ingest.list_keys() == ["a.mp4"]
    assert len(ingest.queue.messages) == 1


def test_the_sweeper_finds_what_no_message_told(ingest: Ingest) -> None:
    ingest.put("told.mp4", "untold.mp4")
    ingest.queue.put(tell("told.mp4"))
    ingest.listener.take_turn()
    sweeper = Sweeper(Sweep(ingest.store, ingest.objects, ObjectWatermarks(ingest.objects, "fleet"), WATCH))
    assert sweeper.take_turn() == Taken(n_new=1, n_known=1)
    assert sweeper.take_turn() == Taken(n_known=2)
    assert ingest.list_keys() == ["told.mp4", "untold.mp4"]
