"""The files of a deployment as the tests read them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.metrics_core import Metric

from api.metrics import ApiMetrics
from engine.results import Outcome
from fakesieve.jobs.states import Lane
from fakesieve.reasons import Reason
from tests.waiting import PATIENCE_S
from workers.metrics import FleetMetrics

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = ROOT / "docker-compose.yml"
KUBERNETES = DEPLOY / "kubernetes"
LABEL_VALUES = {
    "lane": set(Lane),
    "reason": set(Reason),
    "outcome": set(Outcome),
}


def find_tool(name: str) -> str:
    """Path of a program that the test extra brings as a wheel."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"{name} is missing: install the test extra"
    return found


def make_secrets() -> dict[str, str]:
    """What deploy/make-env.sh writes, as variables."""
    made = subprocess.run(
        ["sh", str(DEPLOY / "make-env.sh")], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    return dict(line.split("=", 1) for line in made.stdout.splitlines())


def run_compose(folder: Path, secrets: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Have Compose read and resolve the file with these variables and no others."""
    env_file = folder / "env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in secrets.items()), encoding="ascii")
    command = [find_tool("docker-compose"), "--file", str(COMPOSE), "--env-file", str(env_file)]
    command += ["--profile", "*", "config", "--format", "json"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, timeout=PATIENCE_S, cwd=folder
    )


def read_compose(folder: Path, secrets: Mapping[str, str]) -> dict[str, Any]:
    """The file as Compose resolves it. It doubles each dollar sign, for the result to be read again."""
    run = run_compose(folder, secrets)
    assert run.returncode == 0, run.stderr
    resolved: dict[str, Any] = json.loads(run.stdout.replace("$$", "$"))
    return resolved


def read_kustomization(folder: Path) -> list[dict[str, Any]]:
    """Every document that a kustomization makes, its bases included, with its tags of images and patches."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    tags = {image["name"]: f"{image['newName']}:{image['newTag']}" for image in kustomization["images"]}
    documents: list[dict[str, Any]] = []
    for name in kustomization["resources"]:
        path = folder / name
        if path.is_dir():
            documents += read_kustomization(path)
            continue
        documents += yaml.safe_load_all(path.read_text(encoding="utf-8"))
    for document in documents:
        for container in pod_of(document).get("containers", ()):
            container["image"] = tags.get(container["image"], container["image"])
    for patch in kustomization.get("patches", ()):
        documents.remove(_find_deleted(documents, patch))
    return documents


def _find_deleted(documents: list[dict[str, Any]], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The one document that a patch takes out. Patches of another kind are not read here and fail."""
    target, said = patch["target"], yaml.safe_load(patch["patch"])
    assert said == {
        "apiVersion": said["apiVersion"],
        "kind": target["kind"],
        "metadata": {"name": target["name"]},
        "$patch": "delete",
    }
    (found,) = (
        document
        for document in documents
        if (document["kind"], document["metadata"]["name"]) == (target["kind"], target["name"])
    )
    assert found["apiVersion"] == said["apiVersion"]
    return found


def pod_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a document says of its pods, empty for one without."""
    found: dict[str, Any] = document.get("spec", {}).get("template", {}).get("spec", {})
    return found


def list_samples() -> dict[str, set[str]]:
    """Every name that a process of the fleet shows to Prometheus, with its labels."""
    return {
        name: set(metric_labels) | ({"le"} if name.endswith("_bucket") else set())
        for metric, metric_labels in _list_metrics()
        for name in _sample_names(metric)
    }


def _list_metrics() -> Iterator[tuple[Metric, tuple[str, ...]]]:
    for collector in (*vars(FleetMetrics()).values(), *vars(ApiMetrics()).values()):
        if hasattr(collector, "_labelnames"):
            yield next(iter(collector.describe())), collector._labelnames


def _sample_names(metric: Metric) -> tuple[str, ...]:
    match metric.type:
        case "counter":
            return (f"{metric.name}_total",)
        case "histogram":
            return tuple(f"{metric.name}_{part}" for part in ("bucket", "sum", "count"))
        case _:
            return (metric.name,)
