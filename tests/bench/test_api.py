"""The page of the API's benchmark, and the paths that it asks."""

import json
import os
from pathlib import Path

import pytest

from bench.api import Pick, list_questions, read_cpu_s
from bench.api_report import QUIET, WRITES, Asked, format_page, judge, rewrite_page, write_results

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"
PICK = Pick("fsk_x", "ana_1", "job_1", "vid_1", "2026-01-31T00:00:00Z")


def asked(phase: str, *times_ms: float, goal_ms: float | None = 15.0) -> Asked:
    return Asked("by id", phase, goal_ms, times_ms, load=3.5, writes_per_s=20.0, api_cpu_ms=4.25)


@pytest.mark.parametrize(
    ("times_ms", "goal_ms", "said"),
    [
        ((1.0, 15.0), 15.0, "reached"),
        ((1.0, 15.1), 15.0, "missed"),
        ((1.0,), None, ""),
        ((*[1.0] * 199, 99.0), 15.0, "reached"),  # one of two hundred is beyond the percentile
    ],
)
def test_the_goal_is_for_the_99th_percentile(times_ms, goal_ms, said: str) -> None:
    assert judge(asked(QUIET, *times_ms, goal_ms=goal_ms)) == said


def test_a_line_has_both_phases_each_with_its_load_and_judged_by_itself() -> None:
    page = format_page({"cores": 2}, "a note", [asked(QUIET, 2.0, 4.0), asked(WRITES, 16.0)], 1_000_000)
    assert "# The API over 1,000,000 analyses" in page
    assert "\na note\n" in page
    row = (
        "| by id | 2 | <= 15 | 3.00 | 4.00 | reached | 4.2 | 3.5"
        " | 20.0 | 16.00 | 16.00 | missed | 4.2 | 3.5 |"
    )
    assert page.splitlines()[-1] == row
    head, rule = page.splitlines()[-3:-1]
    assert head.count("|") == rule.count("|") == row.count("|")


def test_a_line_that_was_asked_on_a_quiet_database_only_has_as_many_cells() -> None:
    both = format_page({}, "", [asked(QUIET, 2.0), asked(WRITES, 6.0)], 10).splitlines()[-1]
    quiet = format_page({}, "", [asked(QUIET, 2.0)], 10).splitlines()[-1]
    assert quiet.count("|") == both.count("|")


def test_the_page_is_made_again_from_the_figures_that_were_kept(tmp_path: Path) -> None:
    found = [asked(QUIET, 2.0, 4.0), asked(WRITES, 16.0, goal_ms=None)]
    write_results(tmp_path, {"cores": 2}, "a note", found, 1_000_000)
    first = (tmp_path / "api.md").read_text(encoding="utf-8")
    assert first == format_page({"cores": 2}, "a note", found, 1_000_000)
    (tmp_path / "api.md").unlink()
    assert rewrite_page(tmp_path) == first
    assert (tmp_path / "api.md").read_text(encoding="utf-8") == first


def test_every_path_is_one_of_the_api() -> None:
    known = json.loads(DOCUMENT.read_text(encoding="utf-8"))["paths"]
    for question in list_questions():
        path = question.path(PICK)
        for name, found in (("analysis_id", "ana_1"), ("job_id", "job_1")):
            path = path.replace(found, "{" + name + "}")
        assert "get" in known[path], question.name
        assert set(question.query(PICK)) <= {each.get("name") for each in known[path]["get"]["parameters"]}


def test_processor_time_of_a_process_is_read() -> None:
    assert read_cpu_s(os.getpid()) > 0
