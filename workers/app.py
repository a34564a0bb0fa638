"""The Celery application: a carrier of doorbells and no more.

Postgres holds the truth, so nothing here tries to be reliable: a message may be lost, late or doubled. The
settings make that rare, and quick to heal.
"""

from celery import Celery
from kombu.entity import Exchange, Queue

from fakesieve.jobs.states import Lane
from workers.broker import mend_transport

NAME = "fakesieve"


def make_app(broker_url: str) -> Celery:
    """Return an application that knows its broker and queues; it connects when it is used."""
    mend_transport()
    app = Celery(NAME, set_as_current=False)
    app.conf.update(
        broker_url=broker_url,
        # No result backend: shards are counted in the database, a chord would lose its callback.
        result_backend=None,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,  # errors of shards are rows, too
        # JSON alone: pickle would run what a broker's intruder writes.
        task_serializer="json",
        accept_content=["json"],
        # Acknowledged at the end, so that a killed worker's doorbell may ring again.
        task_acks_late=True,
        # But not put back at once: a video that kills its worker would go round 72 times in 15 s for ever.
        # The lease runs out, the attempt was counted, the reconciler rings.
        task_reject_on_worker_lost=False,
        # One doorbell for each free slot and none in advance: a waiting one would age on a busy host.
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        # A queue for each lane. Redis has no priorities, and lists that emulate them have no fairness.
        task_queues=[Queue(lane.value, Exchange(lane.value), routing_key=lane.value) for lane in Lane],
        # Celery looks its default up among the queues above, where there is none of the name celery.
        task_default_queue=Lane.STANDARD.value,
        # A name that is no lane is a mistake of ours: an error at once, not a queue that nobody reads.
        task_create_missing_queues=False,
        broker_transport_options=_transport_options(),
        broker_connection_timeout=5,  # as socket_connect_timeout below, which Redis' transport goes by
        # A host looks for its broker before it starts its slots and ends with 1 where there is none, for its
        # supervisor to try again. This is for a broker that goes away just after that look.
        broker_connection_retry_on_startup=True,
        # A host outlives its broker, however long that is away: what it works on goes on meanwhile.
        broker_connection_max_retries=None,
        # A lost connection must not kill a shard: its claim is in the database.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # The host drains by itself within its own time; Celery's limits do nothing in the threads pool.
        worker_soft_shutdown_timeout=0.0,
        task_publish_retry=False,  # the relay keeps the row and tries again
        # Nobody listens: the fleet's state is rows, and its figures are Prometheus'.
        worker_send_task_events=False,
        task_send_sent_event=False,
        worker_enable_remote_control=False,
        # One format of logs, ours.
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app


def _transport_options() -> dict[str, object]:
    """Return what Kombu's Redis transport is told."""
    return {
        # Longer than any piece of work. A second delivery would be refused by the claim, and be for nothing.
        "visibility_timeout": 900,
        # A doorbell of a killed worker comes back 5 s after that; with the defaults it took 100 s.
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        # Without it a publish on a dead TCP connection hangs for ever.
        "socket_timeout": 10,
        # A machine that is gone answers nothing. The system would try for two minutes.
        "socket_connect_timeout": 5,
        # A firewall between forgets a connection on which nothing passes, and the system notices by this.
        "socket_keepalive": True,
        # A half-open connection is dropped after 1 s of BRPOP and twice this.
        "health_check_interval": 10,
        # A publish learns at once that the broker is away. With the defaults it tried for 6 s, within the
        # relay's transaction. Consumers wait by broker_connection_max_retries and not by this.
        "max_retries": 0,
        # A publish that timed out may have happened; the relay would ring twice.
        "retry_on_timeout": False,
        "client_name": NAME,  # in CLIENT LIST of the broker, for who looks at who is connected
    }
