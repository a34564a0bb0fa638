"""``fakesieve results``: what was found, for people and for programs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from engine.output.words import REGIONS, format_clock, format_score, format_share
from engine.results import FaceRegion, Outcome, TrackScore, VerdictValue
from fakesieve.cli.place import Place, open_place
from fakesieve.cli.printing import (
    EXIT_INCOMPLETE,
    Json,
    dump_line,
    end_list,
    make_table,
    open_output,
    print_csv,
    print_json,
    print_table,
)
from fakesieve.cli.result_export import JobChoice, export_by_filter, export_jobs
from fakesieve.cli.result_filter import list_by_filter
from fakesieve.cli.result_forms import CSV_COLUMNS, csv_cells, describe_line, describe_result, form_line
from fakesieve.documents import form_map, unpack_maps
from fakesieve.errors import RequestRefused
from fakesieve.filters.join import join_filter
from fakesieve.map_files import write_npy, write_png
from fakesieve.reasons import Reason
from fakesieve.records.analyses import AnalysisRecord, TrackMaps
from fakesieve.records.result_lists import PAGE_MAX, list_results
from fakesieve.result_documents import Result, build_form, read_result
from fakesieve.values.files import FileFormat

results = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="List, show and export what was found.",
)
_US_PER_S = 1_000_000

Id = Annotated[str, typer.Argument(metavar="JOB_ID|ANALYSIS_ID", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", "--jsonl", help="Print JSON, one object a line.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")]
OutcomeOption = Annotated[Outcome | None, typer.Option(help="Only results of this outcome.")]
VerdictOption = Annotated[VerdictValue | None, typer.Option(help="Only results with this verdict.")]
BatchOption = Annotated[str | None, typer.Option(help="Only results of this batch.")]
FilterOption = Annotated[
    str | None,
    typer.Option("--filter", help="Only analyses that fit, as 'score > 0.9 AND tracks.regions.mouth > 0.5'."),
]
OrderOption = Annotated[str | None, typer.Option(help="Order of analyses, as 'score desc'.")]
OutOption = Annotated[Path | None, typer.Option(help="File to write; without it stdout.")]


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
    wanted: FilterOption = None,
    order_by: OrderOption = None,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="At most so many, newest first.")] = 50,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List what was found, newest first; jobs that failed are in the list with their reason.

    With --filter or --order-by the list is of analyses, so it has no failed jobs.
    """
    if as_json and as_csv:
        raise typer.BadParameter("take --json or --csv, not both")
    if wanted is not None or order_by is not None:
        asked = join_filter(wanted, verdict, outcome, batch)
        with open_place() as place:
            count = list_by_filter(place, asked, order_by, limit=limit, as_json=as_json, as_csv=as_csv)
        end_list(count, is_narrowed=asked is not None)
        return
    with open_place() as place, place.database.transaction(tenant_id=place.tenant_id) as session:
        lines = list_results(session, outcome=outcome, verdict=verdict, batch_id=batch, limit=limit)
    if as_csv:
        print_csv(CSV_COLUMNS, map(csv_cells, lines))
    elif as_json:
        for line in lines:
            print_json(form_line(line))
    else:
        table = make_table("job", "verdict", "score", "scored", "faces", "video")
        for line in lines:
            table.add_row(*describe_line(line))
        print_table(table)
    end_list(len(lines), is_narrowed=any(each is not None for each in (verdict, outcome, batch)))


@results.command()
def show(
    name: Id,
    *,
    as_json: AsJson = False,
    patches: Annotated[bool, typer.Option("--patches", help="With the patch maps, in JSON.")] = False,
) -> None:
    """Show one result. As JSON it is the document of ``fakesieve scan`` with the job beside it."""
    with open_place() as place:
        found = _load(place, name)
    if as_json:
        print_json(build_form(found, with_patches=patches))
    else:
        for line in describe_result(found):
            typer.echo(line)
    raise typer.Exit(0 if found.record is not None and found.record.outcome.has_score else EXIT_INCOMPLETE)


@results.command()
def tracks(name: Id, *, as_json: AsJson = False) -> None:
    """List the faces of one result."""
    with open_place() as place:
        record = _need_record(_load(place, name))
    if as_json:
        for track in record.score.tracks:
            print_json(_form_track(track))
        return
    table = make_table("face", "from", "to", "score", "frames", "scored", "regions")
    for track in record.score.tracks:
        table.add_row(
            str(track.ordinal),
            format_clock(track.start_us),
            format_clock(track.end_us),
            format_score(track.score),
            str(len(track.frames)),
            str(track.scored_count),
            ", ".join(
                f"{REGIONS[region]} {format_share(share)}" for region, share in _largest(track.regions)
            ),
        )
    print_table(table)


def _form_track(track: TrackScore) -> dict[str, Json]:
    return {
        "ordinal": track.ordinal,
        "start_us": track.start_us,
        "end_us": track.end_us,
        "outcome": track.outcome.value,
        "score": track.score,
        "frames": len(track.frames),
        "scored": track.scored_count,
        "peak_pts_us": list(track.peak_pts_us),
        "regions": {region.value: share for region, share in track.regions},
    }


def _largest(regions: tuple[tuple[FaceRegion, float], ...]) -> list[tuple[FaceRegion, float]]:
    return sorted((each for each in regions if each[1] >= 0.01), key=lambda each: -each[1])[:3]


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
    form = MapFormat.PNG if png else form
    with open_place() as place:
        found = _load(place, name)
    record = _need_record(found)
    ordinal = record.score.peak_track if track is None else track
    maps = next((each for each in record.maps if each.ordinal == ordinal), None)
    if maps is None:
        known = ", ".join(str(each.ordinal) for each in record.maps) or "none"
        raise RequestRefused(
            Reason.NOT_FOUND, f"face {ordinal} of {name} has no patch maps", f"faces with maps: {known}"
        )
    if form is MapFormat.PNG and at is None and record.score.tracks:
        peaks = next(each.peak_pts_us for each in record.score.tracks if each.ordinal == ordinal)
        at = peaks[0] / _US_PER_S if peaks else 0.0
    chosen = range(len(maps.pts_us)) if at is None else [_find_nearest(maps, round(at * _US_PER_S))]
    with open_output(out) as output:
        output.write(_encode_maps(maps, list(chosen), form))


def _find_nearest(maps: TrackMaps, time_us: int) -> int:
    return min(range(len(maps.pts_us)), key=lambda index: abs(maps.pts_us[index] - time_us))


def _encode_maps(maps: TrackMaps, chosen: list[int], form: MapFormat) -> bytes:
    data = unpack_maps(maps)
    if form is MapFormat.NPY:
        return write_npy([data[index] for index in chosen], maps.grid)
    if form is MapFormat.PNG:
        return write_png(data[chosen[0]], maps.grid)
    return b"".join(
        dump_line({"track": maps.ordinal, "pts_us": maps.pts_us[index], **form_map(maps, index, data[index])})
        for index in chosen
    )


@results.command()
def export(
    *,
    form: Annotated[FileFormat, typer.Option("--format", help="How results are written.")] = FileFormat.CSV,
    verdict: VerdictOption = None,
    outcome: OutcomeOption = None,
    batch: BatchOption = None,
    wanted: FilterOption = None,
    order_by: OrderOption = None,
    out: OutOption = None,
) -> None:
    """Write all results, newest first: CSV with one row for each job, or JSONL with whole documents.

    With --filter, --order-by or Parquet it has one row for each analysis, as the API writes it.
    """
    is_by_filter = wanted is not None or order_by is not None or form is FileFormat.PARQUET
    with open_place() as place, open_output(out) as output:
        if is_by_filter:
            export_by_filter(place, output, form, join_filter(wanted, verdict, outcome, batch), order_by)
        else:
            export_jobs(place, output, form, JobChoice(verdict, outcome, batch))


def _load(place: Place, name: str) -> Result:
    with place.database.transaction(tenant_id=place.tenant_id) as session:
        return read_result(session, name)


def _need_record(found: Result) -> AnalysisRecord:
    if found.record is None:
        raise RequestRefused(
            Reason.NOT_FOUND,
            f"{found.name} has no analysis",
            "see why: fakesieve jobs show JOB_ID",
        )
    return found.record
