"""Masks on the grid of a face, and how well the map agrees with them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.evaluation.masks import (
    MaskInvalid,
    MaskSeries,
    forged_cells,
    frame_index_at,
    map_overlaps,
    read_masks,
)
from engine.probe import Probe
from engine.sandbox.handle import Sandbox
from tests.engine.made_evidence import CROP, FRAME, GRID, TO_FRAME, make_evidence
from tests.engine.made_probe import make_video_probe
from tests.media import encode_picture

AFFINE = np.array(TO_FRAME, np.float32)  # the crop covers 140 px from (234, 56)
CELL = 140 / GRID


def make_probe(times_us: range) -> Probe:
    return make_video_probe(times_us, duration_us=len(times_us) * times_us.step, size=FRAME)


def mask_of(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """A forged box given in cells of the crop, on the frame."""
    mask = np.zeros((FRAME[1], FRAME[0]), bool)
    x0, y0, x1, y1 = (round(v * CELL) for v in (left, top, right, bottom))
    mask[56 + y0 : 56 + y1, 234 + x0 : 234 + x1] = True
    return mask


def test_mask_lands_on_its_cells() -> None:
    cells, share = forged_cells(mask_of(1, 2, 3, 5), AFFINE, FRAME, CROP, GRID)
    expected = np.zeros((GRID, GRID), bool)
    expected[2:5, 1:3] = True
    np.testing.assert_array_equal(cells, expected)
    assert share == pytest.approx(6 / 49, abs=0.01)


def test_cell_is_forged_from_half_of_its_square_on() -> None:
    cells, _ = forged_cells(mask_of(0, 0, 1.6, 1), AFFINE, FRAME, CROP, GRID)
    assert cells[0, :3].tolist() == [True, True, False]
    cells, _ = forged_cells(mask_of(0, 0, 1.4, 1), AFFINE, FRAME, CROP, GRID)
    assert cells[0, :3].tolist() == [True, False, False]


def test_mask_of_another_resolution_covers_the_same_place() -> None:
    half = mask_of(1, 2, 3, 5)[::2, ::2]
    cells, _ = forged_cells(half, AFFINE, FRAME, CROP, GRID)
    assert (np.argwhere(cells).min(axis=0).tolist(), cells.sum()) == ([2, 1], 6)


def test_overlap_is_the_intersection_over_the_union() -> None:
    hot = np.zeros((GRID, GRID), np.uint8)
    hot[2:5, 1:3] = 255
    evidence = make_evidence({0: [1.0, 1.0]}, patches={(0, 0): hot, (0, 1): np.roll(hot, 1, axis=1)})
    masks = MaskSeries(np.array([0, 6]), np.stack([mask_of(1, 2, 3, 5)] * 2))
    probe = make_probe(range(0, 2_000_000, 200_000))
    # Samples at 0.5 s and 1.5 s are frames 2 and 7, near the masks of frames 0 and 6.
    assert map_overlaps(evidence, probe, masks) == (1.0, pytest.approx(3 / 9))


def test_frames_far_from_any_mask_or_without_a_forged_cell_are_left_out() -> None:
    evidence = make_evidence({0: [1.0, 1.0]})
    probe = make_probe(range(0, 2_000_000, 50_000))
    masks = MaskSeries(np.array([10]), mask_of(1, 1, 2, 2)[None])
    assert map_overlaps(evidence, probe, masks) == (0.0,)  # frame 30 is 20 away
    nothing = MaskSeries(np.array([10]), np.zeros((1, FRAME[1], FRAME[0]), bool))
    assert map_overlaps(evidence, probe, nothing) == ()


def test_face_with_most_of_the_mask_is_the_one_that_counts() -> None:
    evidence = make_evidence({0: [1.0], 1: [1.0]})
    affines = evidence.to_frame.copy()
    affines[1, 0, 2] += 250  # a second face, right of the first
    hot = np.full((2, GRID, GRID), 255, np.uint8)
    hot[0] = 0
    both = replace(evidence, to_frame=affines, patches=hot)
    masks = MaskSeries(np.array([0]), np.roll(mask_of(0, 0, 7, 7), 250, axis=1)[None])
    assert map_overlaps(both, make_probe(range(0, 1_000_000, 500_000)), masks) == (1.0,)


def test_frame_number_comes_from_the_times_of_the_frames() -> None:
    probe = make_probe(range(0, 1_000_000, 40_000))
    assert [frame_index_at(probe, t) for t in (0, 39_999, 40_000, 990_000)] == [0, 0, 1, 24]
    assert frame_index_at(replace(probe, frames_us=np.zeros(0, np.int64)), 400_000) == 10


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    with Sandbox.start() as started:
        yield started


def test_masks_are_read_from_arrays_and_pictures(tmp_path: Path, sandbox: Sandbox) -> None:
    mask = np.zeros((2, 48, 64), bool)
    mask[1, 10:20, 5:15] = True
    np.savez_compressed(tmp_path / "m.npz", frame_index=np.array([0, 6]), mask=mask)
    held = read_masks(tmp_path / "m.npz", sandbox)
    np.testing.assert_array_equal(held.mask, mask)
    gray = np.repeat((mask[1] * 200).astype(np.uint8)[..., None], 3, axis=2)
    (tmp_path / "m.png").write_bytes(encode_picture(gray, "png"))
    np.testing.assert_array_equal(read_masks(tmp_path / "m.png", sandbox).mask[0], mask[1])


@pytest.mark.parametrize("name", ["m.npz", "m.png"])
def test_mask_that_is_none_is_named(tmp_path: Path, sandbox: Sandbox, name: str) -> None:
    (tmp_path / name).write_bytes(b"no mask")
    with pytest.raises(MaskInvalid, match=name):
        read_masks(tmp_path / name, sandbox)


def test_arrays_that_disagree_are_refused(tmp_path: Path, sandbox: Sandbox) -> None:
    np.savez(tmp_path / "m.npz", frame_index=np.array([0, 6]), mask=np.zeros((3, 4, 4), bool))
    with pytest.raises(MaskInvalid, match="n indices"):
        read_masks(tmp_path / "m.npz", sandbox)
    np.savez(tmp_path / "o.npz", frame_index=np.array([{}], object), mask=np.zeros((1, 4, 4), bool))
    with pytest.raises(MaskInvalid, match="pickle"):
        read_masks(tmp_path / "o.npz", sandbox)
