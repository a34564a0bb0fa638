"""Pairs share everything but the forgery, and people never cross the split."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.errors import EngineError
from engine.training.face_space import fit_face_space, load_face_space
from engine.training.faces import FaceRecord, load_context, read_faces, sampling_weights
from engine.training.forge import ForgeryMethod
from engine.training.pairs import Batch, PairMaker, PairRecipe, PairStream, stack_pairs
from engine.training.redraw import RedrawNet, save_redrawer
from tests.engine.training.faces import BOX, LANDMARKS, write_face_set


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_face_set(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="module")
def records(directory: Path) -> list[FaceRecord]:
    return read_faces(directory)


def _maker(
    records: list[FaceRecord], seed: int = 0, degradation: float = 0.0, scene: float = 0.0
) -> PairMaker:
    return PairMaker(records, PairRecipe(degradation=degradation, scene=scene), np.random.default_rng(seed))


@pytest.mark.parametrize("scene", [0.0, 1.0])
def test_real_and_forged_crops_agree_where_no_patch_is_forged(
    records: list[FaceRecord], scene: float
) -> None:
    maker = _maker(records, scene=scene)
    for method in set(ForgeryMethod) - {ForgeryMethod.EIGENFACE, ForgeryMethod.REDRAWN}:
        pair = maker.make(0, method)
        clean = np.kron(pair.patches == 0, np.ones((16, 16), bool))
        # Cells that the blend's faint border reaches are not marked: they may differ by a few levels.
        difference = np.abs(pair.real.astype(int) - pair.forged.astype(int)).max(0)[clean]
        assert np.mean(difference > 12) < 0.02


def test_forged_patches_lie_where_the_crops_differ(records: list[FaceRecord]) -> None:
    pair = _maker(records, seed=4).make(0, ForgeryMethod.SWAP_FEATHER)
    difference = np.abs(pair.real.astype(float) - pair.forged.astype(float)).mean(0)
    cells = difference.reshape(14, 16, 14, 16).mean((1, 3))
    assert cells[pair.patches > 0.9].mean() > 10 * cells[pair.patches == 0].mean()


def test_the_same_seed_gives_the_same_pairs(records: list[FaceRecord]) -> None:
    first, second = (_maker(records, seed=9, degradation=1.0, scene=1.0).draw() for _ in range(2))
    np.testing.assert_array_equal(first.forged, second.forged)
    np.testing.assert_array_equal(first.patches, second.patches)


def test_faces_are_drawn_anew_only_where_there_is_what_draws_them(
    records: list[FaceRecord], tmp_path: Path
) -> None:
    only = {ForgeryMethod.EIGENFACE: 0.45, ForgeryMethod.REDRAWN: 0.45, ForgeryMethod.SELF_BLEND: 0.1}
    space = fit_face_space(records, tmp_path / "faces.npz", seed=1)
    network = save_redrawer(load_face_space(space).shape, [RedrawNet().state_dict()], tmp_path / "redraw.pt")
    for recipe, unseen in (
        (PairRecipe(methods=only), {ForgeryMethod.EIGENFACE, ForgeryMethod.REDRAWN}),
        (PairRecipe(methods=only, face_space=space), {ForgeryMethod.REDRAWN}),
        (PairRecipe(methods=only, face_space=space, redrawer=network), set()),
    ):
        maker = PairMaker(records, recipe, np.random.default_rng(3))
        assert {maker.draw().method for _ in range(40)} == set(only) - unseen


def test_the_method_that_is_judged_by_is_never_trained_on(tmp_path: Path) -> None:
    whole = PairRecipe(face_space=tmp_path, redrawer=tmp_path).with_share(ForgeryMethod.REDRAWN, 0.4)
    assert set(whole.judged_methods) - set(whole.drawn_methods) == {ForgeryMethod.SWAP_POISSON}
    with pytest.raises(ValueError, match="kept out of training"):
        PairRecipe(methods={ForgeryMethod.SELF_BLEND: 0.5, ForgeryMethod.SWAP_POISSON: 0.5})
    with pytest.raises(ValueError, match="kept out of training"):
        PairRecipe().with_share(ForgeryMethod.SWAP_POISSON, 0.1)


def test_a_share_for_one_method_leaves_the_others_as_they_were_to_each_other() -> None:
    usual = PairRecipe().methods
    shares = PairRecipe().with_share(ForgeryMethod.REDRAWN, 0.4).methods
    assert shares[ForgeryMethod.REDRAWN] == 0.4
    assert sum(shares.values()) == pytest.approx(1.0)
    for method, share in usual.items():
        assert shares[method] == pytest.approx(0.6 * share)
    assert set(PairRecipe().with_share(ForgeryMethod.REDRAWN, 0.0).methods) == set(usual)
    with pytest.raises(ValueError, match="a share of 1"):
        PairRecipe().with_share(ForgeryMethod.REDRAWN, 1.0)


def _first_batch(stream: PairStream) -> Batch:
    batch = next(iter(stream))
    assert not isinstance(batch, EngineError)
    return batch


def test_batches_hold_reals_first_then_their_forgeries(records: list[FaceRecord]) -> None:
    images, labels, patches = _first_batch(PairStream(records, PairRecipe(), 2, seed=1))
    assert images.shape == (4, 3, 224, 224)
    assert images.dtype == torch.uint8
    assert labels.tolist() == [0, 0, 1, 1]
    assert patches[:2].abs().sum().item() == 0.0
    assert patches[2:].sum().item() > 0.0


def test_stacking_keeps_real_and_forgery_of_a_pair_together(records: list[FaceRecord]) -> None:
    maker = _maker(records)
    pairs = [maker.make(i, ForgeryMethod.SELF_BLEND) for i in (0, 1)]
    images, _, patches = stack_pairs(pairs)
    np.testing.assert_array_equal(images[3].numpy(), pairs[1].forged)
    np.testing.assert_array_equal(patches[3].numpy(), pairs[1].patches)


def test_nobody_is_in_both_splits(records: list[FaceRecord]) -> None:
    people = {s: {r.identity for r in records if r.split == s} for s in ("train", "val")}
    assert not people["train"] & people["val"]
    assert people == {"train": {"p0", "p1"}, "val": {"p2", "p3"}}


def test_a_face_that_the_detector_did_not_find_is_left_out(directory: Path, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.npz"
    np.savez(
        boxes,
        path=np.array(["person0.jpg", "person1.jpg"]),
        found=np.array([True, False]),
        box_px=np.array([[1, 2, 30, 40], [0, 0, 1, 1]], np.float32),
    )
    assert [(r.identity, r.box) for r in read_faces(directory, boxes)] == [("p0", (1.0, 2.0, 30.0, 40.0))]


def test_surroundings_keep_landmarks_on_the_face(records: list[FaceRecord]) -> None:
    """Box and landmarks keep their relation after cutting the surroundings out."""
    face = load_context(records[0])
    scale = face.box[2] / BOX[2]
    expected = (LANDMARKS[30] - BOX[:2]) * scale + face.box[:2]
    np.testing.assert_allclose(face.landmarks[30], expected, atol=0.1)


def test_sources_are_weighted(records: list[FaceRecord]) -> None:
    mixed = [replace(records[0], source="ytf"), records[1], records[1]]
    np.testing.assert_allclose(sampling_weights(mixed, {"ytf": 3.0}), [0.6, 0.2, 0.2], atol=1e-6)
