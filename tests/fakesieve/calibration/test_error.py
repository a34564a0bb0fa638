"""The error of a calibration is that of the curve that is given out, at the prior that it states."""

import random

import pytest

from fakesieve.calibration.error import Judged, estimate_ece, find_ece, judge_held_out, judge_raw
from fakesieve.calibration.fit import Labelled, Method, NotMonotone, fit_curve


def _draw(n_manipulated: int, n_authentic: int, shift: float = 0.0) -> list[Labelled]:
    """Logits of two normal distributions of width 2 at -2 and 2, whose log odds they are, and a shift."""
    draw = random.Random(3)
    kinds = [True] * n_manipulated + [False] * n_authentic
    return [Labelled(draw.gauss(2.0 if kind else -2.0, 2.0) + shift, kind) for kind in kinds]


def test_weights_count_as_so_many_decisions() -> None:
    judged = [Judged(0.9, True), Judged(0.9, False), Judged(0.2, False)]
    weighted = [Judged(0.9, True, 2.0), Judged(0.9, False), Judged(0.2, False, 3.0)]
    repeated = [judged[0], judged[0], judged[1], judged[2], judged[2], judged[2]]
    assert find_ece(weighted) == pytest.approx(find_ece(repeated))
    assert find_ece([Judged(1.0, False, 0.1), Judged(0.0, True, 0.7)]) == 1.0


@pytest.mark.parametrize("prior", [0.5, 0.8, 0.1])
def test_the_error_is_measured_at_the_prior_of_the_curve(prior: float) -> None:
    samples = _draw(800, 200)
    after = estimate_ece(judge_held_out(samples, Method.PLATT, prior))
    assert after.value < 0.05
    curve = fit_curve(samples, Method.PLATT, prior)
    weights = {True: prior / 0.8, False: (1 - prior) / 0.2}
    whole = [Judged(curve.apply(s.logit), s.is_manipulated, weights[s.is_manipulated]) for s in samples]
    assert find_ece(whole) == pytest.approx(after.value, abs=0.03)


def test_the_error_before_is_that_of_the_raw_score_at_the_same_prior() -> None:
    assert find_ece(judge_raw(_draw(400, 100), 0.5)) < 0.07
    assert find_ece(judge_raw(_draw(400, 100, shift=3.0), 0.5)) > 0.2
    assert find_ece(judge_raw(_draw(400, 100), 0.05)) > 0.1


def test_decisions_of_one_kind_have_no_error() -> None:
    with pytest.raises(NotMonotone):
        judge_raw(_draw(10, 0), 0.5)
