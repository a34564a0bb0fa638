"""How far first and second looks agree, beyond chance."""

import pytest

from fakesieve.reviews.again import ask_second_opinion
from fakesieve.reviews.agreement import (
    PAIRS_MIN,
    Agreement,
    Pair,
    list_pairs,
    measure,
    measure_people,
    measure_queues,
)
from fakesieve.reviews.claim import claim_item, claim_next
from fakesieve.reviews.decide import decide_item, undo_decision
from fakesieve.values.reviews import DecisionDraft, Disposition, ReasonCode
from tests.fakesieve.reviews.conftest import Desk

FAKE, REAL = Disposition.CONFIRMED_MANIPULATED, Disposition.CONFIRMED_AUTHENTIC


def pair(first: Disposition, second: Disposition, count: int, queue: str = "q", by: str = "usr_a") -> Pair:
    return Pair(queue, by, "usr_b", first, second, count)


def test_kappa_is_that_of_the_textbook() -> None:
    # Cohen's kappa of 20 and 15 agreed of 50, with margins 25/25 and 30/20: (0.7 - 0.5) / (1 - 0.5).
    found = measure([pair(FAKE, FAKE, 20), pair(FAKE, REAL, 5), pair(REAL, FAKE, 10), pair(REAL, REAL, 15)])
    assert (found.pairs, found.same, found.share) == (50, 35, 0.7)
    assert found.by_chance == pytest.approx(0.5)
    assert found.kappa == pytest.approx(0.4)


@pytest.mark.parametrize(
    "pairs",
    [[], [pair(FAKE, FAKE, PAIRS_MIN - 1)], [pair(FAKE, FAKE, PAIRS_MIN)]],
    ids=["none", "too few", "always the same"],
)
def test_kappa_is_not_made_up(pairs: list[Pair]) -> None:
    assert measure(pairs).kappa is None


def test_chance_is_not_agreement() -> None:
    found = measure([pair(first, second, 10) for first in (FAKE, REAL) for second in (FAKE, REAL)])
    assert found.kappa == pytest.approx(0.0)


def test_queues_and_people_are_measured_apart() -> None:
    pairs = [pair(FAKE, FAKE, 3, "one"), pair(FAKE, REAL, 1, "two", by="usr_c")]
    assert {name: (each.pairs, each.same) for name, each in measure_queues(pairs).items()} == {
        "one": (3, 3), "two": (1, 0),
    }  # fmt: skip
    assert {name: (each.pairs, each.same) for name, each in measure_people(pairs).items()} == {
        "usr_a": (3, 3), "usr_b": (4, 3), "usr_c": (1, 0),
    }  # fmt: skip


def test_numbers_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="among all pairs"):
        Agreement(1, 2, 0.5)


def test_a_pair_is_a_decision_that_stands_with_a_second_one_that_stands(desk: Desk) -> None:
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        item = str(claim_next(session, desk.queue_id, "usr_a"))
        decide_item(session, item, "usr_a", DecisionDraft(FAKE, ReasonCode.VISIBLE_ARTEFACTS))
        second = ask_second_opinion(session, item, "usr_a")
        assert list_pairs(session) == []
        claim_item(session, second, "usr_b")
        decide_item(session, second, "usr_b", DecisionDraft(REAL, ReasonCode.NO_SIGN_FOUND))
        assert list_pairs(session) == [Pair(desk.queue_id, "usr_a", "usr_b", FAKE, REAL, 1)]
        undo_decision(session, second, "usr_b")
        assert list_pairs(session) == []
