"""Ended jobs with their results as JSON, as CSV and as columns for a terminal."""

from dataclasses import asdict, fields
from datetime import datetime
from enum import Enum

from rich.text import Text

from engine.output.words import OUTCOMES, VERDICTS, format_score, format_share
from engine.results import VerdictValue
from fakesieve.cli.lists import Columns
from fakesieve.cli.printing import Json
from fakesieve.job_forms import form_time
from fakesieve.records.result_lists import ResultLine

CSV_COLUMNS = tuple(field.name for field in fields(ResultLine))
_STYLES = {
    VerdictValue.LIKELY_MANIPULATED: "bold magenta",
    VerdictValue.INCONCLUSIVE: "yellow",
    VerdictValue.NO_MANIPULATION_FOUND: "cyan",
}


def _tell_verdict(line: ResultLine) -> Text:
    if line.outcome is None:
        return Text(line.state.value, style="dim")
    if line.verdict is None:
        return Text(OUTCOMES[line.outcome], style="dim")
    return Text(VERDICTS[line.verdict], style=_STYLES[line.verdict])


def _tell_video(line: ResultLine) -> str:
    fault = "" if line.error_reason is None else f"  {line.error_reason}: {line.error_message or ''}"
    return f"s3://{line.bucket}/{line.key}{fault}"


RESULT_COLUMNS: Columns[ResultLine] = {
    "job": lambda line: line.job_id,
    "verdict": _tell_verdict,
    "score": lambda line: format_score(
        line.score_raw if line.score_calibrated is None else line.score_calibrated
    ),
    "scored": lambda line: None if line.coverage_ratio is None else format_share(line.coverage_ratio),
    "faces": lambda line: line.tracks,
    "video": _tell_video,
}


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
