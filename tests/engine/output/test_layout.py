"""Tables that lose nothing on a narrow terminal."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from engine.output.layout import ABSENT, Column, lay_out

COLUMNS = (Column("job"), Column("state"), Column("done", is_right=True), Column("video", is_long=True))
ROWS = (
    ("job_01m815zbbweg39hbg3w54cdngp", "succeeded", "1/1", "s3://videos/" + "long/" * 20 + "clip.mp4"),
    ("job_01m815zbbwee88wn5yzq9gcsb7", "running", ABSENT, ABSENT),
)


def render(rows: tuple[tuple[str, ...], ...], width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None, highlight=False)
    console.print(lay_out(COLUMNS, [[Text(cell) for cell in row] for row in rows], width))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
def test_nothing_is_cut_at_any_width(width: int) -> None:
    shown = render(ROWS, width)
    whole = "".join(shown.split())
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
    for row in ROWS:
        assert row[0] in whole
        assert row[1] in whole
    if width < 70:  # folded, so its parts follow each other
        assert "".join(ROWS[0][3].split()) in whole


def test_a_wide_terminal_has_each_row_on_one_line() -> None:
    (line,) = [line for line in render(ROWS[1:], 120).splitlines() if "job_" in line]
    assert line.split() == ["job_01m815zbbwee88wn5yzq9gcsb7", "running", ABSENT, ABSENT]


def test_a_narrow_one_has_the_long_words_below_and_folds_them_under_themselves() -> None:
    lines = render(ROWS, 60).splitlines()
    at = next(place for place, line in enumerate(lines) if line.startswith("job_01m815zbbweg"))
    assert lines[at].split() == [ROWS[0][0], "succeeded", "1/1"]
    assert lines[at + 1].startswith("  s3://videos/long/")
    assert lines[at + 2].startswith("  ")
    assert lines[-2].split() == [ROWS[1][0], "running", ABSENT]  # what is absent takes no line


@given(
    st.lists(st.tuples(*[st.text("ab é漢", max_size=40)] * 4), max_size=4).map(tuple), st.integers(20, 140)
)
def test_whatever_stands_in_the_cells_the_lines_fit(rows: tuple[tuple[str, ...], ...], width: int) -> None:
    for line in render(rows, width).splitlines():
        assert Text(line.rstrip()).cell_len <= width
