"""One row for each input: as CSV for programs and as a table for the terminal."""

import csv
import io
from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from engine.output.layout import Column, lay_out
from engine.output.names import defuse_cell, escape_for_terminal, to_text
from engine.output.words import EVIDENCE, OUTCOMES, VERDICT_REASONS, VERDICTS, format_score, format_share
from engine.results import VerdictReason, VerdictValue
from engine.scan_result import ScanResult

COLUMNS = (
    "path",
    "sha256",
    "outcome",
    "verdict",
    "score_raw",
    "score_calibrated",
    "interval_low",
    "interval_high",
    "coverage_ratio",
    "tracks",
    "suspicious_spans",
    "duration_us",
    "policy",
    "model",
    "fingerprint",
    "error_reason",
    "error_message",
    "error_hint",
)

_COLUMNS = (
    Column("input", is_long=True),
    Column("verdict"),
    Column("score"),
    Column("scored", is_right=True),
    Column("note", is_long=True),
)
_STYLES = {
    VerdictValue.LIKELY_MANIPULATED: "bold magenta",
    VerdictValue.INCONCLUSIVE: "yellow",
    VerdictValue.NO_MANIPULATION_FOUND: "cyan",
}
_LOUD_REASONS = (
    VerdictReason.LOW_COVERAGE,
    VerdictReason.PARTIAL_EVIDENCE,
    VerdictReason.SINGLE_FRAME_PEAK,
    VerdictReason.SINGLE_PICTURE,
    VerdictReason.EXTRAPOLATED_THRESHOLD,
)


def write_csv_row(cells: Sequence[str]) -> str:
    """Return one line of CSV (RFC 4180) with its line end; cells that a spreadsheet would run are defused."""
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\r\n").writerow([defuse_cell(cell) for cell in cells])
    return line.getvalue()


def csv_cells(result: ScanResult) -> list[str]:
    """Return the cells of one input in the order of ``COLUMNS``; what is not known is empty."""
    score, verdict, probe, fault = result.score, result.verdict, result.probe, result.fault
    interval = (None, None) if score is None or score.interval is None else score.interval
    suspicious = 0 if score is None else sum(segment.kind == "suspicious" for segment in score.segments)
    values: dict[str, str | float | int | None] = {
        "path": to_text(result.path),
        "sha256": result.source.sha256,
        "outcome": result.outcome.value,
        "verdict": None if verdict is None or verdict.value is None else verdict.value.value,
        "score_raw": None if score is None else score.raw,
        "score_calibrated": None if score is None else score.calibrated,
        "interval_low": interval[0],
        "interval_high": interval[1],
        "coverage_ratio": None if score is None else score.coverage.ratio,
        "tracks": None if score is None else len(score.tracks),
        "suspicious_spans": None if score is None else suspicious,
        "duration_us": None if probe is None else probe.duration_us,
        "policy": f"{result.policy.name}@{result.policy.version}",
        "model": result.model.name,
        "fingerprint": result.fingerprint,
        "error_reason": None if fault is None else fault.reason.value,
        "error_message": None if fault is None else to_text(fault.message),
        "error_hint": None if fault is None else fault.hint,
    }
    return [_format_cell(values[name]) for name in COLUMNS]


def _format_cell(value: str | float | None) -> str:
    if value is None:
        return ""
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def build_table(rows: Sequence[Sequence[Text]], width: int) -> Table | Group:
    """Return the table for people from the cells of its inputs; hints of failures stand elsewhere.

    ``width`` is that of the terminal.
    """
    columns = _COLUMNS if any(row[-1] for row in rows) else _COLUMNS[:-1]
    return lay_out(columns, [row[: len(columns)] for row in rows], width)


def table_cells(result: ScanResult) -> list[Text]:
    """Return the cells of one input for ``build_table``."""
    score, verdict = result.score, result.verdict
    value = None if verdict is None else verdict.value
    said = OUTCOMES[result.outcome] if value is None else VERDICTS[value]
    number = format_score(None if verdict is None else verdict.score_used)
    if score is not None and score.interval is not None:
        number += f" ({format_score(score.interval[0])}–{format_score(score.interval[1])})"
    return [
        Text(escape_for_terminal(to_text(result.path))),
        Text(said, style="dim" if value is None else _STYLES[value]),
        Text(number),
        Text("–" if score is None else format_share(score.coverage.ratio)),
        Text(_note(result)),
    ]


def _note(result: ScanResult) -> str:
    """Return what a reader must know beside the verdict."""
    fault, score, verdict = result.fault, result.score, result.verdict
    if fault is not None:
        return escape_for_terminal(f"{fault.reason}: {to_text(fault.message)}")
    notes = [EVIDENCE[reason] for reason in (score.reasons if score else ())]
    reasons = verdict.reasons if verdict else ()
    notes += [VERDICT_REASONS[reason].rstrip(".").lower() for reason in reasons if reason in _LOUD_REASONS]
    return "; ".join(notes)
