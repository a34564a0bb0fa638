"""``fakesieve doctor`` says what is there, what is missing, and what to do."""

import json
from pathlib import Path

import pytest

from engine.cli import doctor as doctor_module
from engine.cli.doctor import Check, Status, check_engines, check_packages, check_python, check_space


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


def test_every_engine_is_listed() -> None:
    assert [check.name for check in check_engines()] == [
        "engine onnxruntime",
        "engine openvino",
        "engine torch",
    ]


def test_a_check_that_is_not_well_needs_a_hint() -> None:
    with pytest.raises(ValueError, match="hint"):
        Check("a", Status.FAIL, "b")
