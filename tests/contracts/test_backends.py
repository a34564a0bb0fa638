"""One contract for all engines: the same crops, the same answers."""

import numpy as np
import pytest

from engine.backends.protocol import Backend
from engine.backends.select import ENGINES, choose_backend
from engine.bundle import ModelBundle
from engine.predict import split_batch
from tests.models import compact_bundle, random_crops
from tests.tolerance import ENGINES_F32


@pytest.fixture(scope="module", params=[True, False], ids=["shared weights", "folded"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return compact_bundle(tmp_path_factory.mktemp("model") / "bundle", share_weights=request.param)


@pytest.fixture(scope="module", params=ENGINES)
def backend(request: pytest.FixtureRequest, bundle: ModelBundle) -> Backend:
    return choose_backend(bundle, request.param, 1)


@pytest.fixture(scope="module")
def expected(bundle: ModelBundle) -> tuple[np.ndarray, np.ndarray]:
    logits, patches = choose_backend(bundle, "onnxruntime", 1).infer(random_crops(5, 224))
    assert patches is not None
    return logits, patches


def test_an_engine_says_what_it_is(backend: Backend, bundle: ModelBundle) -> None:
    assert backend.name in ENGINES
    assert backend.precision == "f32"
    assert (backend.input_size, backend.grid) == (bundle.input_size, bundle.grid)
    assert backend.ladder[-1] == 1
    assert list(backend.ladder) == sorted(backend.ladder, reverse=True)


def test_answers_are_those_of_every_other_engine(
    backend: Backend, expected: tuple[np.ndarray, np.ndarray]
) -> None:
    seen = backend.infer(random_crops(5, 224))
    for ours, theirs in zip(seen, expected, strict=True):
        assert ours is not None
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, atol=ENGINES_F32, rtol=0)


def test_answers_do_not_depend_on_the_batch(backend: Backend) -> None:
    crops, start = random_crops(5, 224), 0
    together = backend.infer(crops)[0]
    for size in split_batch(5, backend.ladder):
        alone = backend.infer(crops[start : start + size])[0]
        np.testing.assert_allclose(alone, together[start : start + size], atol=ENGINES_F32, rtol=0)
        start += size


def test_answers_are_the_same_twice_and_stay_as_they_were(backend: Backend) -> None:
    crops = random_crops(2, 224)
    first = backend.infer(crops)
    kept = [array.copy() for array in first if array is not None]
    backend.infer(255 - crops)
    second = backend.infer(crops)
    for before, kept_before, after in zip(first, kept, second, strict=True):
        assert before is not None
        np.testing.assert_array_equal(before, kept_before)
        np.testing.assert_array_equal(before, after)


def test_crops_of_a_read_only_slab_are_taken(backend: Backend) -> None:
    crops = random_crops(1, 224)
    crops.setflags(write=False)
    assert backend.infer(crops)[0].shape == (1, 2)


@pytest.mark.parametrize(
    "crops",
    [
        np.zeros((1, 3, 299, 299), np.uint8),
        np.zeros((1, 224, 224, 3), np.uint8),
        np.zeros((1, 3, 224, 224), np.float32),
        np.zeros((0, 3, 224, 224), np.uint8),
        np.zeros((), np.uint8),
    ],
    ids=["size", "order", "type", "none", "number"],
)
def test_other_arrays_are_refused(backend: Backend, crops: np.ndarray) -> None:
    with pytest.raises(ValueError, match="crops are uint8"):
        backend.infer(crops)


@pytest.mark.parametrize("engine", ENGINES)
def test_triage_gives_the_same_logits_without_patches(
    engine: str, bundle: ModelBundle, expected: tuple[np.ndarray, np.ndarray]
) -> None:
    logits, patches = choose_backend(bundle, engine, 1, triage=True).infer(random_crops(5, 224))
    assert patches is None
    np.testing.assert_allclose(logits, expected[0], atol=ENGINES_F32, rtol=0)
