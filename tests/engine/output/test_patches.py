"""Patch maps in one archive for each video."""

import json
from pathlib import Path

import numpy as np
import pytest

from engine.errors import Unavailable
from engine.output.document import build_document
from engine.output.patches import find_rows, write_patches
from engine.results import EvidenceReason, RejectReason
from tests.engine.made_evidence import GRID
from tests.engine.output.made_results import FORGED_LOGITS, make_result


def test_the_archive_holds_every_scored_face(tmp_path: Path) -> None:
    result = make_result({0: [0.0] * 8, 1: [EvidenceReason.TOO_DARK] * 7 + [2.0]})
    write_patches(result, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        columns = dict(archive)
    assert columns["patches"].shape == (9, GRID, GRID)
    assert columns["patches"].dtype == np.uint8
    assert columns["to_frame"].shape == (9, 2, 3)
    assert columns["track"].tolist() == [0] * 8 + [1]
    assert columns["pts_us"].tolist() == [500_000 + 1_000_000 * i for i in range(8)] + [7_500_000]
    assert columns["score"][-1] == pytest.approx(0.880797, abs=1e-6)
    assert columns["frame_size"].tolist() == [640, 360]
    assert columns["crop_size"] == 224


def test_scores_and_times_of_archive_and_document_agree(tmp_path: Path) -> None:
    result = make_result()
    write_patches(result, tmp_path / "a.npz")
    frames = json.loads(json.dumps(build_document(result)))["tracks"][0]["frames"]
    with np.load(tmp_path / "a.npz") as archive:
        assert archive["pts_us"].tolist() == [frame["pts_us"] for frame in frames]
        assert archive["score"] == pytest.approx([frame["score"] for frame in frames], abs=1e-6)


def test_equal_scans_give_equal_files(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        write_patches(make_result(), tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_rows_lead_from_frames_to_evidence() -> None:
    result = make_result({0: FORGED_LOGITS, 3: FORGED_LOGITS})
    rows = find_rows(result, result.score.tracks[1])
    assert all(result.evidence.track[row] == 3 for row in rows.values())
    assert [result.evidence.pts_us[row] for row in rows.values()] == list(rows)


def test_a_folder_that_is_not_there_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        write_patches(make_result(), tmp_path / "missing" / "a.npz")
    assert caught.value.reason is RejectReason.OUTPUT_FAILED
    assert list(tmp_path.iterdir()) == []
