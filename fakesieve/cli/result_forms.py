"""Results as JSON, as CSV and as lines for a terminal."""

from dataclasses import asdict, fields
from datetime import datetime
from enum import Enum

from rich.text import Text

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
from engine.results import Segment, SegmentKind, VerdictValue
from fakesieve.cli.printing import Json
from fakesieve.records.analyses import AnalysisRecord
from fakesieve.records.result_lists import ResultLine
from fakesieve.result_documents import Result, form_time

CSV_COLUMNS = tuple(field.name for field in fields(ResultLine))
_STYLES = {
    VerdictValue.LIKELY_MANIPULATED: "bold magenta",
    VerdictValue.INCONCLUSIVE: "yellow",
    VerdictValue.NO_MANIPULATION_FOUND: "cyan",
}
_TRIAGE = "This is triage for people to judge, no proof; docs/model-card.md has the measured error rates."


def describe_result(found: Result) -> list[str]:
    """Return a result as lines for a person."""
    line = found.job.line
    lines = [escape_for_terminal(line.source.uri), f"  job       {line.id}  {line.state.value}"]
    record = found.record
    if record is None:
        fault = line.fault
        if fault is not None:
            lines.append(f"  error     {fault.reason}: {escape_for_terminal(fault.message or '')}")
            lines.append(f"  hint      {escape_for_terminal(fault.hint)}")
        return lines
    value = record.verdict.value
    said = OUTCOMES[record.outcome] if value is None else VERDICTS[value]
    lines.append(f"  verdict   {said}  {_format_interval(record)}".rstrip())
    lines += [f"            {VERDICT_REASONS[reason]}" for reason in record.verdict.reasons]
    coverage = record.score.coverage
    notes = ", ".join(EVIDENCE[reason] for reason in record.score.reasons)
    count = len(record.score.tracks)
    faces = f"{count} face{'' if count == 1 else 's'}"
    lines.append(f"  scored    {format_share(coverage.ratio)} of its time, {faces}")
    if notes:
        lines.append(f"            {notes}")
    lines += [_describe_span(each) for each in record.score.segments if each.kind is SegmentKind.SUSPICIOUS]
    model, policy = record.model, record.policy
    lines.append(
        f"  model     {model.name} ({model.engine}, {model.precision}), policy {policy.name}@{policy.version}"
    )
    return [*lines, _TRIAGE]


def _format_interval(record: AnalysisRecord) -> str:
    if record.verdict.score_used is None:
        return ""
    interval = record.score.interval
    ends = "" if interval is None else f" ({format_score(interval[0])}–{format_score(interval[1])})"
    return format_score(record.verdict.score_used) + ends


def _describe_span(segment: Segment) -> str:
    where = ", ".join(REGIONS[region] for region in segment.regions)
    span = f"{format_clock(segment.start_us)} to {format_clock(segment.end_us)}"
    return f"  suspicious face {segment.track} from {span}" + (f": {where}" if where else "")


def describe_line(line: ResultLine) -> list[str | Text]:
    """Return the cells of a result in a table: job, verdict, score, share scored, faces, video."""
    if line.outcome is None:
        said = Text(line.state.value, style="dim")
    elif line.verdict is None:
        said = Text(OUTCOMES[line.outcome], style="dim")
    else:
        said = Text(VERDICTS[line.verdict], style=_STYLES[line.verdict])
    score = line.score_raw if line.score_calibrated is None else line.score_calibrated
    name = f"s3://{line.bucket}/{line.key}"
    fault = "" if line.error_reason is None else f"  {line.error_reason}: {line.error_message or ''}"
    return [
        line.job_id,
        said,
        format_score(score),
        "–" if line.coverage_ratio is None else format_share(line.coverage_ratio),
        "–" if line.tracks is None else str(line.tracks),
        Text(escape_for_terminal(name + fault)),
    ]


def form_line(line: ResultLine) -> dict[str, Json]:
    """Return a line as JSON, its fields by their names."""
    return {name: _plain(value) for name, value in asdict(line).items()}


def _plain(value: object) -> Json:
    if isinstance(value, datetime):
        return form_time(value)
    if isinstance(value, Enum):
        return str(value.value)
    if value is None or isinstance(value, bool | int | str):
        return value
    assert isinstance(value, float)
    return round(value, 6)


def csv_cells(line: ResultLine) -> list[str]:
    """Return the cells of a line in the order of ``CSV_COLUMNS``; what is not known is empty."""
    return ["" if value is None else _cell(value) for value in form_line(line).values()]


def _cell(value: Json) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
