"""Fits a finished model's calibration on people that training never saw, and on forgeries made of them."""

from collections.abc import Iterator

import numpy as np

from engine.aggregate import AggregationParams
from engine.arrays import F64, U8
from engine.backends.protocol import Backend
from engine.backends.select import choose_backend
from engine.bundle import ModelBundle
from engine.calibrate import Calibration, fit_calibration
from engine.training.faces import FaceRecord
from engine.training.pairs import PairMaker, PairRecipe

_BATCH = 16  # pairs
_SEED = 20231107  # of forgeries and degradations: the same faces give the same calibration


def fit_on_faces(
    bundle: ModelBundle, faces: list[FaceRecord], *, fitted_on: str, prior: float
) -> Calibration:
    """Fit a calibration of a model on ``faces``, which are real and unseen.

    Each face is judged once as it is and once forged, by every method in turn, the one that training leaves
    out among them, both halves under one degradation. Raises TooFewLabels for fewer than 25 faces, ValueError
    for a model that cannot tell the kinds apart.
    """
    logit = score_pairs(choose_backend(bundle, "onnxruntime"), draw_pairs(bundle, faces))
    label = np.tile(np.array([0, 1], np.int64), len(logit) // 2)
    return fit_calibration(logit, label, fitted_on=fitted_on, prior=prior)


def draw_pairs(bundle: ModelBundle, faces: list[FaceRecord]) -> Iterator[tuple[U8, U8]]:
    """Yield the crops, each [3, S, S], of every face as it is and forged."""
    recipe = PairRecipe(size=bundle.input_size, grid=bundle.grid)
    maker = PairMaker(faces, recipe, np.random.default_rng(_SEED))
    methods = recipe.judged_methods
    for index in range(len(faces)):
        pair = maker.make(index, methods[index % len(methods)])
        yield pair.real, pair.forged


def score_pairs(backend: Backend, pairs: Iterator[tuple[U8, U8]]) -> F64:
    """Return the logits [2n] of n pairs, real and forged in turns, limited as a video's frames are."""
    limit = AggregationParams().logit_limit
    logits: list[F64] = []
    waiting: list[U8] = []

    def judge() -> None:
        frame, _ = backend.infer(np.stack(waiting))
        logits.append(np.clip((frame[:, 1] - frame[:, 0]).astype(np.float64), -limit, limit))
        waiting.clear()

    for pair in pairs:
        waiting += pair
        if len(waiting) == 2 * _BATCH:
            judge()
    if waiting:
        judge()
    return np.concatenate(logits)
