"""A result as lines for a person, and its faces as a list."""

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
    say_missing,
)
from engine.result_forms import JsonObject
from engine.results import Segment, SegmentKind
from fakesieve.cli.fleet import Found
from fakesieve.cli.job_columns import describe_fault
from fakesieve.cli.lists import Columns
from fakesieve.values.analysis_lines import Untold
from fakesieve.values.findings import Face, Finding

_TRIAGE = "This is triage for people to judge, no proof; docs/model-card.md has the measured error rates."
_REGIONS_TOLD, _REGION_LEAST = 3, 0.01


def describe_result(found: Found) -> list[str]:
    """Return a result as lines for a person: its job where that is known, and what was found or why not."""
    job, finding = found.job, found.finding
    if job is not None:
        lines = [escape_for_terminal(job.source.uri), f"  job       {job.id}  {job.state.value}"]
    else:
        lines = [escape_for_terminal(found.name if finding is None else finding.video)]
    if finding is not None:
        return lines + _describe_finding(finding)
    told = [] if job is None else describe_fault(job)
    return lines + [f"  {name:<9} {escape_for_terminal(value)}" for name, value in told]


def _describe_finding(found: Finding) -> list[str]:
    said = OUTCOMES[found.outcome] if found.verdict is None else VERDICTS[found.verdict]
    lines = [f"  analysis  {found.analysis_id}", f"  verdict   {said}  {_tell_interval(found)}".rstrip()]
    lines += [f"            {VERDICT_REASONS[reason]}" for reason in found.verdict_reasons]
    if found.disposition is not None and found.disposition is not Untold.UNTOLD:
        lines.append(f"  people    say {found.disposition}")
    faces = f"{len(found.faces)} face{'' if len(found.faces) == 1 else 's'}"
    lines.append(f"  scored    {format_share(found.coverage_ratio)} of its time, {faces}")
    if found.reasons:
        lines.append("            " + ", ".join(EVIDENCE[reason] for reason in found.reasons))
    lines += [f"  missing   {escape_for_terminal(say_missing(each))}" for each in found.missing or ()]
    lines += [_tell_span(each) for each in found.segments if each.kind is SegmentKind.SUSPICIOUS]
    lines.append(f"  model     {found.model} ({found.engine}, {found.precision}), policy {found.policy}")
    return [*lines, _TRIAGE]


def _tell_interval(found: Finding) -> str:
    if found.verdict is None:
        return ""
    ends = (
        ""
        if found.interval is None
        else f" ({format_score(found.interval[0])}–{format_score(found.interval[1])})"
    )
    return format_score(found.score) + ends


def _tell_span(segment: Segment) -> str:
    where = ", ".join(REGIONS[region] for region in segment.regions)
    span = f"{format_clock(segment.start_us)} to {format_clock(segment.end_us)}"
    return f"  suspicious face {segment.track} from {span}" + (f": {where}" if where else "")


def form_face(face: Face) -> JsonObject:
    """Return a face as JSON."""
    return {
        "ordinal": face.ordinal,
        "start_us": face.start_us,
        "end_us": face.end_us,
        "outcome": face.outcome.value,
        "score": face.score,
        "frames": face.frame_count,
        "scored": face.scored_count,
        "peak_pts_us": list(face.peak_pts_us),
        "regions": {region.value: share for region, share in face.regions},
    }


def _tell_regions(face: Face) -> str:
    """Return the parts of a face that look forged, the largest three."""
    found = sorted((each for each in face.regions if each[1] >= _REGION_LEAST), key=lambda each: -each[1])
    return ", ".join(f"{REGIONS[region]} {format_share(share)}" for region, share in found[:_REGIONS_TOLD])


FACE_COLUMNS: Columns[Face] = {
    "face": lambda each: each.ordinal,
    "from": lambda each: format_clock(each.start_us),
    "to": lambda each: format_clock(each.end_us),
    "score": lambda each: format_score(each.score),
    "frames": lambda each: each.frame_count,
    "scored": lambda each: each.scored_count,
    "regions": _tell_regions,
}
