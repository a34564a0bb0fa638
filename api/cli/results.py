"""``fakesieve results`` over the API: its lists are of analyses, failed jobs are among the jobs."""

from typing import Annotated

import typer

from api.cli.connect import open_client
from api.cli.remote.jobs import PAGE
from api.cli.remote.reading import read_analysis
from api.cli.shown import show_whole
from api.schemas.exports import NewExportBody
from fakesieve.cli.analysis_columns import show_analyses
from fakesieve.cli.lists import LIMIT, AsCsv, AsJson, Filter, Limit, read_form
from fakesieve.cli.one_result import map_, show, tracks
from fakesieve.cli.printing import end_list, open_output, print_json
from fakesieve.cli.result_options import (
    BatchOption,
    OrderOption,
    OutcomeOption,
    OutOption,
    VerdictOption,
    make_results,
)
from fakesieve.filters.join import join_filter
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
    """List analyses, newest first. Jobs that failed have none: see 'fakesieve jobs ls --state failed'."""
    form = read_form(as_json=as_json, as_csv=as_csv)
    asked = join_filter(wanted, verdict, outcome, batch)
    with open_client() as client:
        found = client.results.iter(asked, order_by, page_size=min(limit, PAGE))
        lines = map(read_analysis, found)
        count = show_analyses(lines, form, limit=limit, may_tell=client.results.may_tell_words)
    end_list(count, is_narrowed=asked is not None)


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
    store: Annotated[
        bool, typer.Option("--store", help="Write into the fleet's object store, and print a link to it.")
    ] = False,
) -> None:
    """Write analyses as a file with one row for each."""
    asked = join_filter(wanted, verdict, outcome, batch)
    with open_client() as client:
        if store:
            made = client.results.export(NewExportBody(format=form, filter=asked, order_by=order_by))
            print_json(show_whole(made))
            return
        with open_output(out) as output:
            client.results.write(output, form, asked, order_by)
