"""``fakesieve results`` over the database: lists and files have the jobs that failed in them too."""

import os
from collections.abc import Iterable
from itertools import islice
from typing import Annotated

import typer

from fakesieve.cli.analysis_columns import show_analyses
from fakesieve.cli.lists import LIMIT, AsCsv, AsJson, Filter, Form, Limit, read_form, show_list
from fakesieve.cli.one_result import map_, show, tracks
from fakesieve.cli.place import open_place
from fakesieve.cli.printing import end_list, open_output, print_csv
from fakesieve.cli.result_export import JobChoice, export_by_filter, export_jobs, walk_filtered, walk_jobs
from fakesieve.cli.result_forms import CSV_COLUMNS, RESULT_COLUMNS, csv_cells, form_line
from fakesieve.cli.result_options import (
    BatchOption,
    OrderOption,
    OutcomeOption,
    OutOption,
    VerdictOption,
    make_results,
)
from fakesieve.filters.join import join_filter
from fakesieve.reach import check_reach
from fakesieve.records.result_lists import ResultLine
from fakesieve.values.files import FileFormat

results = make_results()


@results.command("ls")
def list_(
    *,
    verdict: VerdictOption = None,
    outcome: OutcomeOption = None,
    batch: BatchOption = None,
    wanted: Filter = None,
    order_by: OrderOption = None,
    limit: Limit = LIMIT,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List what was found, newest first; jobs that failed are in the list with their reason.

    With --filter or --order-by the list is of analyses, so it has no failed jobs.
    """
    form = read_form(as_json=as_json, as_csv=as_csv)
    asked = join_filter(wanted, verdict, outcome, batch)
    check_reach(os.environ)
    with open_place() as place:
        if wanted is not None or order_by is not None:
            found = walk_filtered(place, asked, order_by, limit)
            count = show_analyses(found, form, limit=limit, may_tell=lambda: True)
        else:
            count = _show_jobs(walk_jobs(place, JobChoice(verdict, outcome, batch), limit), form, limit)
    end_list(count, is_narrowed=asked is not None)


def _show_jobs(found: Iterable[ResultLine], form: Form, limit: int) -> int:
    """Print up to ``limit`` jobs, for programs with the columns of files; returns how many there were."""
    if form is not Form.CSV:
        return show_list(found, RESULT_COLUMNS, form, write=form_line, limit=limit)
    lines = list(islice(found, limit))
    print_csv(CSV_COLUMNS, map(csv_cells, lines))
    return len(lines)


results.command()(show)
results.command()(tracks)
results.command("map")(map_)


@results.command()
def export(
    *,
    form: Annotated[FileFormat, typer.Option("--format", help="How results are written.")] = FileFormat.CSV,
    verdict: VerdictOption = None,
    outcome: OutcomeOption = None,
    batch: BatchOption = None,
    wanted: Filter = None,
    order_by: OrderOption = None,
    out: OutOption = None,
) -> None:
    """Write all results, newest first: CSV with one row for each job, or JSONL with whole documents.

    With --filter, --order-by or Parquet it has one row for each analysis, as the API writes it.
    """
    is_by_filter = wanted is not None or order_by is not None or form is FileFormat.PARQUET
    check_reach(os.environ)
    with open_place() as place, open_output(out) as output:
        if is_by_filter:
            export_by_filter(place, output, form, join_filter(wanted, verdict, outcome, batch), order_by)
        else:
            export_jobs(place, output, form, JobChoice(verdict, outcome, batch))
