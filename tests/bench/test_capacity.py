"""The page on capacity says what its formulas give for the figures that were measured."""

import pytest

from bench.capacity import (
    ASSUMPTIONS,
    BEGIN,
    END,
    PAGE,
    Input,
    Sources,
    compute,
    find_load,
    format_number,
    format_tables,
    replace_tables,
)

INPUTS = ASSUMPTIONS | {
    name: Input(name, value, "", "short.json")
    for name, value in {
        "decode": 0.01, "detect": 0.05, "compact": 0.02, "xception": 0.3, "piece": 0.1, "claim": 0.005,
        "postgres": 0.03, "valkey": 0.003, "jobs": 50, "rows": 20, "fixed": 10_000, "frame": 250, "map": 230,
        "evidence": 400,
    }.items()
}  # fmt: skip


def test_the_page_holds_what_is_computed_from_the_results() -> None:
    page = PAGE.read_text(encoding="utf-8")
    told = "run python -m bench.capacity --write"
    assert replace_tables(page, format_tables(Sources())) == page, told


@pytest.mark.parametrize(
    ("minutes", "videos", "samples_of_a_video", "shards"),
    [(0.1, 5000.0, 32, 1), (1, 500.0, 60, 1), (4.4, 500 / 4.4, 264, 3), (30, 500 / 30, 600, 15)],
)
def test_load_follows_the_default_sampling(
    minutes: float, videos: float, samples_of_a_video: float, shards: int
) -> None:
    load = find_load(minutes, 500)
    assert load.videos == pytest.approx(videos)
    assert load.samples == pytest.approx(videos * samples_of_a_video)
    assert (load.shards, load.video_s) == (shards, 30_000)


def test_needs_of_a_minute_are_those_of_the_formulas() -> None:
    needs = {name: value for name, (value, _) in compute(INPUTS, find_load(1, 500)).items()}
    size = 1.5 / 0.7
    assert needs["faces through the network"] == 30_000
    assert needs["cores for finding faces"] == pytest.approx(size * 30_000 * 0.05)
    assert needs["GPUs for lv-xception instead"] == pytest.approx(size * 30_000 / 500)
    assert needs["cores for Postgres"] == pytest.approx(size * 500 * 0.03)
    assert needs["Postgres servers"] == 2
    assert needs["transactions of Postgres"] == 500 * 5
    assert needs["a day of faces and maps"] == pytest.approx(86_400 * 30_000 * 480 / 1e12)
    assert needs["bytes from the store"] == pytest.approx(18.75)


def test_twice_the_video_needs_twice_of_everything_that_can_be_cut() -> None:
    once, twice = (compute(INPUTS, find_load(4.4, hours)) for hours in (500, 1000))
    for name in once.keys() - {"Postgres servers"}:
        assert twice[name][0] == pytest.approx(2 * once[name][0]), name


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.012345, "0.0123"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (30_000, "30,000"),
        (123_456, "123,000"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert format_number(value) == text


def test_tables_replace_what_stood_between_the_marks() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    new = replace_tables(page, "| new |\n")
    assert new == f"before\n{BEGIN}\n\n| new |\n\n{END}\nafter\n"
    assert replace_tables(new, "| new |\n") == new


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="no marks"):
        replace_tables("before\n", "| new |\n")
