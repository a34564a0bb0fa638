"""Ringing: the only place from which messages go to the broker."""

from collections.abc import Mapping
from typing import Protocol, cast

from celery import Celery
from kombu.connection import Connection
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from fakesieve.errors import Unavailable
from fakesieve.jobs.rows import ShardKey
from fakesieve.jobs.states import Lane
from fakesieve.reasons import Reason
from workers.broker import Channel
from workers.tasks import name_task, write_message

_BROKER_ERRORS = (OperationalError, RedisError, OSError)


class Doorbell(Protocol):
    """Tells some worker host that there is work."""

    def ring(self, key: ShardKey, lane: Lane) -> None:
        """Ring once for a shard, for hosts that listen to its lane.

        Raises Unavailable (BROKER_UNAVAILABLE); then it may have rung or not.
        """
        ...

    def count_held(self) -> Mapping[Lane, int]:
        """Return by lane how many messages wait for a host. Raises Unavailable (BROKER_UNAVAILABLE)."""
        ...


class CeleryDoorbell:
    """Rings through Celery. One connection is kept, and opened again when it was lost."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def ring(self, key: ShardKey, lane: Lane) -> None:
        """Publish the message in the queue of the lane."""
        try:
            self._app.send_task(name_task(key), kwargs=write_message(key), queue=lane.value)
        except _BROKER_ERRORS as error:
            raise _translate(error, "a doorbell could not be rung") from error

    def count_held(self) -> Mapping[Lane, int]:
        """Return the lengths of the queues of all lanes."""
        try:
            with cast("Connection", self._app.pool.acquire(block=True)) as connection:
                return _measure_queues(connection)
        except _BROKER_ERRORS as error:
            raise _translate(error, "the queues could not be looked at") from error


def _measure_queues(connection: Connection) -> dict[Lane, int]:
    """Ask for the lengths of the lists that Kombu keeps messages in, all at once."""
    client = cast("Redis", cast("Channel", connection.default_channel).client)
    with client.pipeline(transaction=False) as asked:
        for lane in Lane:
            asked.llen(lane.value)
        lengths = cast("list[int]", asked.execute())
    return dict(zip(Lane, lengths, strict=True))


def _translate(error: Exception, seen: str) -> Unavailable:
    """Return what the fleet says of an error, without the driver's words: a URL in them has a password."""
    return Unavailable(Reason.BROKER_UNAVAILABLE, f"{seen}: {type(error).__name__}")
