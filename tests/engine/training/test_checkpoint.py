"""Weights go from run to run and into a bundle, with and without the projection head."""

import pickle
from pathlib import Path

import pytest
import torch

from engine.bundle import WEIGHTS, find_bundle
from engine.errors import BundleInvalid
from engine.model_names import DEFAULT_MODEL
from engine.network.two_stream import TwoStreamNet
from engine.network.variants import build_lv_compact
from engine.results import RejectReason
from engine.training.checkpoint import (
    AveragedWeights,
    RunState,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)

PROJECTION = "projection.conv.weight"


@pytest.fixture(scope="module")
def similar() -> TwoStreamNet:
    return build_lv_compact(projection=True)


def test_a_projection_that_the_network_lacks_is_dropped(similar: TwoStreamNet, tmp_path: Path) -> None:
    save_weights(tmp_path / "best.pt", similar.state_dict())
    network = build_lv_compact()
    load_weights(network, tmp_path / "best.pt")
    assert torch.equal(network.state_dict()["patch_head.conv.weight"], similar.patch_head.conv.weight)


def test_a_projection_that_the_file_lacks_stays_as_it_was_made() -> None:
    network = build_lv_compact(projection=True)
    made = network.state_dict()[PROJECTION].clone()
    random = network.patch_head.conv.weight.detach().clone()
    load_weights(network, find_bundle(DEFAULT_MODEL) / WEIGHTS)
    assert torch.equal(network.state_dict()[PROJECTION], made)
    assert not torch.equal(network.patch_head.conv.weight, random)


def _write_bad(directory: Path, kind: str) -> Path:
    path = directory / f"{kind}.{'safetensors' if kind == 'header' else 'pt'}"
    if kind == "other":
        torch.save({"fc.weight": torch.ones(1)}, path)
    elif kind == "run":
        torch.save({"network": {}, "averaged": {}, "optimizer": {}}, path)
    elif kind == "code":
        path.write_bytes(pickle.dumps(Path))
    elif kind != "gone":
        path.write_bytes(b"neither a header nor a pickle")
    return path


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("gone", "cannot be read"),
        ("text", "not a checkpoint of tensors alone"),
        ("code", "not a checkpoint of tensors alone"),
        ("header", "cannot be read"),
        ("other", r"of another network: \d+ tensors missing, 1 unexpected"),
        ("run", "checkpoint to resume from"),
    ],
)
def test_files_that_are_no_weights_are_refused_with_a_cure(tmp_path: Path, kind: str, seen: str) -> None:
    with pytest.raises(BundleInvalid, match=seen) as caught:
        load_weights(build_lv_compact(), _write_bad(tmp_path, kind))
    assert caught.value.reason is RejectReason.MODEL_INVALID
    assert "weights_only" not in str(caught.value)


def _save_run(directory: Path, network: TwoStreamNet) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    save_checkpoint(directory, network, AveragedWeights(network, 0.9), optimizer, RunState(step=3))


def _resume(directory: Path, *, similarity: bool) -> RunState:
    network = build_lv_compact(projection=similarity)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    return load_checkpoint(directory, network, AveragedWeights(network, 0.9), optimizer)


@pytest.mark.parametrize("was", [True, False])
def test_a_run_is_not_resumed_with_other_losses(*, was: bool, tmp_path: Path) -> None:
    _save_run(tmp_path, build_lv_compact(projection=was))
    assert _resume(tmp_path, similarity=was).step == 3
    begun = "with" if was else "without"
    with pytest.raises(BundleInvalid, match=f"begun {begun} --similarity") as caught:
        _resume(tmp_path, similarity=not was)
    assert caught.value.hint.startswith(f"resume it {begun} --similarity")


@pytest.mark.parametrize("torn", ["last.pt", "state.json"])
def test_a_run_with_a_damaged_file_is_refused(similar: TwoStreamNet, tmp_path: Path, torn: str) -> None:
    _save_run(tmp_path, similar)
    (tmp_path / torn).write_bytes((tmp_path / torn).read_bytes()[:40])
    with pytest.raises(BundleInvalid) as caught:
        _resume(tmp_path, similarity=True)
    assert caught.value.reason is RejectReason.MODEL_INVALID
