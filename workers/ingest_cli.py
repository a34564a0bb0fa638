"""``fakesieve ingest``: listen to bucket events, or sweep a prefix."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import typer

from fakesieve.cli.place import Place, open_place
from fakesieve.errors import RequestRefused
from fakesieve.ingest.sweep import ObjectWatermarks, Sweep, preview_sweep
from fakesieve.ingest.take import Taken, Watch
from fakesieve.jobs.states import Lane
from fakesieve.logging import configure_logging
from fakesieve.object_stores.retries import RetryRule
from fakesieve.object_stores.select import open_objects, read_options
from fakesieve.objects import ObjectStore
from fakesieve.reasons import Reason
from fakesieve.records.revision import check_revision
from workers.ingest import EventListener, Sweeper
from workers.loops import LoopRules, run_loop, stop_on_signals
from workers.sqs import QueueOptions, SqsQueue

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


@dataclass(frozen=True)
class _Watched:
    """What both commands work with."""

    place: Place
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
    with _open(bucket, prefix, extensions, lane) as watched:
        options = read_options(watched.place.settings)
        try:
            source = QueueOptions(
                queue, options.region, queue_endpoint, options.access_key, options.secret_key
            )
        except ValueError as fault:
            raise typer.BadParameter(str(fault)) from fault
        listener = EventListener(watched.place.store, watched.objects, SqsQueue(source), [watched.watch])
        run_loop("ingest", listener.take_turn, LoopRules(idle_s=0.1, longest_s=30.0), stop_on_signals())


@ingest.command()
def sweep(
    *,
    bucket: Bucket = "",
    prefix: Prefix = "",
    extensions: Extensions = None,
    lane: LaneOption = Lane.BULK,
    every: Annotated[
        float | None,
        typer.Option(min=1.0, max=604_800, help="Sweep again after so many seconds, until SIGTERM."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Look at old objects too.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be submitted, and submit nothing.")
    ] = False,
) -> None:
    """Submit what lies in a bucket and is not known yet; prints one JSON line for each sweep."""
    with _open(bucket, prefix, extensions, lane) as watched:
        marks = ObjectWatermarks(watched.objects, watched.place.settings.bucket)
        wanted = Sweep(watched.place.store, watched.objects, marks, watched.watch, is_full=full)
        if dry_run:
            found = preview_sweep(wanted)
            typer.echo(json.dumps(_form(found) | {"dry_run": True}))
            return
        sweeper = Sweeper(wanted)

        def turn() -> bool:
            typer.echo(json.dumps(_form(sweeper.take_turn())))
            return False

        if every is None:
            turn()
        else:
            run_loop("sweep", turn, LoopRules(idle_s=every, longest_s=every), stop_on_signals())


def _form(taken: Taken) -> dict[str, int | bool]:
    return {"new": taken.n_new, "known": taken.n_known, "outside": taken.n_outside}


@contextmanager
def _open(bucket: str, prefix: str, extensions: list[str] | None, lane: Lane) -> Generator[_Watched]:
    """Open the fleet of the environment and say what of it is watched."""
    with open_place() as place:
        configure_logging(place.settings.log_format, place.settings.log_level)
        check_revision(place.database)
        try:
            wanted = frozenset(part.lower() for part in extensions or ())
            own = place.settings.bucket
            watch = Watch(place.tenant_id, bucket or own, prefix, wanted, lane, fleet_bucket=own)
        except ValueError as fault:
            raise RequestRefused(Reason.INVALID_REQUEST, str(fault)) from fault
        yield _Watched(place, open_objects(place.settings, retry=_RETRY), watch)
