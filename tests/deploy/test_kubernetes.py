"""The manifests for Kubernetes: whole, valid, hardened, and slower to kill than a worker drains."""

import shutil
import subprocess
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from fakesieve.settings import GIVE_BACK_S, PREFIX, Settings
from fakesieve.webhooks.addresses import PORTS
from tests.deploy.manifests import KUBERNETES, pod_of, read_kustomization
from tests.waiting import PATIENCE_S

VERSION = "1.33"
BASE, GPU = (read_kustomization(KUBERNETES / name) for name in ("base", "gpu"))
DOCUMENTS = BASE + [document for document in GPU if document not in BASE]
OURS = [document for document in DOCUMENTS if document["apiVersion"] != "keda.sh/v1alpha1"]
SCALED = [document for document in DOCUMENTS if document["kind"] == "ScaledObject"]
PODS = [document for document in DOCUMENTS if pod_of(document)]
WORKERS = [document for document in PODS if document["metadata"]["name"].startswith("worker-")]


def name_of(document: dict[str, Any]) -> str:
    return f"{document['kind']}-{document['metadata']['name']}"


def labels_of(document: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = document["spec"]["template"]["metadata"]["labels"]
    return found


@pytest.mark.parametrize("document", OURS, ids=name_of)
def test_it_matches_the_schema_of_kubernetes(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, VERSION, strict=True)


def test_a_mistake_would_be_seen() -> None:
    wrong = yaml.safe_load((KUBERNETES / "base" / "relay.yaml").read_text(encoding="utf-8").split("---")[0])
    wrong["spec"]["template"]["spec"]["terminationGrace"] = 5
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


def test_every_file_is_named_by_its_kustomization() -> None:
    for path in KUBERNETES.iterdir():
        named = yaml.safe_load((path / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
        assert {each.name for each in path.glob("*.yaml")} == {
            *(name for name in named if not (path / name).is_dir()),
            "kustomization.yaml",
        }


def test_names_are_unique_and_in_one_namespace() -> None:
    assert len({name_of(document) for document in DOCUMENTS}) == len(DOCUMENTS)
    places = {document["metadata"].get("namespace") for document in DOCUMENTS}
    assert places == {"fakesieve", None}


def test_hosts_with_gpus_take_the_place_of_those_without() -> None:
    """Side by side they would take each other's work and give it back: the engine is part of the pipeline."""
    base, gpu = ({name_of(document) for document in documents} for documents in (BASE, GPU))
    kinds = ("Deployment", "PodDisruptionBudget", "ScaledObject")
    assert base - gpu == {f"{kind}-worker-cpu" for kind in kinds}
    assert gpu - base == {f"{kind}-worker-gpu" for kind in kinds}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize(("folder", "documents"), [("base", BASE), ("gpu", GPU)], ids=["base", "gpu"])
def test_kubectl_makes_the_same_of_it(folder: str, documents: list[dict[str, Any]]) -> None:
    made = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / folder)],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )

    def list_images(found: list[dict[str, Any]]) -> dict[str, list[str]]:
        return {name_of(each): [c["image"] for c in pod_of(each).get("containers", ())] for each in found}

    assert list_images(list(yaml.safe_load_all(made.stdout))) == list_images(documents)


def test_no_file_holds_a_secret() -> None:
    assert not [document for document in DOCUMENTS if document["kind"] == "Secret"]
    assert not [path for path in KUBERNETES.rglob("*") if path.is_file() and path.suffix != ".yaml"]


@pytest.mark.parametrize("document", PODS, ids=name_of)
def test_a_pod_gives_up_what_it_does_not_need(document: dict[str, Any]) -> None:
    pod = pod_of(document)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
        assert ":" in container["image"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}


@pytest.mark.parametrize("document", PODS, ids=name_of)
def test_its_variables_are_settings(document: dict[str, Any]) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    (settings,) = (each for each in DOCUMENTS if each["kind"] == "ConfigMap")
    assert set(settings["data"]) <= known
    (container,) = pod_of(document)["containers"]
    assert {variable["name"] for variable in container.get("env", ())} <= known


@pytest.mark.parametrize("document", [each for each in PODS if each["kind"] == "Deployment"], ids=name_of)
def test_what_keeps_running_is_probed_and_kept_through_maintenance(document: dict[str, Any]) -> None:
    (container,) = pod_of(document)["containers"]
    is_api = document["metadata"]["name"] == "api"
    for probe, path in (("startupProbe", "/health/started"), ("livenessProbe", "/health/live")):
        asked = {"path": path, "port": "http"} if is_api else {"path": "/metrics", "port": "metrics"}
        assert container[probe]["httpGet"] == asked
    budgets = [
        each["spec"]["selector"]["matchLabels"] for each in DOCUMENTS if each["kind"] == "PodDisruptionBudget"
    ]
    assert budgets.count(document["spec"]["selector"]["matchLabels"]) == 1
    assert document["spec"]["selector"]["matchLabels"].items() <= labels_of(document).items()


@pytest.mark.parametrize("document", WORKERS, ids=name_of)
def test_a_worker_may_drain_before_it_is_killed(document: dict[str, Any]) -> None:
    (settings,) = (each for each in DOCUMENTS if each["kind"] == "ConfigMap")
    drain_s = float(settings["data"]["FAKESIEVE_DRAIN_S"])
    assert pod_of(document)["terminationGracePeriodSeconds"] >= drain_s + GIVE_BACK_S + 10


@pytest.mark.parametrize("document", WORKERS, ids=name_of)
def test_keda_scales_workers_by_queue_age_and_doorbells(document: dict[str, Any]) -> None:
    assert "replicas" not in document["spec"]
    (scaled,) = (
        each["spec"]
        for each in SCALED
        if each["spec"]["scaleTargetRef"]["name"] == document["metadata"]["name"]
    )
    assert 1 <= scaled["minReplicaCount"] < scaled["maxReplicaCount"]
    triggers = {trigger["name"]: trigger for trigger in scaled["triggers"]}
    assert set(triggers) == {"queue-age", "doorbells"}
    for trigger in triggers.values():
        assert trigger["type"] == "prometheus"
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
    assert "fakesieve_queue_age_seconds" in triggers["queue-age"]["metadata"]["query"]
    assert "fakesieve_ringing" in triggers["doorbells"]["metadata"]["query"]
    assert [triggers[name]["metricType"] for name in ("queue-age", "doorbells")] == ["Value", "AverageValue"]
    assert "fallback" not in scaled  # KEDA takes it with AverageValue alone


@pytest.mark.parametrize("document", WORKERS, ids=name_of)
def test_doorbells_ask_for_hosts_before_the_relay_stops_ringing(document: dict[str, Any]) -> None:
    """At most two doorbells a slot: a target at or above that could never be reached."""
    (container,) = pod_of(document)["containers"]
    (slots,) = (int(each["value"]) for each in container["env"] if each["name"] == "FAKESIEVE_SLOTS")
    targets = {
        float(trigger["metadata"]["threshold"])
        for scaled in SCALED
        for trigger in scaled["spec"]["triggers"]
        if trigger["name"] == "doorbells"
    }
    assert all(target < 2 * slots for target in targets)


def test_only_what_fetches_or_removes_videos_reaches_the_object_store() -> None:
    policies = {
        each["metadata"]["name"]: each["spec"] for each in DOCUMENTS if each["kind"] == "NetworkPolicy"
    }
    assert policies["fakesieve"]["podSelector"] == {}
    assert policies["fakesieve"]["policyTypes"] == ["Ingress", "Egress"]
    (chosen,) = policies["objects"]["podSelector"]["matchExpressions"]
    assert (chosen["key"], chosen["operator"]) == ("app.kubernetes.io/name", "In")
    names = {labels_of(each)[chosen["key"]] for each in PODS}
    assert set(chosen["values"]) == {"reconciler", "worker-cpu", "worker-gpu"} <= names


def test_the_sender_reaches_public_addresses_by_https_alone() -> None:
    (policy,) = (
        each["spec"]
        for each in DOCUMENTS
        if each["kind"] == "NetworkPolicy" and each["metadata"]["name"] == "sender"
    )
    chosen = policy["podSelector"]["matchLabels"].items()
    assert [each["metadata"]["name"] for each in PODS if chosen <= labels_of(each).items()] == ["sender"]
    (rule,) = policy["egress"]
    assert {each["port"] for each in rule["ports"]} == PORTS
    kept = [ip_network(text) for place in rule["to"] for text in place["ipBlock"]["except"]]
    inside = ("10.1.2.3", "100.64.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1", "fd00::1", "fe80::1")
    for text in inside:
        assert any(ip_address(text) in network for network in kept)


def test_the_api_has_a_secret_of_its_own() -> None:
    (api,) = (document for document in PODS if document["metadata"]["name"] == "api")
    (container,) = pod_of(api)["containers"]
    secrets = [each["secretRef"]["name"] for each in container["envFrom"] if "secretRef" in each]
    assert secrets == ["fakesieve-api"]


def test_the_namespace_refuses_pods_with_more_rights() -> None:
    (namespace,) = (each for each in DOCUMENTS if each["kind"] == "Namespace")
    assert namespace["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}


def test_folders_are_those_of_the_guide() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "howto" / "deploy.md").read_text(encoding="utf-8")
    assert all(f"deploy/kubernetes/{path.name}" in guide for path in KUBERNETES.iterdir())
