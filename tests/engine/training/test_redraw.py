"""A network that draws faces anew: it learns to, what it draws is a face, and lies where the face was."""

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.network.lite import LiteStream
from engine.training.faces import FaceContext, FaceRecord, load_context, read_faces
from engine.training.redraw import SIDE, Redrawer, fit_redrawer, load_redrawer, place_drawn
from tests.engine.training.faces import write_face_set
from tests.models import published_lite0_weights

STEPS = 60


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[FaceRecord]:
    return read_faces(write_face_set(tmp_path_factory.mktemp("faces"), people=8))[::2]


@pytest.fixture(scope="module")
def faces(records: list[FaceRecord]) -> list[FaceContext]:
    return [load_context(record) for record in records]


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("imagenet") / "lite0.pth"
    torch.save(published_lite0_weights(LiteStream(with_exit=True)), path)
    return path


@pytest.fixture(scope="module")
def fitted(
    records: list[FaceRecord], imagenet: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[dict[str, float]]]:
    out, lines = tmp_path_factory.mktemp("redraw") / "redraw.pt", []
    return fit_redrawer(records, imagenet, out, seed=1, steps=STEPS, batch=4, on_log=lines.append), lines


@pytest.fixture(scope="module")
def redrawer(fitted: tuple[Path, list[dict[str, float]]]) -> Redrawer:
    return load_redrawer(fitted[0])


def test_what_is_drawn_comes_closer_to_the_face_with_training(
    redrawer: Redrawer, faces: list[FaceContext]
) -> None:
    aligned, _ = redrawer.align(faces[0])
    errors = [
        np.abs(drawn.astype(int) - aligned).mean()
        for drawn in (redrawer.draw(aligned, None, 0.0, rng_of(state)) for state in (0, 2))
    ]
    assert errors[1] < errors[0] < 60, errors


def rng_of(state: int) -> np.random.Generator:
    """A generator whose draw makes the face coarse alike and then chooses this kept state."""
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        side, has_grain = int(rng.integers(28, 64)), rng.random() < 0.5
        if side == 40 and not has_grain and int(rng.integers(3)) == state:
            return np.random.default_rng(seed)
    raise AssertionError("no seed draws that")


def test_the_whole_share_of_a_donor_draws_the_donor(redrawer: Redrawer, faces: list[FaceContext]) -> None:
    face, donor = (redrawer.align(each)[0] for each in faces[:2])
    drawn = redrawer.draw(face, donor, 1.0, rng_of(2))
    np.testing.assert_array_equal(drawn, redrawer.draw(donor, None, 0.0, rng_of(2)))
    assert (drawn != redrawer.draw(face, None, 0.0, rng_of(2))).any()


def test_the_forehead_is_within_the_aligned_face(redrawer: Redrawer, faces: list[FaceContext]) -> None:
    """A mask may reach as far above the brows as they are above the tip of the nose."""
    for face in faces:
        aligned, affine = redrawer.align(face)
        points = face.landmarks @ affine[:, :2].T + affine[:, 2]
        brows, nose = points[17:27, 1].min(), points[30, 1]
        assert aligned.shape == (SIDE, SIDE, 3)
        assert brows - 0.9 * (nose - brows) > 0
        assert points[:, 1].max() < SIDE


def test_a_drawn_face_is_placed_where_its_face_was(redrawer: Redrawer, faces: list[FaceContext]) -> None:
    aligned, affine = redrawer.align(faces[0])
    height, width = faces[0].picture.shape[:2]
    placed = place_drawn(aligned, affine, height, width).astype(int)
    low, high = faces[0].landmarks.min(0).astype(int), faces[0].landmarks.max(0).astype(int)
    inside = (slice(low[1], high[1]), slice(low[0], high[0]))
    assert np.abs(placed[inside] - faces[0].picture[inside].astype(int)).mean() < 6.0


def test_a_fitted_network_is_kept(
    fitted: tuple[Path, list[dict[str, float]]], records: list[FaceRecord], imagenet: Path
) -> None:
    path, lines = fitted
    written = path.stat().st_mtime_ns
    assert fit_redrawer(records, imagenet, path, seed=2, steps=1).stat().st_mtime_ns == written
    assert lines[-1].keys() == {"redraw_step", "pixels", "edges", "features", "critic", "judged"}
