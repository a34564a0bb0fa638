"""One row for each input, in a table and in CSV."""

import csv
import io
from pathlib import Path

from rich.console import Console

from engine.output.tables import COLUMNS, build_table, csv_cells, table_cells, write_csv_row
from tests.engine.output.made_results import all_results, make_failed_result, make_result


def render(*results, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(build_table([table_cells(result) for result in results], width))
    return console.file.getvalue()


def read_csv(*results) -> list[dict[str, str]]:
    text = write_csv_row(COLUMNS) + "".join(write_csv_row(csv_cells(result)) for result in results)
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_table_says_verdict_score_interval_and_coverage() -> None:
    text = render(make_result())
    assert "likely manipulated" in text
    assert "0.9" in text
    assert "100 %" in text
    assert "note" not in text  # nothing to say, no column


def test_failures_have_their_reason_in_the_table() -> None:
    text = render(make_result(), make_failed_result())
    assert "NOT_VIDEO: the first bytes are those of no known media" in " ".join(text.split())
    assert "could not be read" in text


def test_a_narrow_terminal_gets_every_column() -> None:
    text = render(*all_results().values(), width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "no manipulation" in text or "likely manipulated" in text
    assert "scored" in text


def test_on_a_narrow_terminal_names_stand_whole_on_lines_of_their_own() -> None:
    path = Path("demo-out/clips/WolfgangLanger_forged.mp4")
    lines = render(make_failed_result(path), width=80).splitlines()
    assert str(path) in lines
    assert any(line.startswith("  could not be read") for line in lines)
    assert "  NOT_VIDEO: the first bytes are those of no known media" in lines


def test_names_in_the_table_cannot_steer_the_terminal() -> None:
    text = render(make_failed_result(Path("a\x1b[2J\u202e.mp4")))
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_markup_in_names_is_shown_as_it_is() -> None:
    assert "[red]a[/red].mp4" in render(make_failed_result(Path("[red]a[/red].mp4")))


def test_csv_has_one_row_for_each_input_whatever_its_shape() -> None:
    results = all_results()
    rows = read_csv(*results.values())
    assert [row["outcome"] for row in rows] == [result.outcome.value for result in results.values()]
    assert rows[0]["verdict"] == "likely_manipulated"
    assert rows[0]["suspicious_spans"] == "1"
    assert rows[-1]["error_reason"] == "NOT_VIDEO"
    assert rows[-1]["score_raw"] == ""


def test_csv_formulas_in_names_are_defused() -> None:
    (row,) = read_csv(make_failed_result(Path('=HYPERLINK("x"),a\n.mp4')))
    assert row["path"] == '\'=HYPERLINK("x"),a\\n.mp4'
