"""Weights go from run to run and into a bundle, with and without the projection head."""

import json
import pickle
import resource
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from engine.bundle import WEIGHTS, find_bundle
from engine.errors import BundleInvalid, Unavailable
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


def _tear(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:40])


def test_a_run_whose_checkpoint_is_damaged_is_refused(similar: TwoStreamNet, tmp_path: Path) -> None:
    _save_run(tmp_path, similar)
    _tear(tmp_path / "last.pt")
    with pytest.raises(BundleInvalid) as caught:
        _resume(tmp_path, similarity=True)
    assert caught.value.reason is RejectReason.MODEL_INVALID


def test_a_run_that_was_killed_between_two_files_goes_on_from_the_step_of_its_weights(
    similar: TwoStreamNet, tmp_path: Path
) -> None:
    _save_run(tmp_path, similar)
    (tmp_path / "state.json").write_text(json.dumps(asdict(RunState(step=1))))
    assert _resume(tmp_path, similarity=True).step == 3


def _save_as_before(directory: Path, network: TwoStreamNet) -> None:
    """Write a run as it was written while its state stood beside the checkpoint alone."""
    _save_run(directory, network)
    last = directory / "last.pt"
    content = torch.load(last, weights_only=True)
    del content["state"]
    torch.save(content, last)


def test_a_run_begun_before_its_checkpoint_held_the_state_goes_on(
    similar: TwoStreamNet, tmp_path: Path
) -> None:
    _save_as_before(tmp_path, similar)
    state = RunState(3, 96, 12.5, 0.9, 3, [{"step": 3.0, "auc": 0.9}])
    (tmp_path / "state.json").write_text(json.dumps(asdict(state)))
    assert _resume(tmp_path, similarity=True) == state
    # Its two files may be of two moments: what is in the checkpoint need not be its best.
    assert not (tmp_path / "best.pt").exists()
    _tear(tmp_path / "state.json")
    with pytest.raises(BundleInvalid):
        _resume(tmp_path, similarity=True)


def test_a_run_that_was_killed_before_it_had_written_its_best_weights_has_them(
    similar: TwoStreamNet, tmp_path: Path
) -> None:
    optimizer = torch.optim.SGD(similar.parameters(), lr=0.1)
    averaged = AveragedWeights(similar, 0.9)
    save_checkpoint(tmp_path, similar, averaged, optimizer, RunState(step=3, best=0.95, best_step=3))
    assert _resume(tmp_path, similarity=True).best == 0.95
    best = torch.load(tmp_path / "best.pt", weights_only=True)
    assert best.keys() == averaged.tensors.keys()
    assert all(torch.equal(best[name], tensor) for name, tensor in averaged.tensors.items())


def test_a_full_disk_is_told_as_such_and_leaves_the_checkpoint_before(
    similar: TwoStreamNet, tmp_path: Path
) -> None:
    _save_run(tmp_path, similar)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The system refuses larger files as a full disk does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(Unavailable, match=r"last\.pt could not be written") as caught:
            _save_run(tmp_path, similar)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.reason is RejectReason.OUTPUT_FAILED
    assert {file.name for file in tmp_path.iterdir()} == {"last.pt", "state.json"}
    assert _resume(tmp_path, similarity=True).step == 3
