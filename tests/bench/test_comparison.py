"""Ours against the peers: what the rows of a run say, and the page that is made of them."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench.comparison import (
    CONTENDERS,
    SCREENED_SETS,
    Row,
    assemble_figures,
    compare_first_verdicts,
    summarise,
    tabulate_stage_ratios,
    tabulate_stages,
)
from bench.contender import Screening
from bench.measure import Timed
from bench.report import Figure
from bench.run import RESULTS, main
from bench.work import ClipSet

# Of two rounds; in the second the machine was half as fast.
DETECT_MS = {"fakesieve": (100.0, 200.0), "N2": (150.0, 300.0), "N0": (40.0, 80.0)}
PEAKS_MIB = {"fakesieve": (300, 200), "N1": (900, 800)}


def draw_row(number: int, clip_set: str, name: str) -> Row:
    """Return a row of one video; N0 looks at the first 10 of its 250 frames."""
    detect_ms = DETECT_MS.get(name, (50.0, 50.0))[number]
    stages = {"decode": 10.0, "detect": detect_ms, "crop": 1.0, "predict": 20.0}
    if name.startswith("fakesieve"):
        stages |= {"probe": 5.0, "score": 2.0}
    screening = Screening(0.5, 10 if name == "N0" else 250, 250, 3, stages)
    peak_bytes = PEAKS_MIB.get(name, (100, 100))[number] << 20
    return Row(number, clip_set, name, (Timed(screening, 2 * detect_ms, peak_bytes),))


ROWS = tuple(draw_row(n, s, name) for n in range(2) for s in SCREENED_SETS for name in CONTENDERS)
WAITS = (
    Figure("B: first verdict of fakesieve", "ms", (1000.0, 4000.0)),
    Figure("B: first verdict of N1", "ms", (3000.0, 8000.0)),
)
PARTS = (Figure("sandbox: added time per video after the first", "ms", (20.0,)),)


def values_of(figures: Sequence[Figure], name: str) -> tuple[float, ...]:
    (found,) = (figure.values for figure in figures if figure.name == name)
    return found


def line_of(table: str, name: str) -> list[str]:
    (line,) = (line for line in table.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_memory_of_a_peer_is_compared_with_ours_round_by_round() -> None:
    figures = list(summarise(ROWS))
    assert values_of(figures, "A: peak memory of N1") == (900.0, 800.0)
    assert values_of(figures, "A: peak memory of N1 over fakesieve") == (3.0, 4.0)


def test_speed_is_ours_over_the_peers() -> None:
    assert values_of(list(summarise(ROWS)), "A: speed of fakesieve over N2") == pytest.approx((1.5, 1.5))


def test_first_verdicts_are_compared_where_both_were_timed() -> None:
    (only,) = compare_first_verdicts(WAITS)
    assert only == Figure("B: first verdict of N1 over fakesieve", "times", (3.0, 2.0))


def test_stages_have_their_spread_and_none_where_they_are_not_done_apart() -> None:
    table = tabulate_stages(ROWS)
    # probe, decode, detect, crop, predict, score
    assert line_of(table, "A, fakesieve")[:3] == ["5 (5 to 5)", "10 (10 to 10)", "150 (100 to 200)"]
    assert line_of(table, "A, N2")[0] == line_of(table, "A, N2")[-1] == ""
    # 25 times as many frames as it has looked at
    assert line_of(table, "A, N0")[2] == "1,500 (1,000 to 2,000)"


def test_a_stage_of_a_peer_is_compared_with_ours_round_by_round() -> None:
    table = tabulate_stage_ratios(ROWS)
    assert line_of(table, "C, N2 over fakesieve")[1] == "1.5 (1.5 to 1.5)"
    assert line_of(table, "C, N0 over fakesieve")[1] == "10 (10 to 10)"


def test_a_stage_that_took_ours_no_whole_millisecond_has_no_ratio() -> None:
    screening = replace(ROWS[0].videos[0].screening, stages_ms={"decode": 10.0, "detect": 0.0})
    quick = replace(ROWS[0], videos=(replace(ROWS[0].videos[0], screening=screening),))
    table = tabulate_stage_ratios((quick, *ROWS[1:]))
    assert line_of(table, "A, N2 over fakesieve") == ["1 (1 to 1)", "", "", ""]


def test_figures_of_a_run_are_the_same_when_they_are_made_again() -> None:
    once = assemble_figures(ROWS, [*WAITS, *PARTS])
    assert once[-1] == PARTS[0]
    assert assemble_figures(ROWS, once) == once


def test_ratios_that_were_kept_wrong_are_computed_anew() -> None:
    stale = Figure("A: peak memory of N1 over fakesieve", "times", (99.0, 99.0))
    assert values_of(assemble_figures(ROWS, [stale]), stale.name) == (3.0, 4.0)


def test_page_in_the_repository_is_what_its_raw_figures_give(tmp_path: Path) -> None:
    raw = Path(shutil.copy(RESULTS / "short.json", tmp_path))
    main(["--from", str(raw)])
    assert (tmp_path / "short.md").read_text() == (RESULTS / "short.md").read_text()
    assert raw.read_text() == (RESULTS / "short.json").read_text()


def test_tables_are_made_again_of_the_clips_and_rounds_that_were_measured(tmp_path: Path) -> None:
    raw = json.loads((RESULTS / "short.json").read_text())
    raw["plan"] |= {"rounds": 7, "sets": [asdict(ClipSet("A", 9, 11, 123, 45, gop=6))]}
    kept = tmp_path / "last-year.json"
    kept.write_text(json.dumps(raw))
    main(["--from", str(kept)])
    page = (tmp_path / "last-year.md").read_text()
    assert "Clips:\n\n- A: 9 x 11 s, 123x45, keyframe every 6 frames\n\n|" in page
    assert "`make bench`, 7 rounds" in page
    assert json.loads(kept.read_text())["plan"] == raw["plan"]


def test_figures_that_do_not_say_their_clips_are_refused_and_left_as_they_are(tmp_path: Path) -> None:
    raw = json.loads((RESULTS / "short.json").read_text())
    del raw["plan"]
    kept = tmp_path / "short.json"
    kept.write_text(json.dumps(raw))
    with pytest.raises(SystemExit, match="does not say on which clips"):
        main(["--from", str(kept)])
    assert json.loads(kept.read_text()) == raw
    assert list(tmp_path.iterdir()) == [kept]
