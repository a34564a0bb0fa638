"""``fakesieve train`` and ``fakesieve model pack``: from faces to a bundle, and what they refuse."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.bundle import file_sha256, load_bundle
from engine.cli.train import build_start
from engine.errors import EngineError
from engine.training.face_space import fit_face_space
from engine.training.faces import FaceRecord, read_faces
from engine.training.forge import ForgeryMethod
from engine.training.loop import RunSettings, TrainingRun
from engine.training.pairs import Batch, PairRecipe, PairStream
from tests.engine.training.faces import write_face_set

SEED = 77
OPTIONS = {
    "--steps": 2, "--cooldown": 1, "--rate": 2e-4, "--pairs": 2, "--threads": 1, "--workers": 1,
    "--degradation": 0.3, "--scene": 0.4, "--averaging": 0.9, "--seed": SEED,
}  # fmt: skip
"""None of them as by default, but ``--workers``: pairs come from another process, as they always do."""


class SmallRun(TrainingRun):
    """A run that judges by one pair of each method, and lets itself be looked at."""

    seen: tuple[RunSettings, PairRecipe, list[FaceRecord], list[FaceRecord]]

    def __init__(self, network, train, val, recipe, run: RunSettings) -> None:
        SmallRun.seen = (run, recipe, train, val)
        small = {**vars(run), "validation_pairs": 1, "log_every": 1}
        super().__init__(network, train, val, recipe, RunSettings(**small))


def _write_boxes(faces: Path, file: Path) -> None:
    """Write the boxes of the index as if the detector had found them, which has its own test."""
    records = read_faces(faces)
    file.parent.mkdir(parents=True, exist_ok=True)
    paths, boxes = [record.path.name for record in records], [record.box for record in records]
    np.savez(file, path=np.array(paths), found=np.ones(len(paths), bool), box_px=np.array(boxes, np.float32))


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """30 people to train on, and as many for validation: the fewest that thresholds are fitted on."""
    return write_face_set(tmp_path / "faces", people=60)


def test_flags_reach_the_run_and_its_best_weights_become_a_bundle(
    run, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.cli.train.TrainingRun", SmallRun)
    out, packed = tmp_path / "run", tmp_path / "packed"
    _write_boxes(faces, out / "boxes.npz")
    flags = [word for option in OPTIONS.items() for word in option]
    trained = run("train", faces, "--out", out, *flags, "--similarity")
    assert trained.code == 0, trained.err
    settings, recipe, train, val = SmallRun.seen
    assert (settings.schedule.total, settings.schedule.cooldown, settings.schedule.peak) == (2, 1, 2e-4)
    assert (settings.pairs, settings.threads, settings.workers) == (2, 1, 1)
    assert (settings.averaging, settings.seed, settings.similarity) == (0.9, SEED, True)
    assert (recipe.degradation, recipe.scene) == (0.3, 0.4)
    assert ForgeryMethod.EIGENFACE in recipe.drawn_methods
    assert (len(train), len(val)) == (30, 30)
    logged = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert {"similarity", "projection", "auc", "auc_swap_poisson"} <= {key for line in logged for key in line}
    assert json.loads((out / "state.json").read_text())["step"] == 2
    (start,) = [json.loads(line) for line in (out / "starts.jsonl").read_text().splitlines()]
    assert (start["step"], start["settings"]["seed"], start["recipe"]["scene"]) == (0, SEED, 0.4)
    assert start["settings"]["schedule"] == {"peak": 2e-4, "warmup": 200, "total": 2, "cooldown": 1}
    assert start["files"]["index"] == file_sha256(faces / "index.csv")
    assert start["files"]["face_space"] == file_sha256(out / "faces.npz")
    assert start["files"]["weights"] is None
    assert start["versions"]["torch"] == str(torch.__version__)
    assert str(tmp_path) not in json.dumps(start)

    card = tmp_path / "card.json"
    card.write_text('{"training": "two steps on one astronaut"}')
    pack = ("model", "pack", out / "best.pt", "--faces", faces, "--boxes", out / "boxes.npz", "--card", card)
    done = run(*pack, "--out", packed, "--name", "trial")
    assert done.code == 0, done.err
    assert done.out == f"{packed}\n"
    bundle = load_bundle(packed)
    assert (bundle.name, bundle.card["training"]) == ("trial", "two steps on one astronaut")
    assert [threshold.count for threshold in bundle.thresholds] == [30, 30, 30]
    assert run("model", "verify", packed).code == 0


def test_the_seed_sets_the_weights_that_a_run_begins_with() -> None:
    first, again, other = (
        build_start(seed, None, None, similarity=False).patch_head.conv.weight for seed in (SEED, SEED, 78)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_train_picture_removed_since_the_boxes_were_found_is_refused(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.cli.train.TrainingRun", SmallRun)
    faces, out = write_face_set(tmp_path / "faces"), tmp_path / "run"
    _write_boxes(faces, out / "boxes.npz")
    records = [record for record in read_faces(faces) if record.split == "train"]
    fit_face_space(records, out / "faces.npz", SEED)
    for record in records:  # which of them is drawn first is chance
        record.path.unlink()
    done = run("train", faces, "--out", out, "--steps", 2, "--cooldown", 0, "--pairs", 2, "--workers", 1)
    assert done.code == 1
    assert done.err.startswith(f"error: SOURCE_NOT_FOUND: {faces}")
    assert done.err.endswith("is not a readable picture\nhint: restore the file or drop its row\n")


class UnreadableStream(PairStream):
    """Pairs that end in a failure of the machine which has nothing to do with the run's folder."""

    def __iter__(self) -> Iterator[Batch | EngineError]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_a_failure_of_the_machine_is_not_blamed_on_the_folder_of_the_run(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.cli.train.TrainingRun", SmallRun)
    monkeypatch.setattr("engine.training.loop.PairStream", UnreadableStream)
    faces, out = write_face_set(tmp_path / "faces"), tmp_path / "run"
    _write_boxes(faces, out / "boxes.npz")
    done = run("train", faces, "--out", out, "--steps", 2, "--cooldown", 0, "--workers", 0)
    assert done.code == 1
    assert "Too many open files" in done.err
    assert "OUTPUT_FAILED" not in done.err
    assert f"{out} could not be written" not in done.err


def test_drawn_forgeries_need_what_they_are_drawn_by(run, tmp_path: Path) -> None:
    done = run("train", tmp_path, "--out", tmp_path / "run", "--redrawn", "0.4")
    assert done.code == 2
    assert "--redrawn needs --imagenet" in done.err
    assert not (tmp_path / "run").exists()


def _begin(run, faces: Path, out: Path):
    return run("train", faces, "--out", out, "--steps", 0, "--cooldown", 0)


def test_a_folder_that_is_not_there_is_refused(run, tmp_path: Path) -> None:
    done = _begin(run, tmp_path / "gone", tmp_path / "run")
    assert done.code == 1
    assert done.err.startswith(f"error: SOURCE_NOT_FOUND: {tmp_path / 'gone' / 'index.csv'} cannot be read")
    assert "\nhint: " in done.err
    assert not (tmp_path / "run").exists()


def test_a_list_with_a_bad_line_or_without_a_split_is_refused(run, tmp_path: Path) -> None:
    faces, boxes = write_face_set(tmp_path / "faces", people=4), tmp_path / "run" / "boxes.npz"
    _write_boxes(faces, boxes)
    index = faces / "index.csv"
    good = index.read_text()
    index.write_text(good.replace(",val,", ",train,"))
    assert "error: INVALID_MANIFEST: " in (done := _begin(run, faces, boxes.parent)).err
    assert "0 faces of split 'val'" in done.err
    index.write_text(good.replace(",val,", ",test,"))
    assert "line 4: split 'test' is neither train nor val\nhint: " in _begin(run, faces, boxes.parent).err


@pytest.mark.parametrize("option", ["--imagenet", "--weights"])
def test_a_file_that_holds_no_weights_is_refused(run, tmp_path: Path, option: str) -> None:
    faces, boxes = write_face_set(tmp_path / "faces", people=4), tmp_path / "run" / "boxes.npz"
    _write_boxes(faces, boxes)
    torch.save({"fc.weight": torch.ones(1)}, tmp_path / "other.pth")
    done = run("train", faces, "--out", boxes.parent, option, tmp_path / "other.pth")
    assert done.code == 1
    assert done.err.startswith("error: MODEL_INVALID: ")


def test_a_cooldown_longer_than_the_run_is_refused(run, tmp_path: Path) -> None:
    done = run("train", tmp_path, "--out", tmp_path / "run", "--steps", 5)
    assert done.code == 2
    assert "--cooldown 1000 is longer" in done.err
    assert done.err.endswith("hint: see 'fakesieve train --help'\n")


def test_packing_what_is_no_weights_is_refused_in_our_words(run, tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_text("no weights")
    pack = ("--faces", tmp_path, "--boxes", tmp_path / "boxes.npz", "--card", tmp_path / "card.json")
    done = run("model", "pack", tmp_path / "bad.pt", *pack, "--out", tmp_path / "packed")
    assert done.code == 1
    assert done.err.startswith("error: MODEL_INVALID: bad.pt is not a checkpoint of tensors alone")
    assert "weights_only" not in done.err
    assert not (tmp_path / "packed").exists()


def test_too_few_faces_end_packing_before_anything_is_written(run, tmp_path: Path) -> None:
    faces, boxes, card = write_face_set(tmp_path / "faces"), tmp_path / "boxes.npz", tmp_path / "card.json"
    _write_boxes(faces, boxes)
    card.write_text("{}")
    torch.save(build_start(1, None, None, similarity=False).state_dict(), tmp_path / "best.pt")
    pack = (
        "model",
        "pack",
        tmp_path / "best.pt",
        "--faces",
        faces,
        "--boxes",
        boxes,
        "--out",
        tmp_path / "packed",
    )
    done = run(*pack, "--card", card)
    assert "error: INVALID_MANIFEST: " in done.err
    assert "2 faces of split 'val', 30 are needed" in done.err
    assert not (tmp_path / "packed").exists()
    card.write_text("[]")
    assert "holds no JSON object whose values are all texts\nhint: " in run(*pack, "--card", card).err
