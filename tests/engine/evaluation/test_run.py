"""An evaluation from a list of files to the page, through the real pipeline with a quick network."""

import csv
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from engine.cli import evaluate as command
from engine.cli.scan_options import EngineName, PrecisionName
from engine.errors import BackendMissing, MediaRejected
from engine.evaluation.files import COLUMNS, METRICS_NAME, SCORES_NAME
from engine.evaluation.frames import decode_picture
from engine.evaluation.manifest import read_items
from engine.evaluation.report import REPORT_NAME
from engine.evaluation.run import find_peak, highest_per_sample, screen_items
from engine.limits import Limits
from engine.results import EvidenceReason, Outcome
from engine.sandbox.handle import Sandbox
from engine.screen import ScanSettings
from tests.engine.fakes import BOX, FAKE_BUNDLE, fake_tools
from tests.engine.made_evidence import make_evidence
from tests.media import draw_clip, encode_picture, scene


def paint_face(shade: int):
    """Return a painter that puts a face of that brightness where the quick detector looks."""

    def paint(index: int, rgb: np.ndarray) -> None:
        random = np.random.default_rng(index)
        height, width = rgb.shape[:2]
        left, top, w, h = (round(v * s) for v, s in zip(BOX, (width, height, width, height), strict=True))
        noise = random.integers(-25, 26, (h + 20, w + 20, 1))
        rgb[top - 10 : top + h + 10, left - 10 : left + w + 10] = np.clip(shade + noise, 0, 255)

    return paint


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two real and two forged clips, a forged picture, a broken file, and masks for two of them."""
    folder = tmp_path_factory.mktemp("evaluated")
    rows = ["path,label,method,subset,pair_id,mask"]
    for number in range(2):
        draw_clip(folder / f"r{number}.mp4", width=480, height=360, frames=20, paint=paint_face(100 + number))
        draw_clip(folder / f"f{number}.mp4", width=480, height=360, frames=20, paint=paint_face(160 + number))
        rows += [f"r{number}.mp4,0,,clips,{number},", f"f{number}.mp4,1,bright,clips,{number},m{number}.npz"]
    mask = np.zeros((1, 360, 480), bool)
    mask[:, 60:300, 100:330] = True
    np.savez_compressed(folder / "m0.npz", frame_index=np.array([10]), mask=mask)
    (folder / "m1.npz").write_bytes(b"broken")
    picture = scene(480, 360, 3)
    paint_face(150)(0, picture)
    (folder / "p.png").write_bytes(encode_picture(picture, "png"))
    (folder / "broken.mp4").write_bytes(b"<html>no video</html>" * 100)
    rows += ["p.png,1,painted,pictures,,", "broken.mp4,0,,clips,,"]
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def written(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the command writes, its network and detector replaced by quick ones."""
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "open_bundle", lambda name: FAKE_BUNDLE)
        patch.setattr(command, "open_tools", lambda bundle, sandbox, **options: fake_tools(sandbox))
        with pytest.raises(command.typer.Exit) as stopped:
            command.evaluate(files, out=out, jobs=2)
    assert stopped.value.exit_code == 3  # one file could not be scored
    return out


def test_results_stand_in_the_order_of_the_list_and_broken_files_end_nothing(files: Path) -> None:
    items = read_items(files)
    with Sandbox.start() as sandbox:
        seen: list[str] = []
        results = screen_items(
            items, [fake_tools(sandbox)], ScanSettings(), lambda result: seen.append(result.item.name)
        )
    assert [result.item for result in results] == list(items)
    assert sorted(seen) == sorted(item.name for item in items)
    broken = results[-1]
    assert (broken.outcome, broken.raw, broken.reasons) == (Outcome.UNSCORABLE, None, ("NOT_VIDEO",))
    assert results[3].mask_error is not None
    assert "m1.npz" in results[3].mask_error
    assert len(results[1].overlaps) > 0


def test_metrics_are_written_for_programs(written: Path) -> None:
    form = json.loads((written / METRICS_NAME).read_text())
    assert form["overall"]["video_auc"]["value"] == 1.0
    assert form["overall"]["pair_accuracy"]["value"] == 1.0
    assert form["overall"]["patch_iou"]["count"] == 1
    assert [row["path"] for row in form["unscored"]] == ["broken.mp4"]
    assert {group["name"] for group in form["groups"]} == {"bright", "painted", "clips", "pictures"}
    assert form["run"]["model"] == "shades"
    assert len(form["unused_masks"]) == 1


def test_every_file_has_its_line_of_scores(written: Path) -> None:
    with (written / SCORES_NAME).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == COLUMNS
    assert [row["path"] for row in rows] == [
        "r0.mp4", "f0.mp4", "r1.mp4", "f1.mp4", "p.png", "broken.mp4",
    ]  # fmt: skip
    assert rows[-1]["score_raw"] == ""
    assert rows[-1]["outcome"] == "unscorable"
    assert float(rows[1]["score_raw"]) > 0.5 > float(rows[0]["score_raw"])
    assert rows[4]["kind"] == "picture"


def test_page_needs_nothing_beside_itself(written: Path) -> None:
    page = (written / REPORT_NAME).read_text()
    assert page.count("<svg") == 3
    assert page.count('src="data:image/jpeg;base64,') == 2 * 5
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "broken.mp4" in page
    assert "no proof" in page
    assert "1 in 10,000" in page


def test_page_speaks_of_videos_where_videos_are_counted(written: Path) -> None:
    page = (written / REPORT_NAME).read_text()
    auc = re.search(r"<dt>video AUC</dt><dd>(.*?)</dd>", page)
    assert auc is not None
    assert auc[1].startswith("Chance that a manipulated video scores above a real one; pictures of one video")
    assert "Reliability: share of manipulated videos by score" in page
    assert "manipulated among all videos" in page


def test_hostile_names_are_text_on_the_page(files: Path, tmp_path: Path) -> None:
    name = "<script>alert(1)</script>.mp4".replace("/", "_")
    (tmp_path / name).write_bytes(b"x" * 3000)
    (tmp_path / "list.csv").write_text(f"path,label\n{name},0\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "open_bundle", lambda name: FAKE_BUNDLE)
        patch.setattr(command, "open_tools", lambda bundle, sandbox, **options: fake_tools(sandbox))
        with pytest.raises(command.typer.Exit):
            command.evaluate(tmp_path / "list.csv", out=tmp_path / "out")
    page = (tmp_path / "out" / REPORT_NAME).read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_names_that_are_no_text_end_no_evaluation(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"set\xff")
    (folder / "real").mkdir(parents=True)
    for name in (b"\xfe.mp4", "turned\u202e.mp4".encode()):
        (folder / "real" / os.fsdecode(name)).write_bytes(b"x" * 3000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "open_bundle", lambda name: FAKE_BUNDLE)
        patch.setattr(command, "open_tools", lambda bundle, sandbox, **options: fake_tools(sandbox))
        with pytest.raises(command.typer.Exit):
            command.evaluate(folder, out=tmp_path / "out")
    page = (tmp_path / "out" / REPORT_NAME).read_text()
    assert r"real/\xfe.mp4" in page
    assert r"real/turned\u202e.mp4" in page
    assert "\u202e" not in page


def test_wrong_list_is_a_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.csv").write_text("path\n")
    with pytest.raises(command.typer.Exit) as stopped:
        command.evaluate(tmp_path / "list.csv", out=tmp_path)
    assert stopped.value.exit_code == 2
    shown = capsys.readouterr().err
    assert "no column 'label'" in shown
    assert "hint: " in shown


def test_frame_score_is_that_of_its_highest_face() -> None:
    evidence = make_evidence({0: [0.0, None, EvidenceReason.TOO_DARK], 1: [2.0, 0.0, None]})
    assert highest_per_sample(evidence) == (pytest.approx(1 / (1 + np.exp(-2))), 0.5)


def test_peak_is_the_highest_face_of_the_leading_track() -> None:
    evidence = make_evidence({0: [0.0, 3.0], 1: [5.0, 1.0]})
    peak = find_peak(evidence, 0)
    assert peak is not None
    assert peak.pts_us == 1_500_000
    assert find_peak(evidence, None) is None


def test_limits_and_sandbox_are_those_that_the_command_was_told(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[Limits, bool]] = []

    def start(limits: Limits, *, allow_unsandboxed: bool) -> Sandbox:
        started.append((limits, allow_unsandboxed))
        return begin(limits)

    begin = Sandbox.start
    monkeypatch.setattr(command.Sandbox, "start", start)
    monkeypatch.setattr(command, "open_bundle", lambda name: FAKE_BUNDLE)
    monkeypatch.setattr(command, "open_tools", lambda bundle, sandbox, **options: fake_tools(sandbox))
    told = {
        "max_side": 500,
        "min_side": 20,
        "max_frames": 19,
        "max_memory": 1 << 29,
        "timeout": 60.0,
        "allow_unsandboxed": True,
    }
    with pytest.raises(command.typer.Exit):
        command.evaluate(files, out=tmp_path, **told)
    (limits, allowed) = started[0]
    assert (limits.frames, limits.memory_bytes, limits.wall_s, allowed) == (19, 1 << 29, 60.0, True)
    assert (limits.side_px, limits.min_side_px) == (500, 20)
    form = json.loads((tmp_path / METRICS_NAME).read_text())
    reasons = {row["path"]: row["reasons"] for row in form["unscored"]}
    assert reasons["r0.mp4"] == ["LIMIT_FRAMES"]
    assert "p.png" not in reasons


def test_frames_of_the_report_are_read_under_the_limits_of_the_run(files: Path, sandbox: Sandbox) -> None:
    with pytest.raises(MediaRejected, match="LIMIT_PIXELS"):
        decode_picture(files / "p.png", sandbox, limits=Limits(pixels=100))


def test_engine_and_precision_reach_the_network(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "open_bundle", lambda name: FAKE_BUNDLE)
    with pytest.raises(BackendMissing, match="torch does not compute in bf16"):
        command.evaluate(files, out=tmp_path, engine=EngineName.TORCH, precision=PrecisionName.BF16, jobs=1)
