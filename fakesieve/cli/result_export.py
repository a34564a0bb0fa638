"""Results out of the database, page by page: as lines, and as files with a row for each job or analysis."""

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
from fakesieve.records import analysis_lists, result_lists
from fakesieve.records.analysis_lists import AnalysisQuery, walk_analyses
from fakesieve.records.result_lists import ResultLine
from fakesieve.result_documents import build_form, read_result
from fakesieve.result_files import write_csv, write_jsonl, write_parquet
from fakesieve.values.analysis_lines import AnalysisLine
from fakesieve.values.files import FileFormat

_PAGE = 200


@dataclass(frozen=True)
class JobChoice:
    """Which jobs are meant; what is None does not restrict."""

    verdict: VerdictValue | None
    outcome: Outcome | None
    batch_id: str | None


def walk_jobs(place: Place, choice: JobChoice, page_size: int) -> Iterator[ResultLine]:
    """Yield all results page by page, so that no transaction stays open while they are written."""
    before: tuple[datetime, str] | None = None
    limit = min(page_size, result_lists.PAGE_MAX)
    while True:
        with place.begin() as session:
            page = result_lists.list_results(
                session,
                outcome=choice.outcome,
                verdict=choice.verdict,
                batch_id=choice.batch_id,
                before=before,
                limit=limit,
            )
        yield from page
        if len(page) < limit:
            return
        before = (page[-1].create_time, page[-1].job_id)


def walk_filtered(
    place: Place, wanted: str | None, order_by: str | None, page_size: int
) -> Iterator[AnalysisLine]:
    """Yield the analyses that fit a filter, with what people say of them, in one transaction.

    Raises FilterInvalid with what is wrong.
    """
    limit = min(page_size, analysis_lists.PAGE_MAX)
    read, order = read_filter(wanted), read_order(order_by)
    query = AnalysisQuery(place.tenant_id, read, order, limit=limit, with_words=True)
    with place.begin() as session:
        yield from walk_analyses(session, query)


def export_jobs(place: Place, output: BinaryIO, form: FileFormat, choice: JobChoice) -> None:
    """Write jobs that have ended: CSV, or JSONL with whole documents."""
    if form is FileFormat.CSV:
        output.write(write_row(CSV_COLUMNS))
    for line in walk_jobs(place, choice, _PAGE):
        if form is FileFormat.CSV:
            output.write(write_row(csv_cells(line)))
            continue
        with place.begin() as session:
            output.write(dump_line(build_form(read_result(session, line.job_id))))


def export_by_filter(
    place: Place, output: BinaryIO, form: FileFormat, wanted: str | None, order_by: str | None
) -> None:
    """Write the analyses that fit a filter. Raises FilterInvalid with the place of what is wrong."""
    lines = walk_filtered(place, wanted, order_by, analysis_lists.PAGE_MAX)
    if form is FileFormat.PARQUET:
        write_parquet(lines, output, with_words=True)
    else:
        output.writelines(write_csv(lines, with_words=True) if form is FileFormat.CSV else write_jsonl(lines))
