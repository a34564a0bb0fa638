"""What becomes of a host's slots when the broker goes away while messages are unacknowledged."""

from collections.abc import Iterator

import pytest
from kombu import Connection, Queue

from fakesieve.embedded.ports import HOST
from fakesieve.embedded.valkey import ValkeyServer
from fakesieve.ids import IdPrefix, new_id
from fakesieve.jobs.rows import ShardKey
from fakesieve.jobs.states import Lane
from tests.chaos.fault_proxy import FaultProxy
from workers.app import make_app
from workers.broker import Channel
from workers.doorbell import CeleryDoorbell


@pytest.fixture
def proxy(valkey: ValkeyServer) -> Iterator[FaultProxy]:
    """Between the channel and the broker."""
    with FaultProxy("broker", lambda: (HOST, valkey.port)) as found:
        yield found


@pytest.fixture
def connection(valkey: ValkeyServer, proxy: FaultProxy) -> Iterator[Connection]:
    """A connection as a worker host opens it, through the proxy, with one message in the queue."""
    CeleryDoorbell(make_app(valkey.url)).ring(ShardKey(new_id(IdPrefix.JOB), 1), Lane.BULK)
    app = make_app(valkey.url.replace(f":{valkey.port}/", f":{proxy.port}/"))
    with app.connection_for_read() as found:
        yield found


@pytest.mark.parametrize("is_rejected", [False, True])
def test_message_whose_acknowledgement_failed_keeps_no_slot(
    proxy: FaultProxy, connection: Connection, is_rejected: bool
) -> None:
    channel = connection.default_channel
    assert isinstance(channel, Channel)
    channel.basic_qos(0, 1, False)
    message = Queue(Lane.BULK.value, channel=channel).get(no_ack=False)
    assert not channel.qos.can_consume()
    proxy.is_refusing = True
    proxy.reset_all()
    with pytest.raises(connection.connection_errors):
        message.requeue() if is_rejected else message.ack()
    assert channel.qos.can_consume()


def test_message_that_was_acknowledged_keeps_no_slot(connection: Connection) -> None:
    channel = connection.default_channel
    channel.basic_qos(0, 1, False)
    Queue(Lane.BULK.value, channel=channel).get(no_ack=False).ack()
    assert channel.qos.can_consume()
