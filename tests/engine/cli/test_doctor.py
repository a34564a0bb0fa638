"""``fakesieve doctor`` says what is there, what is missing, and what to do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.cli import doctor as doctor_module
from engine.cli.doctor import Check, Status, check_engines, check_packages, check_python, check_space
from engine.sandbox import handle as handle_module


def test_a_machine_that_can_scan_passes(run, random_model: Path) -> None:
    done = run("doctor", "--model", random_model)
    assert done.code == 0
    lines = done.out.splitlines()
    assert any(line.startswith("ok    sandbox: full") for line in lines)
    assert any(line.startswith("ok    model: random-compact (lv-compact)") for line in lines)
    assert any("libavcodec" in line and "libx264" in line for line in lines)
    assert not any(line.startswith("fail") for line in lines)


def test_json_has_one_object_for_each_check(run, random_model: Path) -> None:
    checks = json.loads(run("doctor", "--json", "--model", random_model).out)
    names = {check["name"] for check in checks}
    assert names >= {"python", "packages", "FFmpeg", "processor", "engine onnxruntime", "sandbox"}
    assert names >= {"face detector", "model", "temporary folder"}
    assert all(check["status"] in ("ok", "warn", "fail") for check in checks)


def test_a_broken_model_fails_with_a_hint_and_the_rest_is_still_checked(
    run, random_model: Path, tmp_path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in random_model.iterdir():
        data = file.read_bytes()
        (broken / file.name).write_bytes(data[:-1] + b"x" if file.suffix == ".safetensors" else data)
    done = run("doctor", "--model", broken)
    assert done.code == 1
    assert "fail  model: MODEL_INVALID" in done.out
    assert "hint: the file was changed or cut off" in done.out
    assert "ok    temporary folder" in done.out


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module, "_PACKAGES", ("numpy", "no-such-package"))
    check = check_packages()
    assert check.status is Status.FAIL
    assert check.hint == "pip install no-such-package"


def test_an_interpreter_that_is_too_new_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module.sys, "version_info", (3, 99, 0))
    assert check_python().status is Status.WARN


def test_a_temporary_folder_that_is_not_there_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module.tempfile, "gettempdir", lambda: "/nowhere")
    check = check_space()
    assert check.status is Status.WARN
    assert "TMPDIR" in check.hint


def test_no_temporary_folder_at_all_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(doctor_module.tempfile, "gettempdir", find_none)
    check = check_space()
    assert check.status is Status.WARN
    assert "No usable temporary directory" in check.seen


def test_a_sandbox_that_cannot_be_started_is_one_finding(run, random_model: Path, monkeypatch) -> None:
    monkeypatch.setattr(handle_module.sys, "executable", "/nowhere/python")
    done = run("doctor", "--model", random_model)
    assert done.code == 1
    assert "fail  sandbox: SANDBOX_UNAVAILABLE: the decoding sandbox did not start: No such file" in done.out
    assert "ok    model: random-compact" in done.out
    assert "ok    temporary folder" in done.out


def test_a_check_that_breaks_is_one_finding(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(doctor_module, "check_detector", lambda: {}["weights"])
    monkeypatch.setattr(doctor_module, "check_model", lambda _: Check("model", Status.OK, "fine"))
    checks = {check.name: check for check in doctor_module.run_checks()}
    assert checks["face detector"].status is Status.FAIL
    assert "KeyError" in checks["face detector"].seen
    assert checks["model"].status is Status.OK
    assert "KeyError" in capsys.readouterr().err


def test_a_missing_decoder_is_told_beside_what_is_well() -> None:
    program = (
        "import sys; sys.modules['av'] = None\n"
        "from engine.cli.doctor import run_checks\n"
        "print({check.name: check.status.value for check in run_checks('none')})"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "'FFmpeg': 'fail'" in said.stdout
    assert "'face detector': 'ok'" in said.stdout


def test_every_engine_is_listed() -> None:
    assert [check.name for check in check_engines()] == [
        "engine onnxruntime",
        "engine openvino",
        "engine torch",
        "engine onnxruntime-cuda",
        "engine onnxruntime-tensorrt",
    ]


def test_a_check_that_is_not_well_needs_a_hint() -> None:
    with pytest.raises(ValueError, match="hint"):
        Check("a", Status.FAIL, "b")
