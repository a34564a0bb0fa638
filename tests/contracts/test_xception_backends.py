"""The contract of engines for lv-xception, the paper's network: all answer alike in any batch."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.backends.protocol import Backend
from engine.backends.select import choose_backend
from engine.bundle import ModelBundle
from tests.models import random_crops, xception_bundle
from tests.tolerance import ENGINES_F32

SIDE, GRID, COUNT = 299, 19, 3
# With two threads ONNX Runtime takes two faces at a time, each on a thread of its own.
ENGINES = {"onnxruntime, two faces at a time": ("onnxruntime", 2), "openvino": ("openvino", 1),
           "torch": ("torch", 1)}  # fmt: skip


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelBundle]:
    folder: Path = tmp_path_factory.mktemp("xception-engines")
    made = xception_bundle(folder / "bundle")
    yield made
    for path in made.directory.iterdir():  # 220 MB that no later test needs
        path.unlink()


@pytest.fixture(scope="session")
def expected(bundle: ModelBundle) -> tuple[np.ndarray, np.ndarray]:
    logits, patches = choose_backend(bundle, "onnxruntime", 1).infer(random_crops(COUNT, SIDE))
    assert patches is not None
    return logits, patches


@pytest.fixture(scope="module", params=ENGINES)
def backend(request: pytest.FixtureRequest, bundle: ModelBundle) -> Backend:
    engine, threads = ENGINES[request.param]
    return choose_backend(bundle, engine, threads)


def test_answers_are_large_enough_to_tell(expected: tuple[np.ndarray, np.ndarray]) -> None:
    logits, patches = expected
    assert (logits.shape, patches.shape) == ((COUNT, 2), (COUNT, 2, GRID, GRID))
    assert logits.std() > 100 * ENGINES_F32
    assert patches.std() > 100 * ENGINES_F32


def test_an_engine_gives_the_answers_of_the_others_in_any_batch(
    backend: Backend, expected: tuple[np.ndarray, np.ndarray]
) -> None:
    crops = random_crops(COUNT, SIDE)
    assert (backend.precision, backend.input_size, backend.grid) == ("f32", SIDE, GRID)
    assert backend.ladder == (2, 1)
    for begin, end in ((0, 2), (2, 3)):  # as the ladder cuts three
        seen = backend.infer(crops[begin:end])
        for ours, theirs in zip(seen, expected, strict=True):
            assert ours is not None
            assert ours.dtype == np.float32
            np.testing.assert_allclose(ours, theirs[begin:end], atol=ENGINES_F32, rtol=0)


def test_triage_gives_the_same_logits_without_patches(
    bundle: ModelBundle, expected: tuple[np.ndarray, np.ndarray]
) -> None:
    logits, patches = choose_backend(bundle, "onnxruntime", 1, triage=True).infer(
        random_crops(COUNT, SIDE)[:1]
    )
    assert patches is None
    np.testing.assert_allclose(logits, expected[0][:1], atol=ENGINES_F32, rtol=0)
