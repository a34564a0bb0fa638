"""``fakesieve results ls`` by filter and order, beside its other options."""

import json

from engine.results import Outcome, VerdictValue
from fakesieve.filters.check import read_filter
from fakesieve.filters.join import join_filter
from tests.factories import make_empty_score, make_score
from tests.fakesieve.cli.conftest import Fleet


def test_analyses_are_listed_by_filter_and_order(fleet: Fleet) -> None:
    for key, score in (("a.mp4", make_score(0.5)), ("b.mp4", make_score(0.9)), ("c.mp4", make_empty_score())):
        fleet.add_result(key, score=score)
    ran = fleet.run("results", "ls", "--filter", "score.raw > 0.4", "--order-by", "score desc", "--json")
    found = [json.loads(line) for line in ran.out.splitlines()]
    assert [each["score_raw"] for each in found] == [0.9, 0.5]
    assert found[0]["policy"] == "balanced@1"
    both = fleet.run("results", "ls", "--filter", "score.raw > 0.4 OR verdict = null", "--outcome", "no_face")
    assert "no face" in both.out
    assert "0.45" not in both.out


def test_a_wrong_filter_says_where(fleet: Fleet) -> None:
    ran = fleet.run("results", "ls", "--filter", "score.raw > high")
    assert ran.code != 0
    assert "INVALID_FILTER: 'high' is no number at letter 13" in ran.err


def test_options_join_a_filter() -> None:
    joined = join_filter("score = 1 OR width = 2", VerdictValue.INCONCLUSIVE, Outcome.SCORED, 'bat"*')
    assert joined == (
        "(score = 1 OR width = 2) AND verdict = inconclusive AND outcome = scored"
        ' AND jobs.batch_id = "bat\\"\\*"'
    )
    assert join_filter(None, None, None, None) is None
    assert read_filter(join_filter(None, None, None, "bat_1")).tree is not None
