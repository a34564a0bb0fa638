"""Ringing: the only place from which messages go to the broker."""

from typing import Protocol

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from fakesieve.errors import Unavailable
from fakesieve.jobs.rows import ShardKey
from fakesieve.jobs.states import Lane
from fakesieve.reasons import Reason
from workers.tasks import name_task, write_message


class Doorbell(Protocol):
    """Tells some worker host that there is work."""

    def ring(self, key: ShardKey, lane: Lane) -> None:
        """Ring once for a shard, for hosts that listen to its lane.

        Raises Unavailable (BROKER_UNAVAILABLE); then it may have rung or not.
        """
        ...


class CeleryDoorbell:
    """Rings through Celery. One connection is kept, and opened again when it was lost."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def ring(self, key: ShardKey, lane: Lane) -> None:
        """Publish the message in the queue of the lane."""
        try:
            self._app.send_task(name_task(key), kwargs=write_message(key), queue=lane.value)
        except (OperationalError, RedisError, OSError) as error:
            # Not the driver's words: they may hold the URL, and the URL holds the password.
            seen = f"a doorbell could not be rung: {type(error).__name__}"
            raise Unavailable(Reason.BROKER_UNAVAILABLE, seen) from error
