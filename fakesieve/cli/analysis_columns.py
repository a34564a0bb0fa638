"""Analyses as commands list them, whichever way they came."""

from collections.abc import Callable, Iterable
from itertools import islice

import typer

from engine.output.words import OUTCOMES, VERDICTS, format_score, format_share
from fakesieve.cli.lists import Form, show_list
from fakesieve.result_files import read_json, write_csv
from fakesieve.values.analysis_lines import AnalysisLine, Untold


def show_analyses(
    found: Iterable[AnalysisLine], form: Form, *, limit: int, may_tell: Callable[[], bool]
) -> int:
    """Print up to ``limit`` analyses, for programs with the columns of files; returns how many there were.

    What people say is a column where it was told of all of them. Where there are none, ``may_tell`` is asked
    whether it would have been.
    """
    if form is Form.JSON:
        return show_list(found, _COLUMNS, form, write=read_json, limit=limit)
    lines = list(islice(found, limit))
    with_words = all(line.disposition is not Untold.UNTOLD for line in lines) if lines else may_tell()
    if form is Form.CSV:
        for part in write_csv(lines, with_words=with_words):
            typer.echo(part, nl=False)
        return len(lines)
    columns = _FOUND | _SAID | _LOOKED_AT if with_words else _COLUMNS
    return show_list(lines, columns, form, write=read_json)


def _tell_verdict(line: AnalysisLine) -> str:
    return OUTCOMES[line.outcome] if line.verdict is None else VERDICTS[line.verdict]


_Columns = dict[str, Callable[[AnalysisLine], object]]
_FOUND: _Columns = {
    "analysis": lambda each: each.id,
    "verdict": _tell_verdict,
    "score": lambda each: format_score(each.score),
    "scored": lambda each: format_share(each.coverage_ratio),
}
_SAID: _Columns = {"people say": lambda each: each.disposition}
_LOOKED_AT: _Columns = {
    "model": lambda each: each.model,
    "video": lambda each: each.external_id or each.video_id,
}
_COLUMNS = _FOUND | _LOOKED_AT
