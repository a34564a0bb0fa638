"""``fakesieve worker``, ``relay`` and ``reconciler``: the three kinds of processes of a fleet."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version

import structlog
import typer

from engine.backends.select import default_threads
from engine.bundle import ModelBundle, load_bundle
from engine.errors import BundleInvalid, EngineError
from engine.policy import choose_policy, find_policy
from engine.sandbox.handle import Sandbox
from engine.screen import ScanSettings
from fakesieve.database import Database, open_database
from fakesieve.errors import FleetError, SetupRefused
from fakesieve.ids import IdPrefix, new_id
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.logging import configure_logging
from fakesieve.object_stores.select import open_objects
from fakesieve.reasons import Reason
from fakesieve.records.revision import check_revision
from fakesieve.settings import Settings, read_settings
from workers.app import make_app
from workers.doorbell import CeleryDoorbell
from workers.host import HostRules, WorkerHost
from workers.leases import Leases
from workers.loops import LoopRules, run_loop, stop_on_signals
from workers.metrics import FleetMetrics
from workers.reconciler import Reconciler
from workers.relay import Relay
from workers.scratch import Scratch
from workers.screener import ScreenerRules, open_screener
from workers.startup import check_broker
from workers.tracing import open_tracer
from workers.workplace import Workplace

# EX_CONFIG of sysexits.h: starting again without a change is of no use, and a supervisor can see that.
EXIT_REFUSED, EXIT_ERROR = 78, 1
# Of the disk that its folder is on, what a host's downloads may take.
_SCRATCH_BYTES_MAX = 64 << 30
_METRICS_HOST = "0.0.0.0"  # noqa: S104 - Prometheus reads from another host; the figures are no secret


def worker() -> None:
    """Screen what is submitted, until SIGTERM. Work in progress is finished or given back."""
    raise typer.Exit(_run_process(_run_worker))


def relay() -> None:
    """Take doorbells from the database to the broker, until SIGTERM. Any number may run."""
    raise typer.Exit(_run_process(_run_relay))


def reconciler() -> None:
    """Bring back work whose worker died or whose doorbell got lost, until SIGTERM. Any number may run."""
    raise typer.Exit(_run_process(_run_reconciler))


def _run_process(run: Callable[[Settings, Database, FleetMetrics], int]) -> int:
    """Read the settings, check the database, run. An error is told with its hint and gives the exit code."""
    try:
        settings = read_settings()
        configure_logging(settings.log_format, settings.log_level)
        metrics = FleetMetrics()
        with ExitStack() as stack:
            database = stack.enter_context(_open_database(settings))
            check_revision(database)
            if settings.metrics_port is not None:
                stack.enter_context(metrics.serve(settings.metrics_port, _METRICS_HOST))
            return run(settings, database, metrics)
    except (FleetError, EngineError) as fault:
        typer.echo(f"error: {fault.reason}: {fault.seen}\nhint: {fault.hint}", err=True)
        return EXIT_REFUSED if isinstance(fault, SetupRefused | BundleInvalid) else EXIT_ERROR


@contextmanager
def _open_database(settings: Settings) -> Generator[Database]:
    # A slot never waits for another one's connection.
    connections = max(settings.database_connections, count_slots(settings) + 2)
    database = open_database(settings.database_url.get_secret_value(), connections_max=connections)
    try:
        yield database
    finally:
        database.close()


def count_slots(settings: Settings) -> int:
    """Return how many shards a host works on at a time: one for each core if the settings say nothing."""
    return settings.slots or default_threads()


def read_limits(settings: Settings) -> JobLimits:
    """Return the limits of jobs that the settings mean."""
    return JobLimits(
        lease_s=settings.lease_s,
        max_attempts=settings.max_attempts,
        doorbell_wait_s=settings.doorbell_wait_s,
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
    turns = Reconciler(SqlJobStore(database), read_limits(settings), metrics)
    run_loop("reconciler", turns.take_turn, LoopRules(settings.reconcile_s), stop_on_signals())
    return 0


def _run_worker(settings: Settings, database: Database, metrics: FleetMetrics) -> int:
    bundle = load_bundle(settings.model)
    broker_url = settings.broker_url.get_secret_value()
    check_broker(broker_url)
    slots = count_slots(settings)
    rules = HostRules(
        slots=slots,
        heartbeat_s=settings.heartbeat_s,
        drain_s=settings.drain_s,
        jobs_max=settings.host_jobs_max,
        memory_bytes_max=settings.host_memory_bytes_max,
    )
    with open_workplace(settings, bundle, SqlJobStore(database), metrics, slots) as place:
        return WorkerHost(place, make_app(broker_url), rules, version=version("fakesieve")).run()


@contextmanager
def open_workplace(
    settings: Settings, bundle: ModelBundle, store: SqlJobStore, metrics: FleetMetrics, slots: int
) -> Generator[Workplace]:
    """Start what the slots of a host share, and end it after the block.

    The sandbox comes first: its process is started while this one has a single thread.
    """
    owner, limits = new_id(IdPrefix.HOST), read_limits(settings)
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox.start())
        structlog.contextvars.bind_contextvars(host=owner)
        screening = ScreenerRules(engine=settings.engine, slots=slots, threads=default_threads())
        scan = choose_settings(settings, bundle)
        screener = open_screener(bundle, sandbox, screening, metrics, settings=scan)
        stack.callback(screener.close)
        scratch = Scratch(
            settings.scratch_dir,
            open_objects(settings),
            limit_bytes=_SCRATCH_BYTES_MAX,
            free_bytes_min=settings.scratch_free_bytes_min,
        )
        tracer = open_tracer(settings.otlp_endpoint)
        stack.callback(tracer.close)
        yield Workplace(
            store=store,
            owner=owner,
            limits=limits,
            leases=Leases(store, owner, limits.lease_s),
            scratch=stack.enter_context(scratch),
            screener=screener,
            metrics=metrics,
            tracer=tracer,
        )


def choose_settings(settings: Settings, bundle: ModelBundle) -> ScanSettings:
    """Return how videos are screened: as ``scan`` does it without options, by the policy of the settings."""
    if settings.policy is None:
        return ScanSettings(policy=choose_policy(bundle.name, bundle.thresholds))
    try:
        return ScanSettings(policy=find_policy(settings.policy))
    except ValueError as error:
        raise SetupRefused(Reason.INVALID_SETTINGS, f"FAKESIEVE_POLICY: {error}") from error
