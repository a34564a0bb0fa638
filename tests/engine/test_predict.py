"""Crops become log odds and patch maps, in the batch sizes that the engine runs well."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.arrays import F32, U8
from engine.errors import BackendFailed
from engine.faces.align import FaceBatch
from engine.predict import FramePredictions, predict_faces, split_batch

GRID = 3


class MeanBackend:
    """Answers from the mean of a crop; remembers the batches that it was given."""

    name, precision, input_size, grid = "mean", "f32", 8, GRID

    def __init__(self, ladder: tuple[int, ...] = (4, 2, 1), *, has_patches: bool = True) -> None:
        self.ladder = ladder
        self.batches: list[int] = []
        self.has_patches = has_patches

    def infer(self, crops: U8) -> tuple[F32, F32 | None]:
        self.batches.append(len(crops))
        mean = crops.mean(axis=(1, 2, 3), dtype=np.float32)
        logits = np.stack([np.zeros_like(mean), mean - 100], axis=1)
        patches = np.zeros((len(crops), 2, GRID, GRID), np.float32)
        patches[:, 1] = (mean - 100)[:, None, None]
        return logits, patches if self.has_patches else None


def batch_of(values: list[int]) -> FaceBatch:
    count = len(values)
    crops = np.array(values, np.uint8)[:, None, None, None] * np.ones((1, 3, 8, 8), np.uint8)
    numbers = np.arange(count, dtype=np.int64)
    return FaceBatch(
        crops.reshape(count, 3, 8, 8), numbers, numbers, np.zeros((count, 2, 3), np.float32), numbers
    )


def test_each_crop_gets_its_own_answer_in_order() -> None:
    backend = MeanBackend()
    seen = predict_faces(batch_of([90, 100, 103, 97, 160, 0, 101]), backend)
    np.testing.assert_allclose(seen.logit, [-10, 0, 3, -3, 60, -100, 1])
    assert backend.batches == [4, 2, 1]


def test_patches_are_probabilities_in_256_steps() -> None:
    seen = predict_faces(batch_of([100, 103, 0, 255]), MeanBackend())
    assert seen.patches is not None
    assert seen.patches.dtype == np.uint8
    assert seen.patches[:, 1, 2].tolist() == [128, 243, 0, 255]


def test_no_faces_give_no_predictions() -> None:
    backend = MeanBackend()
    seen = predict_faces(batch_of([]), backend)
    assert seen.logit.shape == (0,)
    assert seen.patches is not None
    assert seen.patches.shape == (0, GRID, GRID)
    assert backend.batches == []


def test_a_triage_engine_gives_no_patches() -> None:
    assert predict_faces(batch_of([1, 2, 3]), MeanBackend(has_patches=False)).patches is None


def test_an_engine_whose_maps_are_no_numbers_is_reported() -> None:
    class BrokenBackend(MeanBackend):
        def infer(self, crops: U8) -> tuple[F32, F32 | None]:
            logits, patches = super().infer(crops)
            assert patches is not None
            patches[-1, 1, 0, 0] = np.nan
            return logits, patches

    with pytest.raises(BackendFailed, match="not a number"):
        predict_faces(batch_of([1, 2, 3]), BrokenBackend())


def test_an_engine_that_answers_no_number_is_reported() -> None:
    class BrokenBackend(MeanBackend):
        def infer(self, crops: U8) -> tuple[F32, F32 | None]:
            return np.full((len(crops), 2), np.nan, np.float32), None

    with pytest.raises(BackendFailed, match="not a number"):
        predict_faces(batch_of([1]), BrokenBackend())


@given(
    count=st.integers(0, 70),
    rungs=st.sets(st.integers(2, 32), max_size=4).map(lambda rungs: (*sorted(rungs, reverse=True), 1)),
)
def test_batches_are_rungs_that_add_up(count: int, rungs: tuple[int, ...]) -> None:
    sizes = split_batch(count, rungs)
    assert sum(sizes) == count
    assert set(sizes) <= set(rungs)
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("logit", "patches"),
    [
        (np.zeros((2, 2), np.float32), None),
        (np.array([np.inf], np.float32), None),
        (np.zeros(2, np.float32), np.zeros((1, 3, 3), np.uint8)),
        (np.zeros(2, np.float32), np.zeros((2, 3, 4), np.uint8)),
        (np.zeros(2, np.float32), np.zeros((2, 3, 3), np.float32)),
    ],
)
def test_predictions_check_themselves(logit: F32, patches: U8 | None) -> None:
    with pytest.raises(ValueError, match="are"):
        FramePredictions(logit, patches)
