"""A calibration fitted on unseen faces, and its way from there into the scores of a scan."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from engine.arrays import F32, U8
from engine.bundle import ModelBundle, load_bundle, write_manifest
from engine.calibrate import TooFewLabels, to_logit
from engine.cli.model import model
from engine.errors import BundleInvalid, DataInvalid
from engine.policy import Threshold
from engine.results import RejectReason
from engine.sandbox.handle import Sandbox
from engine.screen import open_tools, scan_video
from engine.training.faces import read_faces
from engine.training.probabilities import draw_pairs, fit_on_faces, score_pairs
from tests.assets import astronaut
from tests.engine.training.faces import write_face_set
from tests.media import encode_picture
from tests.models import compact_bundle

runner = CliRunner()


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_face_set(tmp_path_factory.mktemp("probabilities") / "faces", people=50)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return compact_bundle(tmp_path_factory.mktemp("probabilities") / "bundle")


@pytest.fixture
def bundle(made: ModelBundle, tmp_path: Path) -> Path:
    """A folder of a model with two thresholds, for each test its own."""
    folder = tmp_path / "model"
    shutil.copytree(made.directory, folder)
    thresholds = (Threshold(0.1, 0.7, 0.12, 137, 1375, False), Threshold(0.01, 0.9, 0.02, 13, 1375, False))
    write_manifest(replace(made, directory=folder, thresholds=thresholds))
    return folder


class CountingBackend:
    """Answers with the number of the crop, so that order and limits show."""

    name, precision, input_size, grid, ladder = "counting", "f32", 8, 2, (32,)

    def __init__(self) -> None:
        self.seen = 0

    def infer(self, crops: U8) -> tuple[F32, F32]:
        numbers = np.arange(self.seen, self.seen + len(crops), dtype=np.float32)
        self.seen += len(crops)
        logits = np.stack([np.zeros_like(numbers), numbers], axis=1)
        return logits, np.zeros((len(crops), 2, 2, 2), np.float32)


def test_pairs_are_scored_in_order_and_within_the_limit_of_a_frame() -> None:
    crop = np.zeros((3, 8, 8), np.uint8)
    found = score_pairs(CountingBackend(), iter([(crop, crop)] * 20))
    assert found.tolist() == [min(float(number), 8.0) for number in range(40)]


def test_every_face_gives_a_pair_and_the_same_ones_each_time(faces: Path, made: ModelBundle) -> None:
    held_out = [face for face in read_faces(faces) if face.split == "val"]
    first, second = list(draw_pairs(made, held_out)), list(draw_pairs(made, held_out))
    assert len(first) == 25
    assert all((a[1] == b[1]).all() for a, b in zip(first, second, strict=True))
    assert sum(bool((real != forged).any()) for real, forged in first) > 15  # all faces here are alike


def test_few_faces_give_no_calibration(faces: Path, made: ModelBundle) -> None:
    with pytest.raises(TooFewLabels, match="6 videos with 3 of the rarer kind"):
        fit_on_faces(made, read_faces(faces)[:3], fitted_on="few", prior=0.5)


def test_a_calibration_goes_from_the_evaluation_into_the_scores_of_a_scan(
    bundle: Path, tmp_path: Path, sandbox: Sandbox
) -> None:
    before = load_bundle(bundle)
    fitted = {"method": "platt", "slope": 0.5, "intercept": -1.0, "prior": 0.2, "count": 600,
              "fitted_on": "drawn", "ece": 0.01, "brier": 0.1}  # fmt: skip
    thresholds = [threshold.to_json() for threshold in before.thresholds]
    form = {
        "run": {"weights_sha256": before.weights_sha256},
        "fits": {"calibration": fitted, "thresholds": thresholds},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(form))
    asked = ["calibrate", str(bundle), "--metrics", str(tmp_path / "metrics.json")]
    (bundle / "manifest.json.partial").mkdir()  # stands in for a folder that may not be written to
    refused = runner.invoke(model, asked)
    assert isinstance(refused.exception, BundleInvalid)
    assert refused.exception.reason is RejectReason.OUTPUT_FAILED
    (bundle / "manifest.json.partial").rmdir()
    told = runner.invoke(model, asked)
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout) == fitted
    picture = tmp_path / "face.png"
    picture.write_bytes(encode_picture(astronaut(), "png"))
    after = load_bundle(bundle)
    score = scan_video(picture, open_tools(after, sandbox, engine="onnxruntime", threads=1)).score
    assert score is not None
    assert score.raw is not None
    logit = float(to_logit(np.array(score.raw)))
    assert score.calibrated == pytest.approx(1 / (1 + math.exp(-(0.5 * logit - 1))), abs=1e-6)


def test_people_of_a_face_folder_calibrate_a_model(
    faces: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A network without training tells nothing apart; half of its answers are moved to where they belong.
    monkeypatch.setattr(
        "engine.training.probabilities.score_pairs",
        lambda backend, pairs: np.tile([-1.0, 1.0], sum(1 for _ in pairs)) * np.linspace(-0.5, 3, 50),
    )
    before, listed = load_bundle(bundle), read_faces(faces)
    boxes = tmp_path / "boxes.npz"
    paths, found = [face.path.name for face in listed], np.ones(len(listed), bool)
    np.savez(boxes, path=paths, found=found, box_px=np.array([face.box for face in listed], np.float32))
    options = ["--faces", str(faces), "--boxes", str(boxes), "--prior", "0.1"]
    told = runner.invoke(model, ["calibrate", str(bundle), *options])
    assert told.exit_code == 0, told.output
    after = load_bundle(bundle).calibration
    assert after is not None
    assert (after.prior, after.count, after.to_json()) == (0.1, 50, json.loads(told.stdout))
    assert [t.exceedances for t in load_bundle(bundle).thresholds] == [
        t.exceedances for t in before.thresholds
    ]
    assert load_bundle(bundle).thresholds != before.thresholds


def test_a_set_that_gives_nothing_is_told_with_a_hint(bundle: Path, tmp_path: Path) -> None:
    told = runner.invoke(model, ["calibrate", str(bundle), "--metrics", "none.json"])
    assert isinstance(told.exception, BundleInvalid)
    assert "no calibration" in told.exception.seen
    boxes = str(tmp_path / "b.npz")
    told = runner.invoke(model, ["calibrate", str(bundle), "--faces", str(tmp_path), "--boxes", boxes])
    assert isinstance(told.exception, DataInvalid)
    assert told.exception.reason is RejectReason.SOURCE_NOT_FOUND
    assert "docs/howto/train.md" in told.exception.hint


@pytest.mark.parametrize(
    "options", [[], ["--faces", "a"], ["--boxes", "b"], ["--metrics", "m", "--boxes", "b"]]
)
def test_one_source_is_asked_for(bundle: Path, options: list[str]) -> None:
    assert runner.invoke(model, ["calibrate", str(bundle), *options]).exit_code == 2
