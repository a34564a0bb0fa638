"""A worker host from its settings: everything that its slots share, started in the order that works."""

import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.metadata import version

import structlog

from engine.backends.select import default_threads
from engine.bundle import ModelBundle, load_bundle
from engine.policy import choose_policy, find_policy
from engine.sandbox.handle import Sandbox
from engine.screen import ScanSettings
from fakesieve.database import Database
from fakesieve.errors import SetupRefused, Unavailable
from fakesieve.ids import IdPrefix, new_id
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.store import JobStore
from fakesieve.logging import get_logger
from fakesieve.object_stores.select import open_objects
from fakesieve.reasons import Reason
from fakesieve.settings import Settings
from workers.app import make_app
from workers.host import HostRules, WorkerHost
from workers.input_limits import read_input_limits
from workers.leases import Leases
from workers.let_go import let_go
from workers.metrics import FleetMetrics
from workers.scratch import Scratch
from workers.screener import ScreenerRules, open_screener
from workers.startup import check_broker
from workers.tracing import open_tracer
from workers.workplace import Workplace

_log = get_logger(__name__)

# A thread that computes keeps the interpreter for 5 ms unless told otherwise, and a slot that talks to the
# database waits for it after each answer.
SWITCH_INTERVAL_S = 0.0005


def run_worker(
    settings: Settings,
    store: JobStore,
    limits: JobLimits,
    metrics: FleetMetrics,
    database: Database | None = None,
) -> int:
    """Run a worker host until it has drained and return its exit code.

    With a database it lets go of copies of what is being erased.

    Raises BundleInvalid for a model that is not whole or not signed as asked for, SetupRefused for a broker
    that evicts.
    """
    bundle = load_bundle(settings.model, settings.model_keys)
    broker_url = settings.broker_url.get_secret_value()
    check_broker(broker_url)
    slots = settings.slots or default_threads()
    rules = HostRules(
        slots=slots,
        heartbeat_s=settings.heartbeat_s,
        drain_s=settings.drain_s,
        jobs_max=settings.host_jobs_max,
        memory_bytes_max=settings.host_memory_bytes_max,
    )
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with open_workplace(settings, bundle, store, limits, metrics, slots) as opened:
        place = opened
        if database is not None:
            place = replace(opened, let_go=lambda: let_go(database, opened.owner, opened.scratch))
        return WorkerHost(place, make_app(broker_url), rules, version=version("fakesieve")).run()


@contextmanager
def open_workplace(
    settings: Settings,
    bundle: ModelBundle,
    store: JobStore,
    limits: JobLimits,
    metrics: FleetMetrics,
    slots: int,
) -> Generator[Workplace]:
    """Start what the slots of a host share, and end it after the block.

    The sandbox comes first: its process is started while this one has a single thread.
    """
    owner = new_id(IdPrefix.HOST)
    with ExitStack() as stack:
        scan = choose_settings(settings, bundle)
        sandbox = stack.enter_context(Sandbox.start(scan.limits))
        structlog.contextvars.bind_contextvars(host=owner)
        screening = ScreenerRules(
            engine=settings.engine,
            slots=slots,
            threads=default_threads(),
            log_format=settings.log_format,
            log_level=settings.log_level,
        )
        screener = open_screener(bundle, sandbox, screening, metrics, settings=scan)
        stack.callback(screener.close)
        objects = open_objects(settings)
        scratch = stack.enter_context(
            Scratch(
                settings.scratch_dir,
                objects,
                free_bytes_min=settings.scratch_free_bytes_min,
                owner=owner,
            )
        )
        bury_hosts(store, scratch.dead_owners)
        tracer = open_tracer(settings.otlp_endpoint)
        stack.callback(tracer.close)
        yield Workplace(
            store=store,
            owner=owner,
            limits=limits,
            leases=Leases(store, owner, limits.lease_s),
            scratch=scratch,
            screener=screener,
            metrics=metrics,
            tracer=tracer,
        )


def bury_hosts(store: JobStore, owners: Sequence[str]) -> int:
    """Have the work of hosts of this machine that died come back now; return how many shards there were.

    Their folders here were no longer locked, so their processes are gone. Where the database does not answer
    their leases run out by themselves.
    """
    shards = 0
    for owner in owners:
        try:
            ended = store.run(lambda tx, owner=owner: tx.end_leases(owner))
        except Unavailable as fault:
            _log.warning("host.not_buried", dead=owner, seen=fault.seen)
            continue
        shards += ended
        _log.info("host.buried", dead=owner, shards=ended)
    return shards


def choose_settings(settings: Settings, bundle: ModelBundle) -> ScanSettings:
    """Return how videos are screened: as ``scan`` does it, by the policy and the limits of the settings."""
    limits = read_input_limits(settings)
    if settings.policy is None:
        return ScanSettings(limits=limits, policy=choose_policy(bundle.name, bundle.thresholds))
    try:
        return ScanSettings(limits=limits, policy=find_policy(settings.policy))
    except ValueError as error:
        raise SetupRefused(Reason.INVALID_SETTINGS, f"FAKESIEVE_POLICY: {error}") from error
