"""Analyses: what was found, in lists by filter and one by one, with faces, spans and patch maps."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, cast

from fastapi import Query
from fastapi.responses import JSONResponse, Response
from sqlalchemy.orm import Session

from api.caller_filters import read_caller_filter, reads_words
from api.dependencies import CallerDep, LookUp, LookUps, ServicesDep, Transaction, require_scope
from api.masks import LETTERS_MAX as FIELDS_LETTERS_MAX
from api.masks import apply_mask, check_has, read_mask
from api.pagination import BoundPage, Page, PageQuery
from api.problems import Problem, not_found
from api.router import NO_STORE, ApiRouter
from api.schemas.analyses import (
    FULL_ONLY,
    AnalysisOut,
    ArtifactKind,
    ArtifactOut,
    FrameOut,
    MapsOut,
    MasksOut,
    PartialAnalysis,
    SegmentOut,
    TrackOut,
    View,
)
from api.services import Services
from api.video_links import find_places, link_video
from api.writing_results import (
    write_frame,
    write_full,
    write_line,
    write_maps,
    write_masks,
    write_segment,
    write_tracks,
)
from fakesieve.documents import unpack_maps
from fakesieve.errors import SourceRefused
from fakesieve.filters.lexer import LETTERS_MAX as FILTER_LETTERS_MAX
from fakesieve.filters.order import LETTERS_MAX as ORDER_LETTERS_MAX
from fakesieve.filters.order import Order, read_order
from fakesieve.map_files import write_npy, write_overlay
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from fakesieve.records.analyses import AnalysisRecord, TrackMaps, load_analysis, load_maps
from fakesieve.records.analysis_lists import (
    AnalysisQuery,
    find_line,
    find_video_id,
    list_analyses,
    read_position,
    write_position,
)
from fakesieve.records.blind import is_kept
from fakesieve.records.frame_lists import find_track_ids, list_frames
from fakesieve.records.tenants import Caller
from fakesieve.scopes import Scope
from fakesieve.values.analysis_lines import AnalysisLine, Position

router = ApiRouter(tags=["analyses"])
_READ = [require_scope(Scope.RESULTS_READ)]
_US_MAX = 2**62

FilterText = Annotated[
    str | None,
    Query(
        alias="filter",
        max_length=FILTER_LETTERS_MAX,
        description="Which analyses; docs/reference/filters.md has the grammar and the fields.",
        examples=['verdict="likely_manipulated" AND tracks.regions.mouth>0.5'],
    ),
]
OrderText = Annotated[
    str | None, Query(max_length=ORDER_LETTERS_MAX, description="As `score desc`; newest first without it.")
]
FieldsText = Annotated[
    str | None,
    Query(max_length=FIELDS_LETTERS_MAX, description="Only these fields, as `id,score.raw`."),
]


class MapFormat(StrEnum):
    """``u8`` is bytes in base64, ``npy`` an array uint8, ``png`` an overlay, ``rle`` runs at a threshold."""

    U8 = "u8"
    NPY = "npy"
    PNG = "png"
    RLE = "rle"


@router.get("/v1/analyses", dependencies=_READ, response_model=Page[AnalysisOut] | Page[PartialAnalysis])
def list_all_analyses(
    caller: CallerDep,
    session: Transaction,
    page: PageQuery,
    wanted: FilterText = None,
    order_by: OrderText = None,
    fields: FieldsText = None,
) -> Page[AnalysisOut] | Response:
    """List analyses by filter, newest first or as asked. Those of deleted videos are not in it."""
    read, order = read_caller_filter(wanted, caller), read_order(order_by)
    mask = read_mask(fields, AnalysisOut)
    check_has(mask, FULL_ONLY, "ask for a single analysis with view=full")
    bound = page.bind(caller, "analyses", {"filter": wanted, "order_by": order.text})
    after, with_words = _read_after(bound, order), reads_words(mask, caller)
    query = AnalysisQuery(caller.tenant_id, read, order, after, page.limit, with_words)
    lines = list_analyses(session, query)
    found = bound.make(Page[AnalysisOut], lines, write_line, lambda line: write_position(line.position))
    if mask is None:
        return found
    document = found.model_dump(mode="json")
    return JSONResponse({**document, "data": [apply_mask(each, mask) for each in document["data"]]})


def _read_after(bound: BoundPage, order: Order) -> Position | None:
    return None if bound.position is None else read_position(order, bound.position)


@router.get("/v1/analyses/{analysis_id}", dependencies=_READ, response_model=AnalysisOut | PartialAnalysis)
def show_analysis(
    analysis_id: str,
    caller: CallerDep,
    session: LookUp,
    view: View = View.BASIC,
    fields: FieldsText = None,
) -> AnalysisOut | Response:
    """Show one analysis, in short or with all but its frames."""
    mask = read_mask(fields, AnalysisOut)
    if view is View.BASIC:
        check_has(mask, FULL_ONLY, "ask with view=full")
    line = _find_line(session, caller, analysis_id, with_words=reads_words(mask, caller))
    found = write_line(line)
    if view is View.FULL:
        record = _load(session, analysis_id)
        found = write_full(line, record, find_track_ids(session, analysis_id))
    return found if mask is None else JSONResponse(apply_mask(found.model_dump(mode="json"), mask))


@router.get("/v1/analyses/{analysis_id}/tracks", dependencies=_READ)
def list_tracks(analysis_id: str, caller: CallerDep, session: LookUp) -> Page[TrackOut]:
    """List the faces of an analysis over time, all on one page."""
    _find_line(session, caller, analysis_id)
    record = _load(session, analysis_id)
    return Page[TrackOut](data=write_tracks(analysis_id, record, find_track_ids(session, analysis_id)))


@router.get("/v1/analyses/{analysis_id}/segments", dependencies=_READ)
def list_segments(analysis_id: str, caller: CallerDep, session: LookUp) -> Page[SegmentOut]:
    """List the spans of an analysis that stand out, all on one page."""
    _find_line(session, caller, analysis_id)
    record = _load(session, analysis_id)
    return Page[SegmentOut](data=[write_segment(each) for each in record.score.segments])


@router.get("/v1/analyses/{analysis_id}/frames", dependencies=_READ)
def list_frame_scores(
    analysis_id: str,
    caller: CallerDep,
    session: Transaction,
    page: PageQuery,
    track: Annotated[int | None, Query(ge=0, le=32_767, description="Only this face.")] = None,
) -> Page[FrameOut]:
    """List the faces of an analysis in single frames, by track and time."""
    line = _find_line(session, caller, analysis_id)
    bound = page.bind(caller, f"frames of {analysis_id}", {"track": track})
    after = None if bound.position is None else cast("tuple[int, int]", bound.position)
    found = list_frames(session, analysis_id, line.create_time, ordinal=track, after=after, limit=page.limit)
    return bound.make(Page[FrameOut], found, write_frame, lambda each: (each.ordinal, each.frame.pts_us))


_BINARY: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "JSON for `u8` and `rle`, else the file",
        "content": {"application/octet-stream": {}, "image/png": {}},
    }
}


@router.get(
    "/v1/analyses/{analysis_id}/tracks/{ordinal}/maps",
    dependencies=_READ,
    response_model=MapsOut | MasksOut,
    responses=_BINARY,
)
def show_maps(
    analysis_id: str,
    ordinal: int,
    caller: CallerDep,
    session: LookUp,
    form: Annotated[MapFormat, Query(alias="format")] = MapFormat.U8,
    at_us: Annotated[
        int | None, Query(ge=0, le=_US_MAX, description="The nearest scored frame; without it all frames.")
    ] = None,
    threshold: Annotated[float, Query(ge=0, le=1, description="For `rle`: where the mask begins.")] = 0.5,
) -> MapsOut | MasksOut | Response:
    """Show where on a face the network sees manipulation; `png` without `at_us` is the frame of the peak."""
    _find_line(session, caller, analysis_id)
    maps = next((each for each in load_maps(session, analysis_id) if each.ordinal == ordinal), None)
    if maps is None:
        raise not_found("patch map of track", str(ordinal)[:20])
    if form is MapFormat.PNG and at_us is None:
        at_us = _find_peak(_load(session, analysis_id), ordinal)
    chosen = list(range(len(maps.pts_us))) if at_us is None else [_find_nearest(maps, at_us)]
    if form is MapFormat.U8:
        return write_maps(maps, chosen)
    if form is MapFormat.RLE:
        return write_masks(maps, chosen, threshold)
    return _send_file(maps, chosen, form)


def _find_peak(record: AnalysisRecord, ordinal: int) -> int:
    peaks = [track.peak_pts_us for track in record.score.tracks if track.ordinal == ordinal]
    return peaks[0][0] if peaks and peaks[0] else 0


def _find_nearest(maps: TrackMaps, time_us: int) -> int:
    return min(range(len(maps.pts_us)), key=lambda index: abs(maps.pts_us[index] - time_us))


def _send_file(maps: TrackMaps, chosen: list[int], form: MapFormat) -> Response:
    data = unpack_maps(maps)
    if form is MapFormat.PNG:
        return Response(write_overlay(data[chosen[0]], maps.grid), media_type="image/png")
    name = f'attachment; filename="track-{maps.ordinal}.npy"'
    content = write_npy([data[index] for index in chosen], maps.grid)
    return Response(content, media_type="application/octet-stream", headers={"Content-Disposition": name})


@router.get("/v1/analyses/{analysis_id}/artifacts", dependencies=_READ)
def list_artifacts(
    analysis_id: str, response: Response, caller: CallerDep, services: ServicesDep, begin: LookUps
) -> Page[ArtifactOut]:
    """List what can be fetched beside an analysis. The link to the video is made now and works 15 minutes.

    It leads to the newest place that the tenant may name and that still holds the object that was screened;
    without one there is none. While the caller holds it for a blind review, that is the video alone.
    """
    response.headers["Cache-Control"] = NO_STORE
    with begin() as session:
        video_id = find_video_id(session, analysis_id)
        if video_id is None:
            raise not_found("analysis", analysis_id)
        shown = () if is_kept(session, analysis_id) else load_maps(session, analysis_id)
        refs = find_places(session, services.settings.bucket, caller.tenant_id, video_id)
    found = [
        ArtifactOut(
            kind=ArtifactKind.PATCH_MAPS,
            track=maps.ordinal,
            media_type="application/json",
            href=f"/v1/analyses/{analysis_id}/tracks/{maps.ordinal}/maps",
            expire_time=None,
        )
        for maps in shown
    ]
    return Page[ArtifactOut](data=[*_link(services, refs), *found])


def _link(services: Services, refs: Sequence[VideoRef]) -> list[ArtifactOut]:
    """Return the link to a video; none where it lies nowhere any more, or only where it may not be read."""
    if services.links is None:
        return []
    try:
        link = link_video(services, refs)
    except (SourceRefused, Problem):
        return []
    return [
        ArtifactOut(
            kind=ArtifactKind.VIDEO,
            track=None,
            media_type="application/octet-stream",
            href=link.url,
            expire_time=link.expire_time,
        )
    ]


def _find_line(
    session: Session, caller: Caller, analysis_id: str, *, with_words: bool = False
) -> AnalysisLine:
    line = find_line(session, caller.tenant_id, analysis_id, with_words=with_words)
    if line is None:
        raise refuse_absent(session, analysis_id)
    return line


def refuse_absent(session: Session, analysis_id: str) -> Problem:
    """Say why nothing is shown: there is nothing, or the caller is to judge it without what was found."""
    if is_kept(session, analysis_id):
        return Problem(
            Reason.STATE_CONFLICT,
            f"what was found in {analysis_id} is hidden while you hold its video for a blind review",
            hint="say what you see: POST /v1/reviews/{id}:reveal or :decide",
        )
    return not_found("analysis", analysis_id)


def _load(session: Session, analysis_id: str) -> AnalysisRecord:
    record = load_analysis(session, analysis_id)
    if record is None:
        raise Problem(Reason.NOT_FOUND, f"there is no analysis {analysis_id}")
    return record
