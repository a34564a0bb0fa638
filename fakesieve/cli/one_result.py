"""``fakesieve results show``, ``tracks`` and ``map``: one result, for people and for programs."""

from enum import StrEnum
from typing import Annotated

import typer

from engine.result_forms import form_map
from engine.results import Outcome
from fakesieve.cli.finding_forms import FACE_COLUMNS, describe_result, form_face
from fakesieve.cli.fleet import Fleet, open_fleet
from fakesieve.cli.lists import AsCsv, AsJson, read_form, show_list
from fakesieve.cli.printing import EXIT_INCOMPLETE, dump_line, open_output, print_json
from fakesieve.cli.result_options import OutOption, ResultId
from fakesieve.errors import RequestRefused
from fakesieve.map_files import write_npy, write_png
from fakesieve.reasons import Reason
from fakesieve.values.findings import Face, FaceMaps, Finding

_US_PER_S = 1_000_000


class MapFormat(StrEnum):
    """How patch maps are written."""

    U8 = "u8"
    NPY = "npy"
    PNG = "png"


def show(
    name: ResultId,
    *,
    as_json: AsJson = False,
    patches: Annotated[bool, typer.Option("--patches", help="With the patch maps, in JSON.")] = False,
) -> None:
    """Show one result. As JSON it is the document of ``fakesieve scan`` with the job beside it."""
    with open_fleet() as fleet:
        if as_json:
            document = fleet.results.load_document(name, with_patches=patches)
            print_json(document)
            has_score = Outcome(str(document["outcome"])).has_score
        else:
            found = fleet.results.load_result(name)
            for line in describe_result(found):
                typer.echo(line)
            has_score = found.finding is not None and found.finding.outcome.has_score
    raise typer.Exit(0 if has_score else EXIT_INCOMPLETE)


def tracks(name: ResultId, *, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """List the faces of one result."""
    form = read_form(as_json=as_json, as_csv=as_csv)
    with open_fleet() as fleet:
        found = _load_finding(fleet, name)
    show_list(found.faces, FACE_COLUMNS, form, write=form_face)


def map_(
    name: ResultId,
    *,
    track: Annotated[int | None, typer.Option(min=0, help="Face; default: the one with the score.")] = None,
    at: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1e7,
            help="Seconds; the nearest scored frame. Default: all frames.",
        ),
    ] = None,
    form: Annotated[MapFormat, typer.Option("--format", help="How the maps are written.")] = MapFormat.U8,
    png: Annotated[bool, typer.Option("--png", help="The same as --format png.")] = False,
    out: OutOption = None,
) -> None:
    """Write the patch maps of one face: where on it the network sees manipulation.

    u8 is one JSON object a frame with base64 bytes, npy an array uint8 of n x g x g, png one picture in grey.
    """
    chosen = MapFormat.PNG if png else form
    with open_fleet() as fleet:
        found = _load_finding(fleet, name)
        face = _choose_face(found, name, track)
        time_us = None if at is None else round(at * _US_PER_S)
        if chosen is MapFormat.PNG and time_us is None:
            time_us = face.peak_pts_us[0] if face.peak_pts_us else 0
        maps = fleet.results.load_maps(found, face.ordinal, time_us)
    with open_output(out) as output:
        output.write(_encode(maps, chosen))


def _load_finding(fleet: Fleet, name: str) -> Finding:
    found = fleet.results.load_result(name).finding
    if found is None:
        raise RequestRefused(
            Reason.NOT_FOUND, f"{name} has no analysis", "see why: fakesieve jobs show JOB_ID"
        )
    return found


def _choose_face(found: Finding, name: str, ordinal: int | None) -> Face:
    """Return the face that was named, or the one with the highest score, which has maps."""
    mapped = [each for each in found.faces if each.has_maps]
    if ordinal is None and mapped:
        return max(mapped, key=lambda each: -1.0 if each.score is None else each.score)
    for each in mapped:
        if each.ordinal == ordinal:
            return each
    known = ", ".join(str(each.ordinal) for each in mapped) or "none"
    seen = f"{name} has no patch maps" if ordinal is None else f"face {ordinal} of {name} has no patch maps"
    raise RequestRefused(Reason.NOT_FOUND, seen, f"faces with maps: {known}")


def _encode(maps: FaceMaps, form: MapFormat) -> bytes:
    if form is MapFormat.NPY:
        return write_npy([each.cells for each in maps.maps], maps.grid)
    if form is MapFormat.PNG:
        return write_png(maps.maps[0].cells, maps.grid)
    return b"".join(
        dump_line(
            {
                "track": maps.ordinal,
                "pts_us": each.pts_us,
                **form_map(maps.grid, each.cells, maps.crop_size, each.to_frame),
            }
        )
        for each in maps.maps
    )
