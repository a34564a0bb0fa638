"""Results from the API as commands print them."""

import json
from datetime import datetime
from enum import Enum
from typing import cast

from api.cli.job_forms import form_time
from api.cli.shown import Columns
from api.schemas.analyses import AnalysisOut, SegmentOut, TrackOut
from api.schemas.jobs import JobOut
from engine.output.names import escape_for_terminal
from engine.output.words import (
    EVIDENCE,
    OUTCOMES,
    REGIONS,
    VERDICT_REASONS,
    VERDICTS,
    format_clock,
    format_score,
    format_share,
)
from engine.results import SegmentKind
from fakesieve.cli.printing import Json

_TRIAGE = "This is triage for people to judge, no proof; docs/model-card.md has the measured error rates."


def read_score(found: AnalysisOut) -> float | None:
    """Return the score that a person looks at: the calibrated one where there is one."""
    return found.score.raw if found.score.calibrated is None else found.score.calibrated


def tell_verdict(found: AnalysisOut) -> str:
    """Return verdict or outcome in words."""
    value = found.verdict.value
    return OUTCOMES[found.outcome] if value is None else VERDICTS[value]


def tell_regions(track: TrackOut) -> str:
    """Return the parts of a face that look forged, the largest three."""
    found = sorted((each for each in track.regions.items() if each[1] >= 0.01), key=lambda each: -each[1])
    return ", ".join(f"{REGIONS[region]} {format_share(share)}" for region, share in found[:3])


def describe(found: AnalysisOut, job: JobOut | None) -> list[str]:
    """Return a result as lines for a person."""
    lines = [escape_for_terminal(found.external_id or found.video_id)]
    if job is not None:
        lines = [escape_for_terminal(job.source.uri), f"  job       {job.id}  {job.state.value}"]
    lines.append(f"  analysis  {found.id}")
    lines.append(f"  verdict   {tell_verdict(found)}  {_tell_interval(found)}".rstrip())
    lines += [f"            {VERDICT_REASONS[reason]}" for reason in found.verdict.reasons]
    tracks = found.tracks or []
    faces = f"{len(tracks)} face{'' if len(tracks) == 1 else 's'}"
    lines.append(f"  scored    {format_share(found.coverage.ratio)} of its time, {faces}")
    if found.reasons:
        lines.append("            " + ", ".join(EVIDENCE[reason] for reason in found.reasons))
    spans = [each for each in found.segments or [] if each.kind is SegmentKind.SUSPICIOUS]
    lines += [_tell_span(each) for each in spans]
    model = found.model
    lines.append(
        f"  model     {model.name} ({model.engine}, {model.precision}), policy {found.verdict.policy}"
    )
    return [*lines, _TRIAGE]


def describe_failed(job: JobOut) -> list[str]:
    """Return a job without an analysis as lines for a person."""
    lines = [escape_for_terminal(job.source.uri), f"  job       {job.id}  {job.state.value}"]
    if job.error is not None:
        lines.append(f"  error     {job.error.reason}: {escape_for_terminal(job.error.message or '')}")
        lines.append(f"  hint      {escape_for_terminal(job.error.hint)}")
    return lines


def _tell_interval(found: AnalysisOut) -> str:
    if found.verdict.value is None:
        return ""
    interval = found.score.interval
    ends = "" if interval is None else f" ({format_score(interval[0])}–{format_score(interval[1])})"
    return format_score(read_score(found)) + ends


def _tell_span(segment: SegmentOut) -> str:
    where = ", ".join(REGIONS[region] for region in segment.regions)
    span = f"{format_clock(segment.start_us)} to {format_clock(segment.end_us)}"
    return f"  suspicious face {segment.track} from {span}" + (f": {where}" if where else "")


def form_track(track: TrackOut) -> dict[str, Json]:
    """Return a face as JSON."""
    return {
        "ordinal": track.ordinal,
        "start_us": track.start_us,
        "end_us": track.end_us,
        "outcome": track.outcome.value,
        "score": track.score,
        "frames": track.frame_count,
        "scored": track.scored_count,
        "peak_pts_us": list(track.peak_pts_us),
        "regions": {region.value: share for region, share in track.regions.items()},
    }


RESULT_COLUMNS: Columns[AnalysisOut] = {
    "analysis": lambda each: each.id,
    "verdict": tell_verdict,
    "score": read_score,
    "scored": lambda each: format_share(each.coverage.ratio),
    "model": lambda each: each.model.name,
    "video": lambda each: each.external_id or each.video_id,
}
WIDE_COLUMNS: Columns[AnalysisOut] = {
    "id": lambda each: each.id,
    "video_id": lambda each: each.video_id,
    "external_id": lambda each: each.external_id,
    "create_time": lambda each: each.create_time,
    "outcome": lambda each: each.outcome,
    "verdict": lambda each: each.verdict.value,
    "verdict_reasons": lambda each: each.verdict.reasons,
    "score_raw": lambda each: each.score.raw,
    "score_calibrated": lambda each: each.score.calibrated,
    "score_low": lambda each: each.score.interval and each.score.interval[0],
    "score_high": lambda each: each.score.interval and each.score.interval[1],
    "policy": lambda each: each.verdict.policy,
    "threshold_low": lambda each: each.verdict.thresholds.low,
    "threshold_high": lambda each: each.verdict.thresholds.high,
    "coverage_ratio": lambda each: each.coverage.ratio,
    "scored_us": lambda each: each.coverage.scored_us,
    "total_us": lambda each: each.coverage.total_us,
    "faces_scored": lambda each: each.coverage.faces_scored,
    "duration_us": lambda each: each.duration_us,
    "reasons": lambda each: each.reasons,
    "warnings": lambda each: each.warnings,
    "model": lambda each: each.model.name,
    "model_id": lambda each: each.model.id,
    "weights_sha256": lambda each: each.model.weights_sha256,
    "engine": lambda each: each.model.engine,
    "precision": lambda each: each.model.precision,
    "fingerprint": lambda each: each.fingerprint,
    "tags": lambda each: json.dumps(each.tags, sort_keys=True),
}


def form_result(found: AnalysisOut) -> dict[str, Json]:
    """Return an analysis as JSON, with the names that files of results have."""
    cells = {name: read(found) for name, read in WIDE_COLUMNS.items()}
    return {name: _plain(cell) for name, cell in cells.items()} | {"tags": dict(found.tags)}


def _plain(cell: object) -> Json:
    if isinstance(cell, datetime):
        return form_time(cell)
    if isinstance(cell, list):
        return [str(each) for each in cast("list[object]", cell)]
    if isinstance(cell, Enum):
        return str(cell.value)
    assert cell is None or isinstance(cell, int | float | str)
    return cell


TRACK_COLUMNS: Columns[TrackOut] = {
    "face": lambda each: each.ordinal,
    "from": lambda each: format_clock(each.start_us),
    "to": lambda each: format_clock(each.end_us),
    "score": lambda each: each.score,
    "frames": lambda each: each.frame_count,
    "scored": lambda each: each.scored_count,
    "regions": tell_regions,
}
