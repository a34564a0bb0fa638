"""A packed model verifies, and its thresholds are those of its own scores on unseen real faces."""

from pathlib import Path

import pytest

from engine.backends.select import choose_backend
from engine.bundle import load_bundle
from engine.errors import BundleInvalid
from engine.network.variants import build_lv_compact
from engine.training.faces import read_faces
from engine.training.pack import pack_model, read_card, score_real_faces
from tests.engine.training.faces import write_face_set


def test_thresholds_rest_on_the_scores_of_the_packed_model(tmp_path: Path) -> None:
    faces = read_faces(write_face_set(tmp_path / "faces", people=40))
    pack_model(build_lv_compact(), faces, tmp_path / "model", name="trial", card={"training": "none"})
    bundle = load_bundle(tmp_path / "model")
    assert (bundle.name, bundle.card["training"]) == ("trial", "none")
    assert [threshold.fpr_target for threshold in bundle.thresholds] == [0.1, 0.05, 0.01]
    levels = [threshold.threshold for threshold in bundle.thresholds]
    assert levels == sorted(levels)
    scores = score_real_faces(choose_backend(bundle, "onnxruntime"), faces)
    for threshold in bundle.thresholds:
        assert threshold.count == 40
        assert threshold.exceedances == int((scores >= threshold.threshold).sum())
        assert threshold.extrapolated


def test_a_card_holds_texts_only(tmp_path: Path) -> None:
    card = tmp_path / "card.json"
    card.write_text('{"training data": "faces"}')
    assert read_card(card) == {"training data": "faces"}
    for wrong in ('["faces"]', '{"steps": 3}'):
        card.write_text(wrong)
        with pytest.raises(BundleInvalid, match="no JSON object"):
            read_card(card)
