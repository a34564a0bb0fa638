"""``fakesieve scan`` as a process: what it prints where, and how it ends when it is stopped."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from tests.assets import pyfeat_clip
from tests.e2e.processes import COMMAND, descendants, run, run_on_terminal, start
from tests.models import compact_bundle
from tests.waiting import PATIENCE_S, wait_until


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compact_bundle(tmp_path_factory.mktemp("model") / "random").directory


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    path.write_bytes(pyfeat_clip("single_face.mp4").read_bytes())
    return path


def test_stdout_carries_data_and_nothing_else(model: Path, clip: Path) -> None:
    done = run("scan", clip, "--model", model, "--jsonl", "--max-samples", 8)
    schema = json.loads(run("schema").stdout)
    (document,) = map(json.loads, done.stdout.splitlines())
    assert Draft202012Validator(schema).is_valid(document)
    assert done.stderr == ""
    assert done.returncode == 0


def test_progress_goes_to_a_terminal_and_is_gone_at_the_end(model: Path, clip: Path) -> None:
    code, out, shown = run_on_terminal("scan", clip, "--model", model, "--jsonl", "--max-samples", 8)
    assert code == 0
    assert len(out.splitlines()) == 1
    assert "clip.mp4" in shown
    assert "\x1b[2K" in shown  # lines were cleared


def test_no_color_is_honoured(model: Path, clip: Path) -> None:
    arguments = ("scan", clip, "--model", model, "--jsonl", "--max-samples", 8)
    colours = ("\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[35m", "\x1b[36m", "\x1b[38;5;")
    _, _, plain = run_on_terminal(*arguments, NO_COLOR="1")
    assert not any(colour in plain for colour in colours)


def test_names_of_every_kind_are_answered_and_shown_harmless(model: Path, tmp_path: Path) -> None:
    names = (
        b"a\x1b[2J.mp4",
        b"\xff\xfe.mp4",
        "\u202egpj.mp4".encode(),
        "\N{GRINNING FACE}.mp4".encode(),
        b"=1+1.mp4",
    )
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(b"no video")
    done = run("scan", tmp_path, "--model", model)
    assert done.returncode == 3
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == len(names)
    shown = done.stdout + done.stderr
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert "\u202e" not in shown
    rows = run("scan", tmp_path, "--model", model, "--csv").stdout
    assert "'=" not in rows  # the path begins with the folder: no formula, no quote


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_scan_leaves_no_process_and_no_half_file(
    model: Path, clip: Path, tmp_path: Path, number: int, code: int
) -> None:
    out, count = tmp_path / "out", 60  # enough for a minute and more: it is at work when the signal comes
    arguments = ("scan", *[clip] * count, "--model", model, "--overlay", "--out", out, "--jobs", 2, "--json")
    # Not to a pipe: it would wait for a reader in the middle of a document.
    with (tmp_path / "stdout").open("w") as stdout:
        process = start(*arguments, stdout=stdout)
    wait_until(lambda: (out / "clip.mp4.json").exists() or process.poll() is not None)
    children = descendants(process.pid)
    assert children
    process.send_signal(number)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code
    assert len(json.loads((tmp_path / "stdout").read_text())) < count
    wait_until(lambda: not [pid for pid in children if Path(f"/proc/{pid}").exists()])
    assert [path.name for path in out.iterdir() if "partial" in path.name] == []


def test_a_scan_that_is_stopped_while_it_loads_says_nothing(model: Path, clip: Path) -> None:
    process = start("scan", clip, "--model", model)
    wait_until(lambda: b"fakesieve" in Path(f"/proc/{process.pid}/cmdline").read_bytes())
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (143, -signal.SIGTERM)
    assert out == ""


def test_a_reader_that_goes_away_does_not_leave_children(model: Path, clip: Path) -> None:
    # More than a pipe takes, so that it cannot have ended before its reader goes.
    process = start("scan", *[clip] * 100, "--model", model, "--jsonl", "--max-samples", 8)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(PATIENCE_S) == 1
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def test_scanning_writes_nothing_unless_asked(model: Path, clip: Path, tmp_path: Path) -> None:
    command = ["scan", str(clip), "--model", str(model), "--max-samples", "8"]
    done = subprocess.run(
        [*COMMAND, *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
