"""Analyses as commands list them, whichever way they came."""

from collections.abc import Iterable
from itertools import islice

import typer

from engine.output.words import OUTCOMES, VERDICTS, format_score, format_share
from fakesieve.cli.lists import Columns, Form, show_list
from fakesieve.result_files import read_json, write_csv
from fakesieve.values.analysis_lines import AnalysisLine


def show_analyses(found: Iterable[AnalysisLine], form: Form, *, limit: int) -> int:
    """Print up to ``limit`` analyses, for programs with the columns of files; returns how many there were."""
    if form is Form.CSV:
        lines = list(islice(found, limit))
        for part in write_csv(lines):
            typer.echo(part, nl=False)
        return len(lines)
    return show_list(found, _COLUMNS, form, write=read_json, limit=limit)


def _tell_verdict(line: AnalysisLine) -> str:
    return OUTCOMES[line.outcome] if line.verdict is None else VERDICTS[line.verdict]


_COLUMNS: Columns[AnalysisLine] = {
    "analysis": lambda each: each.id,
    "verdict": _tell_verdict,
    "score": lambda each: format_score(each.score),
    "scored": lambda each: format_share(each.coverage_ratio),
    "model": lambda each: each.model,
    "video": lambda each: each.external_id or each.video_id,
}
