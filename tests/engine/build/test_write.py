"""A bundle is written whole or not at all, and only after its graphs passed the gate."""

from pathlib import Path

import pytest
import torch

from engine.backends.eager import load_network
from engine.build.write import write_bundle
from engine.bundle import load_bundle
from engine.calibrate import Calibration, CalibrationMethod
from engine.errors import BundleInvalid
from engine.policy import Threshold
from engine.results import RejectReason
from tests.models import random_compact


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    net = random_compact(1, projection=True)
    calibration = Calibration(CalibrationMethod.TEMPERATURE, 0.7, 0.0, 0.5, 120, "made faces")
    threshold = Threshold(0.05, 0.8, 0.09, 12, 240, extrapolated=False)
    written = write_bundle(
        net,
        tmp_path / "model",
        name="mine",
        share_weights=True,
        calibration=calibration,
        thresholds=[threshold],
        card={"training_data": "none, random weights"},
    )
    read = load_bundle(tmp_path / "model")
    assert read == written
    assert (read.name, read.network, read.has_projection) == ("mine", "lv-compact", True)
    assert read.calibration == calibration
    assert read.thresholds == (threshold,)
    restored = load_network(read).state_dict()
    assert all(torch.equal(value, restored[key]) for key, value in net.state_dict().items())


def test_a_shipped_form_keeps_its_weights_once(tmp_path: Path) -> None:
    write_bundle(random_compact(1), tmp_path / "model", name="m", share_weights=True)
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "model").iterdir()}
    assert set(sizes) == {"manifest.json", "model.onnx", "triage.onnx", "weights.safetensors"}
    assert sum(sizes.values()) < 1.05 * sizes["weights.safetensors"] < 40e6


def test_a_bundle_may_be_replaced_but_nothing_else(tmp_path: Path) -> None:
    net = random_compact(1)
    write_bundle(net, tmp_path / "model", name="first", share_weights=True)
    write_bundle(net, tmp_path / "model", name="second", share_weights=True)
    assert load_bundle(tmp_path / "model").name == "second"
    (tmp_path / "model" / "cat.jpg").write_bytes(b"meow")
    with pytest.raises(BundleInvalid, match=r"not of a bundle: cat\.jpg"):
        write_bundle(net, tmp_path / "model", name="third", share_weights=True)
    assert (tmp_path / "model" / "cat.jpg").exists()


def test_the_folder_one_stands_in_may_become_a_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path / "model")
    written = write_bundle(random_compact(1), Path(), name="m", share_weights=True)
    assert load_bundle(tmp_path / "model").name == "m"
    assert written.directory == tmp_path / "model"
    assert [each.name for each in tmp_path.iterdir()] == ["model"]


def test_a_bundle_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(random_compact(1), tmp_path / "model", name="first", share_weights=True)
    rename = Path.rename

    def refuse_new(self: Path, target: Path) -> Path:
        if (self / "manifest.json").exists() and '"second"' in (self / "manifest.json").read_text():
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_new)
    with pytest.raises(BundleInvalid, match="No space left"):
        write_bundle(random_compact(1), tmp_path / "model", name="second", share_weights=True)
    assert load_bundle(tmp_path / "model").name == "first"
    assert [each.name for each in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(("file", "text"), [("cat.jpg", "meow"), ("manifest.json", '{"name": "a web page"}')])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(BundleInvalid):
        write_bundle(random_compact(1), tmp_path, name="m", share_weights=True)
    assert (tmp_path / file).read_text() == text


def test_a_network_that_its_graph_does_not_match_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = random_compact(1)
    # The exporter reads this constant from the graph's side only, so the two disagree.
    monkeypatch.setattr("engine.build.export.NOISE_CLIP", 0.01)
    with pytest.raises(BundleInvalid, match="differs from the network"):
        write_bundle(net, tmp_path / "model", name="m", share_weights=True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BundleInvalid, match="cannot be written") as refusal:
        write_bundle(random_compact(1), tmp_path / "file" / "model", name="m", share_weights=True)
    assert refusal.value.reason is RejectReason.OUTPUT_FAILED
