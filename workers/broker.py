"""Kombu's Redis transport with two faults mended: a slot whose acknowledgement failed is free again, and a
message that cannot be read does not end the worker.

Kombu counts a message as unacknowledged until the broker has taken the acknowledgement. Where the connection
is lost at that moment it never does, and the count never falls. A host with two slots whose work ended during
one outage has two such messages; it then asks for no third one, so it never even notices that its connection
is gone. It beats, offers its slots, and waits for ever. Seen with Kombu 5.7.0.

Kombu parses what lies in a queue without looking at it: a line that is no JSON, or JSON of another form,
raises out of the worker's loop and ends the process. ``workers.strangers`` says what is let through.
"""

from typing import Any, cast

from kombu.transport import TRANSPORT_ALIASES, redis
from redis.maint_notifications import MaintNotificationsConfig

from workers.strangers import Fault, find_fault, refuse

# What parsing a hostile text may raise: numbers too long, nesting too deep, types that Kombu would rebuild.
_PARSING_ERRORS = (ArithmeticError, LookupError, RecursionError, TypeError, ValueError)

# A command of Redis Cloud that each new connection would try first, and that Valkey and Redis refuse.
NO_MAINTENANCE = MaintNotificationsConfig(enabled=False)


class SlotFreeingQoS(redis.QoS):
    """Counts a message as done whether or not the broker could be told.

    The broker hands it out again after its visibility time, and the claim refuses it.
    """

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message. Raises what the connection raises."""
        try:
            super().ack(delivery_tag)
        except Exception:
            self._quick_ack(delivery_tag)
            raise

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001,FBT002 - signature of Kombu
        """Give a message back, or drop it. Raises what the connection raises."""
        try:
            super().reject(delivery_tag, requeue)
        except Exception:
            self._quick_ack(delivery_tag)
            raise


class Channel(redis.Channel):
    """A channel that counts so, and that connects without asking for what the broker does not know."""

    QoS: Any = SlotFreeingQoS

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:  # noqa: FBT001,FBT002 - signature of Kombu
        found = cast("dict[str, Any]", super()._connparams(asynchronous))
        return found | {"maint_notifications_config": NO_MAINTENANCE}

    def _brpop_read(self, **options: Any) -> Any:
        """Read one message and deliver it. Raises what the connection raises, and ``Empty``."""
        transport = cast("Transport", self.connection)
        before = transport.delivered
        try:
            return super()._brpop_read(**options)
        except _PARSING_ERRORS:
            if transport.delivered > before:  # a fault of whoever took the message, not of its text
                raise
            refuse(Fault.NOT_JSON)
            return True


class Transport(redis.Transport):
    """A transport of such channels that delivers only doorbells of ours."""

    Channel: Any = Channel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.delivered = 0

    def _deliver(self, message: object, queue: str) -> None:
        """Hand a message to whoever consumes its queue."""
        self.delivered += 1
        fault = find_fault(message)
        if fault is None:
            super()._deliver(message, queue)
        else:
            refuse(fault)


def mend_transport() -> None:
    """Have Kombu use this transport for all addresses that begin with redis:// or rediss://."""
    name = f"{Transport.__module__}:{Transport.__name__}"
    TRANSPORT_ALIASES.update(redis=name, rediss=name)
