"""``fakesieve scan`` from its arguments to its exit code."""

import csv
import io
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.backends.select import ENGINES, GPU_ENGINES
from engine.cli import scan_run as scan_module
from engine.cli.batch import Finished
from engine.cli.printers import JsonPrinter
from engine.cli.scan_options import EngineName, PolicyName
from engine.cli.scan_run import choose_sampling, name_policy, run_scan
from engine.output.words import VERDICTS
from engine.policy import PRESETS, Threshold
from engine.results import VerdictValue
from engine.screen import ScanSettings
from tests.assets import pyfeat_clip
from tests.engine.fakes import FAKE_BUNDLE
from tests.engine.output.made_results import make_failed_result
from tests.media import draw_clip


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video with a face, one without, and a file that is none."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "face.mp4").write_bytes(pyfeat_clip("single_face.mp4").read_bytes())
    draw_clip(folder / "drawn.mp4", frames=40)
    (folder / "broken.mp4").write_bytes(b"not a video")
    return folder


def test_each_input_is_one_row_also_a_broken_one(run, random_model: Path, clips: Path) -> None:
    done = run("scan", clips, clips / "missing.mp4", "--model", random_model, "--jsonl")
    documents = [json.loads(line) for line in done.out.splitlines()]
    assert [Path(d["input"]["path"]).name for d in documents] == [
        "broken.mp4",
        "drawn.mp4",
        "face.mp4",
        "missing.mp4",
    ]
    assert [d["outcome"] for d in documents] == ["unscorable", "no_face", "scored", "unscorable"]
    assert done.code == 3


class Interrupted:
    """A scanner that gives as many results as it is told, and is interrupted."""

    results = 0

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def run(self, *_: object) -> Iterator[Finished]:
        for _ in range(self.results):
            yield Finished(make_failed_result(), None)
        raise KeyboardInterrupt


@pytest.mark.parametrize("count", [0, 2])
def test_an_interrupted_array_is_closed(count: int, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(scan_module, "BatchScanner", Interrupted)
    monkeypatch.setattr(Interrupted, "results", count)
    printer = JsonPrinter(with_patches=False)
    with pytest.raises(KeyboardInterrupt):
        run_scan([], FAKE_BUNDLE, ScanSettings(), None, None, printer, jobs=1)
    assert len(json.loads(capsys.readouterr().out)) == count


def test_a_run_that_is_interrupted_before_its_first_input_leaves_no_open_array(
    monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scan_module, "BatchScanner", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_scan([], FAKE_BUNDLE, ScanSettings(), None, None, JsonPrinter(with_patches=False), jobs=1)
    assert capsys.readouterr().out == ""


def test_an_index_is_never_written_over_an_input(run, random_model: Path, clips: Path, tmp_path) -> None:
    video = (clips / "drawn.mp4").read_bytes()
    (tmp_path / "index.html").write_bytes(video)
    done = run("scan", tmp_path / "index.html", "--model", random_model, "--report", "--out", tmp_path)
    assert done.code == 1
    assert "is an input of this scan" in done.err
    assert (tmp_path / "index.html").read_bytes() == video


def test_an_input_whose_files_cannot_be_written_stands_in_the_index(
    run, random_model: Path, clips: Path, tmp_path: Path
) -> None:
    (tmp_path / "face.report.html").mkdir()
    arguments = (clips / "face.mp4", clips / "broken.mp4", "--model", random_model)
    done = run("scan", *arguments, "--max-samples", 8, "--report", "--out", tmp_path)
    assert done.code == 1
    index = (tmp_path / "index.html").read_text()
    assert "face.mp4" in index
    assert "broken.mp4" in index


def test_an_overlay_of_an_earlier_run_does_not_pass_for_this_ones(
    run, random_model: Path, clips: Path, tmp_path: Path
) -> None:
    stale = tmp_path / "broken.overlay.mp4"
    stale.write_bytes(b"old")
    run("scan", clips / "broken.mp4", "--model", random_model, "--overlay", "--out", tmp_path)
    assert not stale.exists()


@pytest.mark.parametrize("option", ["--timeout", "--max-seconds", "--fps"])
def test_what_is_no_number_is_not_understood(run, clips: Path, option: str) -> None:
    assert run("scan", clips, option, "nan").code == 2


def test_accepted_codecs_can_be_set(run, random_model: Path, clips: Path) -> None:
    video = (clips / "drawn.mp4", "--model", random_model, "--jsonl")
    assert json.loads(run("scan", *video, "--codecs", "H264, vp9").out)["error"] is None
    error = json.loads(run("scan", *video, "--codecs", "hevc,vp9").out)["error"]
    assert error["reason"] == "UNSUPPORTED_CODEC"
    assert error["message"] == "the video is coded as h264; accepted are hevc, vp9"
    assert error["hint"] == "convert it to one of hevc, vp9, or accept it"
    unknown = run("scan", *video, "--codecs", "mjpeg")
    assert unknown.code == 2
    assert "codecs are av1, h264" in unknown.err


def test_failures_have_reason_and_hint_on_stderr(run, random_model: Path, clips: Path) -> None:
    done = run("scan", clips / "broken.mp4", "--model", random_model, "--csv")
    lines = done.err.splitlines()
    assert lines[0].startswith("error: ")
    assert "NOT_VIDEO" in lines[0]
    assert lines[1].startswith("hint: ")
    (row,) = csv.DictReader(io.StringIO(done.out))
    assert row["error_reason"] == "NOT_VIDEO"


def test_a_scored_video_ends_with_zero_and_silence(run, random_model: Path, clips: Path) -> None:
    done = run("scan", clips / "face.mp4", "--model", random_model)
    assert done.code == 0
    assert done.err == ""
    (document,) = json.loads(run("scan", clips / "face.mp4", "--model", random_model, "--json").out)
    assert document["score"]["raw"] is not None
    assert VERDICTS[VerdictValue(document["verdict"]["value"])] in done.out


def test_json_is_an_array_also_for_one_input(run, random_model: Path, clips: Path) -> None:
    done = run("scan", clips / "face.mp4", "--model", random_model, "--json", "--patches")
    (document,) = json.loads(done.out)
    assert document["model"]["name"] == "random-compact"
    assert document["tracks"][0]["frames"][0]["patch_map"]["grid"] == 14
    assert document["verdict"]["reasons"][-1] == "UNCALIBRATED"


def test_results_do_not_depend_on_jobs(run, random_model: Path, clips: Path) -> None:
    documents = []
    for jobs in (1, 3):
        done = run("scan", clips, "--model", random_model, "--jsonl", "--jobs", jobs)
        found = [json.loads(line) for line in done.out.splitlines()]
        documents.append([{k: v for k, v in d.items() if k != "timings_ms"} for d in found])
    assert documents[0] == documents[1]


def test_a_folder_gets_documents_maps_overlays_and_pages(
    run, random_model: Path, clips: Path, tmp_path: Path
) -> None:
    done = run(
        "scan", clips, "--model", random_model, "--out", tmp_path, "--overlay", "--report", "--max-samples", 8
    )
    assert done.code == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [
            "broken.json",
            "broken.report.html",
            "drawn.json",
            "drawn.overlay.mp4",
            "drawn.report.html",
            "face.json",
            "face.npz",
            "face.overlay.mp4",
            "face.report.html",
            "index.html",
        ]
    )
    document = json.loads((tmp_path / "face.json").read_text())
    with np.load(tmp_path / "face.npz") as archive:
        assert len(archive["patches"]) == document["coverage"]["faces_scored"] == 8
    assert "NOT_VIDEO" in (tmp_path / "broken.report.html").read_text()


def test_limits_and_sampling_reach_the_engine(run, random_model: Path, clips: Path) -> None:
    common = ("--model", random_model, "--jsonl")
    limited = json.loads(run("scan", clips / "face.mp4", *common, "--max-seconds", 1).out)
    assert limited["error"]["reason"] == "LIMIT_DURATION"
    sampled = json.loads(run("scan", clips / "face.mp4", *common, "--max-samples", 9).out)
    assert sampled["coverage"]["frames_sampled"] == 9


@pytest.mark.parametrize(
    "arguments",
    [
        ["scan"],
        ["scan", "a.mp4", "--json", "--csv"],
        ["scan", "a.mp4", "--patches", "--csv"],
        ["scan", "a.mp4", "--engine", "magic"],
        ["scan", "a.mp4", "--jobs", "0"],
        ["scan", "a.mp4", "--fps", "-1"],
        ["scan", "a.mp4", "--max-seconds", "inf"],
        ["scan", "a.mp4", "--timeout", "inf"],
        ["scan", "a.mp4", "--max-memory", str(10**27)],
        ["scan", "a.mp4", "--max-side", "32767"],
        ["scan", "a.mp4", "--min-side", "100", "--max-side", "99"],
        ["scan", "a.mp4", "--nonsense"],
        ["scan", "a.mp4", "--policy", "harsh"],
    ],
)
def test_what_is_not_understood_ends_with_two_and_prints_no_data(run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert "--help" in done.err


def test_a_model_that_is_not_there_ends_with_one_and_a_hint(run, clips: Path) -> None:
    done = run("scan", clips, "--model", "nothing")
    assert done.code == 1
    assert done.out == ""
    assert "error: MODEL_INVALID: no model 'nothing'" in done.err
    assert "hint: known models:" in done.err


def test_a_closed_stdout_is_told_before_anything_is_scanned(run, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", None)
        done = run("scan", "a.mp4")
    assert done.code == 1
    assert "error: OUTPUT_FAILED: stdout is closed" in done.err


def test_a_folder_that_cannot_be_made_ends_with_one(run, random_model: Path, clips: Path, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    done = run("scan", clips / "face.mp4", "--model", random_model, "--out", tmp_path / "file" / "x")
    assert done.code == 1
    assert "OUTPUT_FAILED" in done.err


def test_an_output_never_takes_the_place_of_an_input(run, random_model: Path, clips: Path, tmp_path) -> None:
    shutil.copy(clips / "face.mp4", tmp_path / "a.mp4")
    (tmp_path / "a.overlay.mp4").write_bytes(b"evidence")
    done = run("scan", tmp_path, "--model", random_model, "--out", tmp_path, "--overlay")
    assert done.code == 1
    assert "a.overlay.mp4 is an input of this scan" in done.err
    assert (tmp_path / "a.overlay.mp4").read_bytes() == b"evidence"


def test_maps_of_an_earlier_run_do_not_stay_beside_a_failure(
    run, random_model: Path, clips: Path, tmp_path
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.npz").write_bytes(b"of another a.mp4")
    run("scan", tmp_path / "a.mp4", "--model", random_model, "--out", tmp_path / "out")
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["a.json"]


def test_the_options_name_every_engine_and_preset() -> None:
    assert [name.value for name in EngineName] == ["auto", *ENGINES, *GPU_ENGINES]
    assert {name.value for name in PolicyName} == {"model", *PRESETS}


def test_sampling_keeps_its_defaults_unless_told() -> None:
    assert (choose_sampling(None, None).rate_hz, choose_sampling(None, None).max_samples) == (1.0, 600)
    assert choose_sampling(4.0, 10).min_samples == 10


def test_the_models_own_thresholds_decide_where_there_are_some() -> None:
    thresholds = tuple(
        Threshold(rate, place, 0.2, 30, 300, extrapolated=False) for rate, place in ((0.1, 0.4), (0.01, 0.8))
    )
    fitted = replace(FAKE_BUNDLE, thresholds=thresholds)
    assert (name_policy(None, fitted).low, name_policy(None, fitted).high) == (0.4, 0.8)
    assert name_policy(PolicyName.STRICT, fitted).name == "strict"
    assert name_policy(None, FAKE_BUNDLE).name == "balanced"
