"""``fakesieve worker``, ``relay``, ``reconciler`` and ``sender``: the kinds of processes of a fleet."""

import os
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager
from functools import partial

import typer

from engine.errors import BundleInvalid, EngineError
from fakesieve.database import SILENCE_S, Database, open_database
from fakesieve.errors import FleetError, SetupRefused
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.logging import configure_logging
from fakesieve.metrics_server import serve_metrics
from fakesieve.object_stores.select import PROMPT, open_objects
from fakesieve.records.partitions import make_partitions
from fakesieve.records.revision import check_revision
from fakesieve.settings import Settings, read_settings, split_list
from fakesieve.webhooks.addresses import AddressRules
from workers.app import make_app
from workers.deliver import Sender
from workers.doorbell import CeleryDoorbell
from workers.erase import Eraser
from workers.loops import LoopRules, run_loop, run_together, stop_on_signals
from workers.metrics import FleetMetrics
from workers.monitor import MONITOR_S, Monitor
from workers.reconciler import Reconciler
from workers.relay import Relay
from workers.startup import check_broker
from workers.tracing import open_tracer
from workers.webhook_post import PostRules

# EX_CONFIG of sysexits.h: starting again without a change is of no use, and a supervisor can see that.
EXIT_REFUSED, EXIT_ERROR = 78, 1
_HOST_SILENCE_S = (5.0, 15.0)
_SENDER_S = 0.5  # how long an event waits while nothing happens
_METRICS_HOST = "0.0.0.0"  # noqa: S104 - Prometheus reads from another host; the figures are no secret


def worker() -> None:
    """Screen what is submitted, until SIGTERM. Work in progress is finished or given back."""
    raise typer.Exit(_run_process(_run_worker, find_silence))


def relay() -> None:
    """Take doorbells from the database to the broker, until SIGTERM. Any number may run."""
    raise typer.Exit(_run_process(_run_relay))


def reconciler() -> None:
    """Bring back work whose worker died or whose doorbell got lost, until SIGTERM. Any number may run."""
    raise typer.Exit(_run_process(_run_reconciler))


def sender() -> None:
    """Tell the receivers of webhooks what happened, until SIGTERM. Any number may run."""
    raise typer.Exit(_run_process(_run_sender))


def _run_process(
    run: Callable[[Settings, Database, FleetMetrics], int],
    silence_s: Callable[[Settings], float] = lambda _: SILENCE_S,
) -> int:
    """Read the settings, check the database, run. An error is told with its hint and gives the exit code."""
    try:
        settings = read_settings()
        configure_logging(settings.log_format, settings.log_level)
        metrics = FleetMetrics()
        with ExitStack() as stack:
            database = stack.enter_context(_open_database(settings, silence_s(settings)))
            check_revision(database)
            if settings.metrics_port is not None:
                stack.enter_context(serve_metrics(metrics.registry, settings.metrics_port, _METRICS_HOST))
            return run(settings, database, metrics)
    except (FleetError, EngineError) as fault:
        typer.echo(f"error: {fault.reason}: {fault.seen}\nhint: {fault.hint}", err=True)
        return EXIT_REFUSED if isinstance(fault, SetupRefused | BundleInvalid) else EXIT_ERROR


@contextmanager
def _open_database(settings: Settings, silence_s: float) -> Generator[Database]:
    # A slot never waits for another one's connection.
    connections = max(settings.database_connections, count_slots(settings) + 2)
    url = settings.database_url.get_secret_value()
    database = open_database(url, connections_max=connections, silence_s=silence_s, is_fleet=True)
    try:
        yield database
    finally:
        database.close()


def find_silence(settings: Settings) -> float:
    """Return how long a worker waits for an answer of the database: within a lease there is time for more.

    Each of its statements finds its rows by their keys, so what takes longer is a database that hangs.
    """
    least_s, most_s = _HOST_SILENCE_S
    return min(most_s, max(least_s, settings.heartbeat_s))


def count_slots(settings: Settings) -> int:
    """Return how many shards a host works on at a time: one for each core if the settings say nothing."""
    return settings.slots or len(os.sched_getaffinity(0))


def read_limits(settings: Settings) -> JobLimits:
    """Return the limits of jobs that the settings mean."""
    return JobLimits(
        lease_s=settings.lease_s,
        max_attempts=settings.max_attempts,
        doorbell_wait_s=settings.doorbell_wait_s,
        batch_idle_s=settings.batch_idle_s,
        host_silence_s=settings.lease_s,
    )


def _run_relay(settings: Settings, database: Database, metrics: FleetMetrics) -> int:
    broker_url = settings.broker_url.get_secret_value()
    check_broker(broker_url)
    doorbell = CeleryDoorbell(make_app(broker_url))
    relay_ = Relay(SqlJobStore(database), doorbell, read_limits(settings), metrics)
    run_loop("relay", relay_.take_turn, LoopRules(settings.relay_s), stop_on_signals())
    return 0


def _run_reconciler(settings: Settings, database: Database, metrics: FleetMetrics) -> int:
    def make_months() -> int:
        return database.run_transaction(make_partitions, tenant_id=None)

    tracer, limits = open_tracer(settings.otlp_endpoint), read_limits(settings)
    turns = Reconciler(SqlJobStore(database), limits, metrics, upkeep=make_months, tracer=tracer)
    monitor = Monitor(database, limits, metrics)
    stop, rules = stop_on_signals(), LoopRules(settings.reconcile_s)
    # What is missing need not be waited for: it is to be removed.
    eraser = Eraser(database, open_objects(settings, retry=PROMPT), settings.bucket, stop=stop)
    # Side by side: an object store that does not answer must not keep dead workers from being noticed.
    loops = [
        partial(run_loop, "reconciler", turns.take_turn, rules, stop),
        partial(run_loop, "eraser", lambda: eraser.take_turn() > 0, rules, stop),
        partial(run_loop, "monitor", monitor.take_turn, LoopRules(MONITOR_S, longest_s=MONITOR_S), stop),
    ]
    with closing(tracer):
        run_together(loops, stop)
    return 0


def _run_sender(settings: Settings, database: Database, metrics: FleetMetrics) -> int:
    del metrics
    rules = PostRules(AddressRules.allow(split_list(settings.webhook_networks)))
    with Sender(database, rules) as turns:
        run_loop("sender", turns.take_turn, LoopRules(_SENDER_S), stop_on_signals())
    return 0


def _run_worker(settings: Settings, database: Database, metrics: FleetMetrics) -> int:
    # Lazy: decoders, detector and network, 120 MB that a relay does not need.
    from workers.opening import run_worker

    return run_worker(settings, SqlJobStore(database), read_limits(settings), metrics, database)
