"""``fakesieve ingest``: listen to bucket events, or sweep a prefix."""

import dataclasses
import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated

import typer

from fakesieve.database import Database, open_database
from fakesieve.errors import FleetError, RequestRefused, SetupRefused
from fakesieve.ingest.sweep import ObjectWatermarks
from fakesieve.ingest.take import Watch
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.jobs.states import Lane
from fakesieve.logging import configure_logging
from fakesieve.object_stores.retries import RetryRule
from fakesieve.object_stores.select import open_objects, read_options
from fakesieve.objects import ObjectStore
from fakesieve.reasons import Reason
from fakesieve.records.tenants import ensure_tenant, find_caller
from fakesieve.settings import Settings, read_settings
from workers.ingest import EventListener, Sweeper
from workers.loops import LoopRules, run_loop, stop_on_signals
from workers.sqs import QueueOptions, SqsQueue

FIRST_TENANT = "default"
# An event may be ahead of a store that shows new objects late, but a deleted object never comes.
_RETRY = RetryRule(missing_pauses_s=(1.0, 3.0))

ingest = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, help="Take videos in as they appear in a bucket."
)

Bucket = Annotated[str, typer.Option(help="Bucket to watch; absent is FAKESIEVE_BUCKET.")]
Prefix = Annotated[str, typer.Option(help="Only objects whose keys begin with it.")]
Extensions = Annotated[
    list[str] | None, typer.Option("--extension", help="Only objects with it, as .mp4; may be given again.")
]
LaneOption = Annotated[Lane, typer.Option("--lane", help="How urgent the jobs are.")]


@dataclasses.dataclass(frozen=True)
class _Place:
    """What both commands work with."""

    settings: Settings
    store: SqlJobStore
    objects: ObjectStore
    watch: Watch


@ingest.command()
def events(
    queue: Annotated[str, typer.Option(help="URL of the SQS queue that the bucket's events go to.")],
    bucket: Bucket = "",
    prefix: Prefix = "",
    extensions: Extensions = None,
    lane: LaneOption = Lane.STANDARD,
    queue_endpoint: Annotated[
        str | None, typer.Option(help="Address of a queue service other than Amazon's.")
    ] = None,
) -> None:
    """Submit what bucket events tell of, until SIGTERM."""
    with _open_place(bucket, prefix, extensions, lane) as place:
        options = read_options(place.settings)
        source = QueueOptions(
            url=queue,
            region=options.region,
            endpoint=queue_endpoint,
            access_key=options.access_key,
            secret_key=options.secret_key,
        )
        listener = EventListener(place.store, place.objects, SqsQueue(source), [place.watch])
        run_loop("ingest", listener.take_turn, LoopRules(idle_s=0.1, longest_s=30.0), stop_on_signals())


@ingest.command()
def sweep(
    bucket: Bucket = "",
    prefix: Prefix = "",
    extensions: Extensions = None,
    lane: LaneOption = Lane.BULK,
    every: Annotated[
        float | None, typer.Option(min=1.0, help="Sweep again after so many seconds, until SIGTERM.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Look at old objects too.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Submit what lies in a bucket and is not known yet; prints one JSON line for each sweep."""
    with _open_place(bucket, prefix, extensions, lane) as place:
        marks = ObjectWatermarks(place.objects, place.settings.bucket)
        sweeper = Sweeper(place.store, place.objects, marks, place.watch, is_full=full)

        def turn() -> bool:
            taken = sweeper.take_turn()
            typer.echo(json.dumps({"new": taken.n_new, "known": taken.n_known, "outside": taken.n_outside}))
            return False

        if every is None:
            turn()
        else:
            run_loop("sweep", turn, LoopRules(idle_s=every, longest_s=every), stop_on_signals())


@contextmanager
def _open_place(bucket: str, prefix: str, extensions: list[str] | None, lane: Lane) -> Generator[_Place]:
    """Read the settings and open what they name; an error is told with its hint and ends the command."""
    try:
        settings = read_settings()
        configure_logging(settings.log_format, settings.log_level)
        database = open_database(settings.database_url.get_secret_value())
        try:
            tenant_id = find_tenant(database, settings)
            watch = _make_watch(tenant_id, bucket or settings.bucket, prefix, extensions, lane)
            yield _Place(settings, SqlJobStore(database), open_objects(settings, retry=_RETRY), watch)
        finally:
            database.close()
    except FleetError as fault:
        typer.echo(f"error: {fault.reason}: {fault.seen}\nhint: {fault.hint}", err=True)
        raise typer.Exit(1) from fault


def _make_watch(tenant_id: str, bucket: str, prefix: str, extensions: list[str] | None, lane: Lane) -> Watch:
    try:
        wanted = frozenset(part.lower() for part in extensions or ())
        return Watch(tenant_id, bucket, prefix, wanted, lane)
    except ValueError as fault:
        raise RequestRefused(Reason.INVALID_REQUEST, str(fault)) from fault


def find_tenant(database: Database, settings: Settings) -> str:
    """Return whose videos are taken in: the tenant of the API key, or the first where none is set."""
    with database.transaction(tenant_id=None) as session:
        if settings.api_key is None:
            return ensure_tenant(session, FIRST_TENANT)
        caller = find_caller(session, settings.api_key.get_secret_value())
    if caller is None:
        raise SetupRefused(Reason.INVALID_SETTINGS, "FAKESIEVE_API_KEY is unknown, revoked or expired")
    return caller.tenant_id
