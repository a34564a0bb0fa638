"""The command ``fakesieve model``: import, list, show, verify."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from engine.build import checkpoint
from engine.bundle import load_bundle
from engine.cli.model import model
from engine.errors import BundleInvalid
from engine.results import RejectReason
from tests.models import compact_bundle, random_compact

runner = CliRunner()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compact_bundle(tmp_path_factory.mktemp("model") / "bundle").directory


def test_import_writes_a_self_contained_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The checkpoint's reading has its own tests; a small network stands in for 254 MB here.
    monkeypatch.setattr(checkpoint, "import_checkpoint", lambda path, faults_to: random_compact(1))
    (tmp_path / "checkpoint-13.pth.tar").write_bytes(b"tensors")
    out = tmp_path / "mine"
    result = runner.invoke(model, ["import", str(tmp_path / "checkpoint-13.pth.tar"), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}\n"
    bundle = load_bundle(out)
    assert bundle.name == "mine"
    assert bundle.card["source"].startswith("checkpoint checkpoint-13.pth.tar")
    (out / "weights.safetensors").rename(tmp_path / "elsewhere")
    assert b"weights.safetensors" not in (out / "model.onnx").read_bytes()


def test_import_of_another_file_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.ones(1)}, tmp_path / "other.pth")
    result = runner.invoke(model, ["import", str(tmp_path / "other.pth"), "--out", str(tmp_path / "mine")])
    assert isinstance(result.exception, BundleInvalid)
    assert "1 unexpected: fc.weight" in result.exception.seen
    assert not (tmp_path / "mine").exists()
    named = (tmp_path / "mine.keys.txt").read_text().splitlines()
    assert str(tmp_path / "mine.keys.txt") in result.exception.seen
    assert len(named) == 696
    assert sum(line.startswith("missing: ") for line in named) == 695
    assert named[-1] == "unexpected: fc.weight"


@pytest.mark.parametrize("in_the_way", ["mine", "mine/cat.jpg"])
def test_import_refuses_a_wrong_folder_before_it_reads(tmp_path: Path, in_the_way: str) -> None:
    (tmp_path / in_the_way).parent.mkdir(exist_ok=True)
    (tmp_path / in_the_way).write_text("meow")
    result = runner.invoke(model, ["import", str(tmp_path / "none.pth"), "--out", str(tmp_path / "mine")])
    assert isinstance(result.exception, BundleInvalid)
    assert result.exception.reason is RejectReason.OUTPUT_FAILED
    assert (tmp_path / in_the_way).read_text() == "meow"


def test_show_prints_the_manifest(folder: Path) -> None:
    result = runner.invoke(model, ["show", str(folder)])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["network"] == "lv-compact"


def test_list_prints_names_or_json() -> None:
    lines = runner.invoke(model, ["list"]).stdout.splitlines()
    assert json.loads(runner.invoke(model, ["list", "--json"]).stdout) == lines


def test_verify_checks_files_and_engines(folder: Path) -> None:
    result = runner.invoke(model, ["verify", str(folder)])
    assert result.exit_code == 0
    assert "model.onnx: SHA-256 as in the manifest" in result.stdout
    assert "openvino" in result.stdout


def test_verify_refuses_a_changed_bundle(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes() + b" ")
    result = runner.invoke(model, ["verify", str(tmp_path)])
    assert isinstance(result.exception, BundleInvalid)
