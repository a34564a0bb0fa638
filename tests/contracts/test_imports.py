"""What each entry point loads, seen in a fresh interpreter, where a heavy ``__init__.py`` cannot hide."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile import shared_corpus
from tests.waiting import PATIENCE_S

QUEUE = {"celery", "kombu", "redis"}
HEAVY = {"numpy", "torch", "av", "cv2", "onnxruntime", "openvino", "decord", "onnx", "matplotlib"}

_REPORT = """
import json, sys
before = set(sys.modules)
{statement}
names = sorted({{name.partition(".")[0] for name in set(sys.modules) - before}})
print("loaded: " + json.dumps(names))
"""


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a statement adds to an interpreter that has done nothing else."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", _REPORT.format(statement=statement)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    line = next(line for line in run.stdout.splitlines() if line.startswith("loaded: "))
    return set(json.loads(line.removeprefix("loaded: ")))


@pytest.mark.parametrize("module", ["engine.results", "engine.errors", "engine.policy"])
def test_results_and_policy_are_standard_library_only(module: str) -> None:
    assert loaded_by(f"import {module}") - set(sys.stdlib_module_names) == {"engine"}


@pytest.mark.parametrize("arguments", ["--help", "--version"])
def test_the_command_answers_without_loading_anything_heavy(arguments: str) -> None:
    statement = (
        f"import fakesieve.__main__ as command; sys.argv = ['fakesieve', {arguments!r}]\n"
        "try:\n    command.main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code"
    )
    assert not loaded_by(statement) & HEAVY


@pytest.mark.parametrize(
    "module",
    ["engine.screen", "engine.sandbox.zygote", "engine.cli.scan_run", "engine.cli.demo", "engine.cli.doctor"],
)
def test_scanning_loads_no_torch(module: str) -> None:
    loaded = loaded_by(f"import {module}")
    assert not loaded & {"torch", "onnx", "onnxscript", "openvino", "decord", "matplotlib"}
    assert "engine" in loaded


def test_a_scan_to_its_end_loads_no_torch(tmp_path: Path) -> None:
    """A face is found and scored by the shipped model, and every kind of file is written."""
    clip, out = shared_corpus().file("F62"), tmp_path / "out"
    arguments = ["scan", str(clip), "--jsonl", "--patches", "--overlay", "--report", "--out", str(out)]
    statement = (
        "import fakesieve.__main__ as command\n"
        f"try:\n    command.main({arguments!r})\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "assert 'torch' not in sys.modules"
    )
    loaded = loaded_by(statement)
    assert {"engine", "numpy", "av", "cv2", "onnxruntime"} <= loaded
    assert not loaded & {"torch", "onnx", "onnxscript", "openvino", "decord", "matplotlib"}
    assert json.loads((out / f"{clip.stem}.json").read_text())["outcome"] == "scored"
    assert len(list(out.iterdir())) == 5  # document, maps, overlay, report and index


def test_scan_starts_its_sandbox_before_it_loads_anything_heavy() -> None:
    assert not loaded_by("import engine.cli.scan") & (HEAVY | {"rich"})


def test_choosing_the_default_engine_loads_no_torch() -> None:
    statement = (
        "from engine.bundle import load_bundle\n"
        "from engine.model_names import DEFAULT_MODEL\n"
        "from engine.backends.select import choose_backend\n"
        "choose_backend(load_bundle(DEFAULT_MODEL), 'auto', 1)"
    )
    loaded = loaded_by(statement)
    assert "onnxruntime" in loaded
    assert not loaded & {"torch", "openvino"}


def import_all(package: str) -> str:
    """A statement that imports every module of a package, tables, commands and all."""
    return (
        f"import importlib, pkgutil, {package}\n"
        f"for found in pkgutil.walk_packages({package}.__path__, '{package}.'):\n"
        "    importlib.import_module(found.name)"
    )


@pytest.mark.parametrize("package", ["fakesieve", "api"])
def test_the_ground_and_the_api_load_nothing_heavy_and_no_queue(package: str) -> None:
    loaded = loaded_by(import_all(package))
    assert package in loaded
    assert not loaded & (HEAVY | QUEUE)


@pytest.mark.parametrize("module", ["workers.cli", "workers.relay", "workers.reconciler", "workers.app"])
def test_relay_and_reconciler_load_no_decoder_and_no_network(module: str) -> None:
    loaded = loaded_by(f"import {module}")
    assert "workers" in loaded
    assert not loaded & HEAVY


def test_no_worker_loads_torch_before_it_is_asked_for() -> None:
    loaded = loaded_by(import_all("workers"))
    assert {"celery", "numpy"} <= loaded
    assert not loaded & {"torch", "onnx", "onnxscript", "openvino", "decord", "matplotlib"}


@pytest.mark.parametrize("module", ["api.app", "api.serve", "api.client"])
def test_the_api_loads_nothing_heavy_and_no_queue(module: str) -> None:
    assert not loaded_by(f"import {module}") & (HEAVY | {"celery", "kombu", "redis"})


def test_the_client_loads_no_server() -> None:
    assert not loaded_by("import api.client") & {"fastapi", "uvicorn", "boto3"}


def test_commands_over_the_api_load_no_database() -> None:
    commands = ", ".join(f"fakesieve.cli.{name}" for name in ("jobs", "submit", "watch", "one_result"))
    loaded = loaded_by(f"import {commands}, api.cli.results, api.cli.keys, api.cli.remote.fleet")
    assert not loaded & {"sqlalchemy", "psycopg", "boto3", "fastapi"}
