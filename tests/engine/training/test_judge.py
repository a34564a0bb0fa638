"""Figures of a run against values known beforehand."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from engine.training.judge import area_under_roc

_scores = st.lists(st.integers(-5, 5), min_size=1, max_size=30)


@given(_scores, _scores)
def test_area_under_roc_agrees_with_scikit_learn(forged: list[int], real: list[int]) -> None:
    labels = [1] * len(forged) + [0] * len(real)
    ours = area_under_roc(np.array(forged, float), np.array(real, float))
    assert abs(ours - roc_auc_score(labels, forged + real)) < 1e-12
