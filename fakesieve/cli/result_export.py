"""``fakesieve results export``: results as files, a row for each job or for each analysis."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from engine.results import Outcome, VerdictValue
from fakesieve.cli.place import Place
from fakesieve.cli.printing import dump_line, write_row
from fakesieve.cli.result_forms import CSV_COLUMNS, csv_cells
from fakesieve.filters.check import read_filter
from fakesieve.filters.order import read_order
from fakesieve.records.analysis_lists import PAGE_MAX, AnalysisQuery, walk_analyses
from fakesieve.records.result_lists import ResultLine, list_results
from fakesieve.result_documents import build_form, read_result
from fakesieve.result_files import write_csv, write_jsonl, write_parquet
from fakesieve.values.files import FileFormat

_PAGE = 200


@dataclass(frozen=True)
class JobChoice:
    """Which jobs are written; what is None does not restrict."""

    verdict: VerdictValue | None
    outcome: Outcome | None
    batch_id: str | None


def export_jobs(place: Place, output: BinaryIO, form: FileFormat, choice: JobChoice) -> None:
    """Write jobs that have ended: CSV, or JSONL with whole documents."""
    if form is FileFormat.CSV:
        output.write(write_row(CSV_COLUMNS))
    for line in _walk(place, choice):
        if form is FileFormat.CSV:
            output.write(write_row(csv_cells(line)))
            continue
        with place.database.transaction(tenant_id=place.tenant_id) as session:
            output.write(dump_line(build_form(read_result(session, line.job_id))))


def _walk(place: Place, choice: JobChoice) -> Iterator[ResultLine]:
    """Yield all results page by page, so that no transaction stays open while they are written."""
    before: tuple[datetime, str] | None = None
    while True:
        with place.database.transaction(tenant_id=place.tenant_id) as session:
            page = list_results(
                session,
                outcome=choice.outcome,
                verdict=choice.verdict,
                batch_id=choice.batch_id,
                before=before,
                limit=_PAGE,
            )
        yield from page
        if len(page) < _PAGE:
            return
        before = (page[-1].create_time, page[-1].job_id)


def export_by_filter(
    place: Place, output: BinaryIO, form: FileFormat, wanted: str | None, order_by: str | None
) -> None:
    """Write the analyses that fit a filter. Raises FilterInvalid with the place of what is wrong."""
    query = AnalysisQuery(place.tenant_id, read_filter(wanted), read_order(order_by), limit=PAGE_MAX)
    with place.database.transaction(tenant_id=place.tenant_id) as session:
        lines = walk_analyses(session, query)
        if form is FileFormat.PARQUET:
            write_parquet(lines, output)
        else:
            output.writelines(write_csv(lines) if form is FileFormat.CSV else write_jsonl(lines))
