"""Training crops by the boxes that screening would find."""

from pathlib import Path

import cv2
import numpy as np

from engine.training.prepare import detect_boxes
from tests.engine.training.faces import BOX, write_face_set


def test_found_faces_get_the_box_of_the_detector_and_lost_ones_none(tmp_path: Path) -> None:
    faces = write_face_set(tmp_path / "faces", people=2)
    cv2.imwrite(str(faces / "person1.jpg"), np.full((512, 512, 3), 90, np.uint8))
    with np.load(detect_boxes(faces, tmp_path / "boxes.npz")) as boxes:
        assert boxes["path"].tolist() == ["person0.jpg", "person1.jpg"]
        assert boxes["found"].tolist() == [True, False]
        np.testing.assert_allclose(boxes["box_px"][0], BOX, atol=3)


def test_boxes_that_are_there_are_kept(tmp_path: Path) -> None:
    kept = tmp_path / "boxes.npz"
    kept.write_bytes(b"of an earlier run")
    assert detect_boxes(tmp_path / "missing", kept).read_bytes() == b"of an earlier run"
