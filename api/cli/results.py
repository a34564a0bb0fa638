"""``fakesieve results`` over the API: what was found, for people and for programs."""

import base64
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from api.cli.connect import open_client
from api.cli.result_forms import (
    RESULT_COLUMNS,
    TRACK_COLUMNS,
    WIDE_COLUMNS,
    describe,
    describe_failed,
    form_result,
    form_track,
)
from api.cli.shown import (
    LIMIT,
    AsCsv,
    AsJson,
    Filter,
    Form,
    Limit,
    read_form,
    show_list,
    show_whole,
)
from api.client import Client
from api.schemas.analyses import AnalysisOut, MapOut, MapsOut, TrackOut
from api.schemas.exports import NewExportBody
from api.schemas.jobs import JobOut
from engine.result_forms import form_map
from engine.results import Outcome, VerdictValue
from fakesieve.cli.printing import EXIT_INCOMPLETE, dump_line, end_list, open_output, print_json
from fakesieve.errors import RequestRefused
from fakesieve.filters.join import join_filter
from fakesieve.ids import IdPrefix
from fakesieve.map_files import write_npy, write_png
from fakesieve.reasons import Reason
from fakesieve.values.files import FileFormat

results = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="List, show and export what was found.",
)
_US_PER_S = 1_000_000

Id = Annotated[str, typer.Argument(metavar="JOB_ID|ANALYSIS_ID", show_default=False)]
OutcomeOption = Annotated[Outcome | None, typer.Option(help="Only results of this outcome.")]
VerdictOption = Annotated[VerdictValue | None, typer.Option(help="Only results with this verdict.")]
BatchOption = Annotated[str | None, typer.Option(help="Only results of this batch.")]
OutOption = Annotated[Path | None, typer.Option(help="File to write; without it stdout.")]
OrderOption = Annotated[str | None, typer.Option(help="Order of analyses, as 'score desc'.")]


class MapFormat(StrEnum):
    """How patch maps are written."""

    U8 = "u8"
    NPY = "npy"
    PNG = "png"


@results.command("ls")
def list_(
    *,
    verdict: VerdictOption = None,
    outcome: OutcomeOption = None,
    batch: BatchOption = None,
    wanted: Filter = None,
    order_by: OrderOption = None,
    limit: Limit = LIMIT,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List analyses, newest first. Jobs that failed have none: see 'fakesieve jobs ls --state failed'."""
    form = read_form(as_json=as_json, as_csv=as_csv)
    asked = join_filter(wanted, verdict, outcome, batch)
    columns = WIDE_COLUMNS if form is Form.CSV else RESULT_COLUMNS
    with open_client() as client:
        found = client.results.iter(asked, order_by, page_size=min(limit, 1000))
        count = show_list(found, columns, form, limit=limit, write=form_result)
    end_list(count, is_narrowed=asked is not None)


@results.command()
def show(
    name: Id,
    *,
    as_json: AsJson = False,
    patches: Annotated[bool, typer.Option("--patches", help="With the patch maps, in JSON.")] = False,
) -> None:
    """Show one result. As JSON it is the document of ``fakesieve scan`` with the job beside it."""
    with open_client() as client:
        if as_json:
            document = client.results.document(name, with_patches=patches)
            print_json(document)
            has_score = Outcome(str(document["outcome"])).has_score
        else:
            job, found = _load(client, name)
            for line in describe_failed(job) if found is None and job is not None else _describe(found, job):
                typer.echo(line)
            has_score = found is not None and found.outcome.has_score
    raise typer.Exit(0 if has_score else EXIT_INCOMPLETE)


def _describe(found: AnalysisOut | None, job: JobOut | None) -> list[str]:
    return [] if found is None else describe(found, job)


def _load(client: Client, name: str) -> tuple[JobOut | None, AnalysisOut | None]:
    """Return the job that was named, and the analysis. Raises RequestRefused for a job that goes on."""
    if not name.startswith(f"{IdPrefix.JOB}_"):
        return None, client.results.get(name)
    job = client.job(name)
    if not job.is_terminal:
        raise RequestRefused(
            Reason.NOT_FOUND,
            f"{name} has not ended, it is {job.state.value}",
            f"wait for it: fakesieve watch {name}",
        )
    return job, None if job.analysis_id is None else client.results.get(job.analysis_id)


def _need(client: Client, name: str) -> AnalysisOut:
    _, found = _load(client, name)
    if found is None:
        raise RequestRefused(
            Reason.NOT_FOUND, f"{name} has no analysis", "see why: fakesieve jobs show JOB_ID"
        )
    return found


@results.command()
def tracks(name: Id, *, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """List the faces of one result."""
    form = read_form(as_json=as_json, as_csv=as_csv)
    with open_client() as client:
        found = _need(client, name)
    show_list(found.tracks or [], TRACK_COLUMNS, form, write=form_track)


@results.command("map")
def map_(
    name: Id,
    *,
    track: Annotated[int | None, typer.Option(min=0, help="Face; default: the one with the score.")] = None,
    at: Annotated[
        float | None, typer.Option(min=0.0, help="Seconds; the nearest scored frame. Default: all frames.")
    ] = None,
    form: Annotated[MapFormat, typer.Option("--format", help="How the maps are written.")] = MapFormat.U8,
    png: Annotated[bool, typer.Option("--png", help="The same as --format png.")] = False,
    out: OutOption = None,
) -> None:
    """Write the patch maps of one face: where on it the network sees manipulation.

    u8 is one JSON object a frame with base64 bytes, npy an array uint8 of n x g x g, png one picture in grey.
    """
    chosen = MapFormat.PNG if png else form
    with open_client() as client:
        found = _need(client, name)
        face = _find_track(found, name, track)
        if chosen is MapFormat.PNG and at is None:
            at = face.peak_pts_us[0] / _US_PER_S if face.peak_pts_us else 0.0
        at_us = None if at is None else round(at * _US_PER_S)
        maps = client.results.maps(found.id, face.ordinal, at_us)
    with open_output(out) as output:
        output.write(_encode(maps, chosen))


def _find_track(found: AnalysisOut, name: str, ordinal: int | None) -> TrackOut:
    """Return the face that was named, or the one with the highest score, which has maps."""
    mapped = [each for each in found.tracks or [] if each.maps is not None]
    if ordinal is None and mapped:
        return max(mapped, key=lambda each: -1.0 if each.score is None else each.score)
    for each in mapped:
        if each.ordinal == ordinal:
            return each
    known = ", ".join(str(each.ordinal) for each in mapped) or "none"
    raise RequestRefused(
        Reason.NOT_FOUND, f"face {ordinal} of {name} has no patch maps", f"faces with maps: {known}"
    )


def _encode(maps: MapsOut, form: MapFormat) -> bytes:
    if form is MapFormat.NPY:
        return write_npy([_unpack(each) for each in maps.maps], maps.grid)
    if form is MapFormat.PNG:
        return write_png(_unpack(maps.maps[0]), maps.grid)
    return b"".join(
        dump_line(
            {
                "track": maps.track,
                "pts_us": each.pts_us,
                **form_map(maps.grid, _unpack(each), maps.crop_size, each.to_frame),
            }
        )
        for each in maps.maps
    )


def _unpack(found: MapOut) -> bytes:
    return base64.b64decode(found.u8)


@results.command()
def export(
    *,
    form: Annotated[FileFormat, typer.Option("--format", help="How results are written.")] = FileFormat.CSV,
    verdict: VerdictOption = None,
    outcome: OutcomeOption = None,
    batch: BatchOption = None,
    wanted: Filter = None,
    order_by: OrderOption = None,
    out: OutOption = None,
    store: Annotated[
        bool, typer.Option("--store", help="Write into the fleet's object store, and print a link to it.")
    ] = False,
) -> None:
    """Write analyses as a file with one row for each."""
    asked = join_filter(wanted, verdict, outcome, batch)
    with open_client() as client:
        if store:
            made = client.results.export(NewExportBody(format=form, filter=asked, order_by=order_by))
            print_json(show_whole(made))
            return
        with open_output(out) as output:
            client.results.write(output, form, asked, order_by)
