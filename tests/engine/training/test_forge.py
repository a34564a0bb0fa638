"""Forgeries: exact masks, nothing changed outside of them, and real faces untouched."""

from pathlib import Path

import numpy as np
import pytest

from engine.training.face_space import fit_face_space, load_face_space
from engine.training.faces import FaceContext, load_context, read_faces
from engine.training.forge import ForgeryMethod, Painters, align_donor, forge_face
from engine.training.redraw import Redrawer, RedrawNet
from tests.engine.training.faces import write_face_set


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> list[FaceContext]:
    directory: Path = write_face_set(tmp_path_factory.mktemp("faces"))
    return [load_context(record) for record in read_faces(directory)]


@pytest.fixture(scope="module")
def painters(tmp_path_factory: pytest.TempPathFactory) -> Painters:
    directory = tmp_path_factory.mktemp("space")
    records = read_faces(write_face_set(directory / "faces"))
    space = load_face_space(fit_face_space(records, directory / "faces.npz", seed=1))
    return Painters(space, Redrawer(space.shape, [RedrawNet()]))


@pytest.mark.parametrize("method", list(ForgeryMethod))
def test_pixels_outside_the_mask_stay_as_they_were(
    faces: list[FaceContext], painters: Painters, method: ForgeryMethod
) -> None:
    for seed in range(6):
        pair = forge_face(faces[0], faces[1], method, np.random.default_rng(seed), painters)
        outside = pair.mask == 0
        assert outside.mean() > 0.3
        np.testing.assert_array_equal(pair.forged[outside], pair.real[outside])


@pytest.mark.parametrize("method", list(ForgeryMethod))
def test_a_forgery_changes_the_face_inside_its_mask(
    faces: list[FaceContext], painters: Painters, method: ForgeryMethod
) -> None:
    pair = forge_face(faces[0], faces[1], method, np.random.default_rng(5), painters)
    inside = pair.mask > 0.5
    change = np.abs(pair.forged.astype(int) - pair.real.astype(int)).mean(-1)
    assert inside.sum() > 100
    assert change[inside].mean() > 1.0


def test_the_mask_lies_on_the_face(faces: list[FaceContext]) -> None:
    for seed in range(8):
        pair = forge_face(faces[0], None, ForgeryMethod.RESYNTHESIS, np.random.default_rng(seed))
        ys, xs = np.nonzero(pair.mask > 0.5)
        low, high = faces[0].landmarks.min(0), faces[0].landmarks.max(0)
        assert low[0] <= xs.mean() <= high[0]
        assert low[1] <= ys.mean() <= high[1]


def test_the_same_seed_gives_the_same_forgery(faces: list[FaceContext]) -> None:
    first, second = (
        forge_face(faces[0], faces[1], ForgeryMethod.SWAP_FEATHER, np.random.default_rng(11))
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.forged, second.forged)
    np.testing.assert_array_equal(first.mask, second.mask)


def test_a_swap_without_a_second_person_is_refused(faces: list[FaceContext]) -> None:
    with pytest.raises(ValueError, match="needs a donor"):
        forge_face(faces[0], None, ForgeryMethod.SWAP_FEATHER, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("method", "missing"),
    [
        (ForgeryMethod.EIGENFACE, "needs a space of faces"),
        (ForgeryMethod.REDRAWN, "needs a network that draws faces"),
    ],
)
def test_what_nobody_can_paint_is_refused(
    faces: list[FaceContext], method: ForgeryMethod, missing: str
) -> None:
    with pytest.raises(ValueError, match=missing):
        forge_face(faces[0], faces[1], method, np.random.default_rng(0))


def test_the_donor_is_laid_on_the_landmarks_of_the_face(faces: list[FaceContext]) -> None:
    """A marker on the donor's nose tip arrives at the nose tip of the face."""
    marked = faces[1].picture.copy()
    x, y = np.round(faces[1].landmarks[30]).astype(int)
    marked[y - 2 : y + 3, x - 2 : x + 3] = (0, 255, 0)
    donor = FaceContext(marked, faces[1].box, faces[1].landmarks)
    laid = align_donor(donor, faces[0]).astype(int)
    green = laid[..., 1] - laid[..., 0] - laid[..., 2]
    ys, xs = np.nonzero(green > 100)
    assert np.hypot(xs.mean() - faces[0].landmarks[30, 0], ys.mean() - faces[0].landmarks[30, 1]) < 2.0
