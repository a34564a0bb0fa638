"""A linear space of faces: what is in it comes back, what needs more components does not."""

from pathlib import Path

import numpy as np
import pytest

from engine.training.face_space import SIDE, FaceSpace, fit_face_space, load_face_space, place_row
from engine.training.faces import FaceContext, FaceRecord, load_context, read_faces
from tests.engine.training.faces import write_face_set


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[FaceRecord]:
    # Every second face is mirrored without its landmarks being named anew: no mean face has such a shape.
    return read_faces(write_face_set(tmp_path_factory.mktemp("faces"), people=16))[::2]


@pytest.fixture(scope="module")
def faces(records: list[FaceRecord]) -> list[FaceContext]:
    return [load_context(record) for record in records]


@pytest.fixture(scope="module")
def space(records: list[FaceRecord], tmp_path_factory: pytest.TempPathFactory) -> FaceSpace:
    out = tmp_path_factory.mktemp("space") / "faces.npz"
    return load_face_space(fit_face_space(records, out, seed=1))


def test_components_are_orthonormal(space: FaceSpace) -> None:
    products = space.components @ space.components.T
    # Kept as float16: a length is right to three digits.
    np.testing.assert_allclose(products, np.eye(len(products)), atol=5e-3)


def test_a_face_that_was_fitted_comes_back_from_all_components(
    space: FaceSpace, faces: list[FaceContext]
) -> None:
    row, _ = space.align(faces[0])
    drawn = space.rebuild(row, None, 0.0, len(space.components))
    assert np.abs(drawn - row).mean() < 1.0


def test_fewer_components_draw_a_poorer_face(space: FaceSpace, faces: list[FaceContext]) -> None:
    row, _ = space.align(faces[0])
    errors = [np.abs(space.rebuild(row, None, 0.0, kept) - row).mean() for kept in (1, 4, 7)]
    assert errors[0] > errors[1] > errors[2]


def test_the_whole_share_of_a_donor_draws_the_donor(space: FaceSpace, faces: list[FaceContext]) -> None:
    row, donor = space.align(faces[0])[0], space.align(faces[1])[0]
    drawn = space.rebuild(row, donor, 1.0, len(space.components))
    assert np.abs(drawn - donor).mean() < 1.0
    assert np.abs(drawn - row).mean() > 5.0


def test_landmarks_of_every_face_fall_on_those_of_the_mean_face(
    space: FaceSpace, faces: list[FaceContext]
) -> None:
    for face in faces:
        _, affine = space.align(face)
        placed = face.landmarks @ affine[:, :2].T + affine[:, 2]
        assert np.abs(placed - space.shape).max() < 2.0


def test_a_row_is_placed_where_its_face_was(space: FaceSpace, faces: list[FaceContext]) -> None:
    row, affine = space.align(faces[0])
    height, width = faces[0].picture.shape[:2]
    placed = place_row(row, affine, height, width).astype(int)
    low, high = faces[0].landmarks.min(0).astype(int), faces[0].landmarks.max(0).astype(int)
    inside = (slice(low[1], high[1]), slice(low[0], high[0]))
    assert np.abs(placed[inside] - faces[0].picture[inside].astype(int)).mean() < 6.0


def test_a_fitted_space_is_kept(records: list[FaceRecord], tmp_path: Path) -> None:
    out = fit_face_space(records, tmp_path / "faces.npz", seed=1)
    written = out.stat().st_mtime_ns
    assert fit_face_space(records, out, seed=2).stat().st_mtime_ns == written


def test_components_of_another_size_are_refused() -> None:
    size = SIDE * SIDE * 3
    with pytest.raises(ValueError, match="do not fit"):
        FaceSpace(np.zeros((68, 2), np.float32), np.zeros(size, np.float32), np.zeros((3, 7), np.float32))
