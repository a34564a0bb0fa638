"""Results as files: CSV, JSONL and Parquet, line by line, with the same columns in each.

What people say of results is a column of files for who may know it, and else no column: an empty one would
say that nobody has looked.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from typing import Any, BinaryIO

from engine.output.names import defuse_cell
from engine.result_forms import Json
from fakesieve.errors import RequestRefused
from fakesieve.reasons import Reason
from fakesieve.values.analysis_lines import AnalysisLine, Untold
from fakesieve.values.files import FileFormat

ROWS_AT_ONCE = 5_000
Cell = None | int | float | str | datetime | tuple[str, ...]


def read_cells(line: AnalysisLine) -> dict[str, Cell]:
    """Return a line as the columns that all files have. ``tags`` is JSON."""
    return {
        "id": line.id,
        "video_id": line.video_id,
        "external_id": line.external_id,
        "create_time": line.create_time.astimezone(UTC),
        "outcome": line.outcome.value,
        "verdict": None if line.verdict is None else line.verdict.value,
        "verdict_reasons": tuple(reason.value for reason in line.verdict_reasons),
        "score_raw": line.score_raw,
        "score_calibrated": line.score_calibrated,
        "score_low": line.score_low,
        "score_high": line.score_high,
        "policy": f"{line.policy}@{line.policy_version}",
        "threshold_low": line.low,
        "threshold_high": line.high,
        "coverage_ratio": line.coverage_ratio,
        "scored_us": line.scored_us,
        "total_us": line.total_us,
        "faces_scored": line.faces_scored,
        "duration_us": line.duration_us,
        "reasons": tuple(reason.value for reason in line.reasons),
        "warnings": tuple(warning.value for warning in line.warnings),
        "model": line.model,
        "model_id": line.model_id,
        "weights_sha256": line.weights_sha256,
        "engine": line.engine,
        "precision": line.precision,
        "fingerprint": line.fingerprint,
        "tags": json.dumps(dict(line.tags), sort_keys=True),
    }


COLUMNS = (
    *("id", "video_id", "external_id", "create_time", "outcome", "verdict", "verdict_reasons", "score_raw"),
    *("score_calibrated", "score_low", "score_high", "policy", "threshold_low", "threshold_high"),
    *("coverage_ratio", "scored_us", "total_us", "faces_scored", "duration_us", "reasons", "warnings"),
    *("model", "model_id", "weights_sha256", "engine", "precision", "fingerprint", "tags"),
)
WORD = "disposition"
"""The last column of files with what people say."""
_INTEGERS = frozenset({"scored_us", "total_us", "faces_scored", "duration_us"})
_LISTS = frozenset({"verdict_reasons", "reasons", "warnings"})
_REALS = frozenset(
    {"score_raw", "score_calibrated", "score_low", "score_high", "threshold_low", "threshold_high"}
    | {"coverage_ratio"}
)


def write_csv(lines: Iterable[AnalysisLine], *, with_words: bool) -> Iterator[bytes]:
    """Yield a CSV file (RFC 4180). Text that a spreadsheet would run as a formula gets a quote before it."""
    yield _write_row(_list_columns(with_words=with_words))
    for line in lines:
        cells = _read_row(line) if with_words else read_cells(line)
        yield _write_row([_write_cell(cell) for cell in cells.values()])


def _list_columns(*, with_words: bool) -> tuple[str, ...]:
    return (*COLUMNS, WORD) if with_words else COLUMNS


def _read_row(line: AnalysisLine) -> dict[str, Cell]:
    """Return a line as the columns of a file with what people say."""
    if line.disposition is Untold.UNTOLD:
        raise ValueError(f"{line.id} was read without what people say of it")
    return read_cells(line) | {WORD: None if line.disposition is None else line.disposition.value}


def _write_cell(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return _write_time(cell)
    if isinstance(cell, tuple):
        return defuse_cell(";".join(cell))
    return defuse_cell(cell) if isinstance(cell, str) else repr(cell)


def _write_row(cells: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().encode("utf-8", "replace")


def _write_time(time: datetime) -> str:
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def write_jsonl(lines: Iterable[AnalysisLine]) -> Iterator[bytes]:
    """Yield one JSON object a line, as ``read_json`` gives it."""
    for line in lines:
        yield json.dumps(read_json(line), ensure_ascii=True, allow_nan=False).encode() + b"\n"


def read_json(line: AnalysisLine) -> dict[str, Json]:
    """Return a line as JSON knows it, with ``tags`` as an object; what people say is there if it was read."""
    cells: dict[str, Json] = {
        name: _write_time(cell) if isinstance(cell, datetime) else cell
        for name, cell in (read_cells(line) if line.disposition is Untold.UNTOLD else _read_row(line)).items()
    }
    return cells | {"tags": dict(line.tags)}


def write_parquet(lines: Iterable[AnalysisLine], output: BinaryIO, *, with_words: bool) -> int:
    """Write a Parquet file and return how many rows it has. Raises as ``write_parquet_groups``."""
    return sum(write_parquet_groups(lines, output, with_words=with_words))


def write_parquet_groups(
    lines: Iterable[AnalysisLine], output: BinaryIO, *, with_words: bool
) -> Iterator[int]:
    """Write a Parquet file, 5,000 rows a group, and yield how many rows each has; it is whole at the end.

    Raises RequestRefused where pyarrow is not installed.
    """
    arrow, parquet = _load_arrow()
    text, columns = arrow.string(), _list_columns(with_words=with_words)
    kinds = {
        **dict.fromkeys(columns, text),
        **dict.fromkeys(_INTEGERS, arrow.int64()),
        **dict.fromkeys(_REALS, arrow.float64()),
        **dict.fromkeys(_LISTS, arrow.list_(text)),
        "create_time": arrow.timestamp("us", tz="UTC"),
    }
    schema = arrow.schema([(name, kinds[name]) for name in columns])
    writer = parquet.ParquetWriter(output, schema, compression="zstd")
    for group in _group(lines):
        rows = [_widen(_read_row(line) if with_words else read_cells(line)) for line in group]
        writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
        yield len(rows)
    writer.close()


def check_format(form: FileFormat) -> None:
    """Raise RequestRefused where this installation cannot write such a file."""
    if form is FileFormat.PARQUET:
        _load_arrow()


def may_write_parquet() -> bool:
    """Whether pyarrow is installed; it is not loaded for that."""
    return find_spec("pyarrow") is not None


def _load_arrow() -> tuple[Any, Any]:
    """Return pyarrow: 40 MB that an export needs and nobody else, so the first export loads it."""
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise RequestRefused(
            Reason.INVALID_REQUEST,
            "this installation writes no Parquet",
            "ask for csv or jsonl, or install fakesieve[parquet]",
        ) from None


def _widen(cells: dict[str, Cell]) -> dict[str, object]:
    return {name: list(cell) if isinstance(cell, tuple) else cell for name, cell in cells.items()}


def _group(lines: Iterable[AnalysisLine]) -> Iterator[list[AnalysisLine]]:
    group: list[AnalysisLine] = []
    for line in lines:
        group.append(line)
        if len(group) == ROWS_AT_ONCE:
            yield group
            group = []
    if group:
        yield group
