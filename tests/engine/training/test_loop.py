"""A run learns, can be stopped, and goes on where it was."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.errors import DataInvalid, Unavailable
from engine.network.variants import build_lv_compact
from engine.results import RejectReason
from engine.training.checkpoint import load_weights
from engine.training.faces import FaceRecord, read_faces
from engine.training.loop import RunSettings, TrainingRun
from engine.training.pairs import PairRecipe
from engine.training.schedule import Schedule
from tests.engine.training.faces import write_face_set


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[FaceRecord]:
    return read_faces(write_face_set(tmp_path_factory.mktemp("faces")))


def _run(
    records: list[FaceRecord], directory: Path, steps: int, *, similarity: bool = False, **other: float
) -> TrainingRun:
    torch.manual_seed(7)
    settings = RunSettings(
        directory=directory,
        schedule=Schedule(peak=1e-3, warmup=2, total=steps, cooldown=0),
        pairs=2,
        workers=0,
        threads=1,
        validation_pairs=1,
        log_every=1,
        similarity=similarity,
    )
    settings = replace(settings, **other)
    train, val = ([r for r in records if r.split == s] for s in ("train", "val"))
    network = build_lv_compact(projection=similarity)
    return TrainingRun(network, train, val, PairRecipe(degradation=0.0), settings)


def test_a_stopped_run_goes_on_from_its_last_step(records: list[FaceRecord], tmp_path: Path) -> None:
    assert _run(records, tmp_path, 2).execute().step == 2
    resumed = _run(records, tmp_path, 3)
    assert (resumed.state.step, resumed.state.images) == (2, 8)
    assert resumed.execute().images == 12
    assert json.loads((tmp_path / "state.json").read_text())["step"] == 3
    load_weights(build_lv_compact(), tmp_path / "best.pt")


def test_both_heads_learn_where_the_forgery_is(records: list[FaceRecord], tmp_path: Path) -> None:
    lines: list[dict[str, float]] = []
    run = _run(records, tmp_path, 1)
    run.execute(lines.append)
    trained = next(line for line in lines if "class" in line)
    assert set(trained) == {"step", "seconds", "class", "patch", "cells"}
    assert all(0 < trained[name] < 10 for name in ("class", "patch", "cells"))


def test_new_layers_learn_faster_than_the_streams(records: list[FaceRecord], tmp_path: Path) -> None:
    run = _run(records, tmp_path, 1)
    before = {name: value.detach().clone() for name, value in run.network.named_parameters()}
    run.execute()
    moved = {n: (p.detach() - before[n]).abs().max().item() for n, p in run.network.named_parameters()}
    # The first step of AdamW moves each number by the rate, whatever its gradient.
    assert moved["fusion.out.weight"] == pytest.approx(3 * moved["rgb.part1_0.0.conv.weight"], rel=0.05)


def test_a_stop_file_ends_the_run_with_a_checkpoint(records: list[FaceRecord], tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    assert _run(records, tmp_path, 5).execute().step == 0
    assert (tmp_path / "last.pt").exists()


class _Killed(BaseException):
    """Ends a run on the spot, as the machine's end would."""


def test_a_killed_run_does_not_put_worse_weights_over_its_best(
    records: list[FaceRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures of a run of a few steps are chance, so they are given."""
    aucs = [0.90, 0.90]
    monkeypatch.setattr("engine.training.loop.measure", lambda *_: {"auc": aucs.pop(0)})
    _run(records, tmp_path, 1, measure_every_s=-1.0).execute()  # measures at each step and at the end

    def kill_at_step_3(line: dict[str, float]) -> None:
        if line["step"] == 3:
            raise _Killed

    aucs[:] = [0.95]
    with pytest.raises(_Killed):
        _run(records, tmp_path, 4, measure_every_s=-1.0).execute(kill_at_step_3)
    best = (tmp_path / "best.pt").read_bytes()

    aucs[:] = [0.94]
    resumed = _run(records, tmp_path, 2)
    assert (resumed.state.best, resumed.state.best_step) == (0.95, 2)
    assert resumed.execute().best == 0.95
    assert aucs == []
    assert (tmp_path / "best.pt").read_bytes() == best


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_has_gone_is_named_from_whichever_process(tmp_path: Path, workers: int) -> None:
    faces = read_faces(write_face_set(tmp_path / "faces"))
    run = _run(faces, tmp_path / "run", 2, workers=workers)
    for face in faces:
        if face.split == "train":
            face.path.unlink()
    with pytest.raises(DataInvalid, match=r"person\d\.jpg is not a readable picture") as caught:
        run.execute()
    assert caught.value.reason is RejectReason.SOURCE_NOT_FOUND


def test_a_log_that_cannot_be_written_is_named(records: list[FaceRecord], tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(Unavailable, match=r"log\.jsonl could not be written: Is a directory") as caught:
        _run(records, tmp_path, 1).execute()
    assert caught.value.reason is RejectReason.OUTPUT_FAILED


def test_similarity_learning_moves_the_projection_head(records: list[FaceRecord], tmp_path: Path) -> None:
    run = _run(records, tmp_path, 2, similarity=True)
    before = {k: v.clone() for k, v in run.network.state_dict().items() if k.startswith("projection")}
    run.execute()
    after = run.network.state_dict()
    assert (before["projection.conv.weight"] - after["projection.conv.weight"]).abs().max().item() > 0.0
