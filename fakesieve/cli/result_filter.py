"""``fakesieve results ls --filter``: analyses by filter, in the order asked for."""

import typer

from engine.output.names import escape_for_terminal
from engine.output.words import OUTCOMES, VERDICTS, format_score, format_share
from fakesieve.cli.place import Place
from fakesieve.cli.printing import make_table, print_json, print_table
from fakesieve.filters.check import read_filter
from fakesieve.filters.order import read_order
from fakesieve.records.analysis_lists import AnalysisQuery, list_analyses
from fakesieve.result_files import read_json, write_csv


def list_by_filter(
    place: Place,
    wanted: str | None,
    order_by: str | None,
    *,
    limit: int,
    as_json: bool = False,
    as_csv: bool = False,
) -> int:
    """Print the analyses that fit a filter; returns how many. Raises FilterInvalid with what is wrong."""
    query = AnalysisQuery(place.tenant_id, read_filter(wanted), read_order(order_by), limit=limit)
    with place.database.transaction(tenant_id=place.tenant_id) as session:
        lines = list_analyses(session, query)
    if as_csv:
        for part in write_csv(lines):
            typer.echo(part, nl=False)
        return len(lines)
    if as_json:
        for line in lines:
            print_json(read_json(line))
        return len(lines)
    table = make_table("analysis", "verdict", "score", "scored", "model", "video")
    for line in lines:
        said = OUTCOMES[line.outcome] if line.verdict is None else VERDICTS[line.verdict]
        score = line.score_raw if line.score_calibrated is None else line.score_calibrated
        video = escape_for_terminal(line.external_id or line.video_id)
        shown = "" if score is None else format_score(score)
        table.add_row(line.id, said, shown, format_share(line.coverage_ratio), line.model, video)
    print_table(table)
    return len(lines)
