"""docker-compose.yml as Compose itself reads it, and what it promises of secrets, limits and endings."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fakesieve.cli.migrate import URL_VARIABLES
from fakesieve.settings import GIVE_BACK_S, PREFIX, Settings
from tests.deploy.manifests import COMPOSE, ROOT, make_secrets, read_compose, run_compose

FLEET = ("migrate", "api", "relay", "reconciler", "sender", "worker-cpu", "worker-gpu", "cli")
WORKERS = ("worker-cpu", "worker-gpu")
ENDS = ("migrate", "cli", "seaweedfs-owner")  # services that run once


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return read_compose(tmp_path_factory.mktemp("compose"), make_secrets())


def services(compose: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from compose["services"].items()


def test_all_services_are_there_under_their_profiles(compose: dict[str, Any]) -> None:
    assert {name: tuple(service.get("profiles", ())) for name, service in services(compose)} == {
        "postgres": (),
        "valkey": (),
        "seaweedfs": (),
        "seaweedfs-owner": (),
        "migrate": (),
        "api": (),
        "relay": (),
        "reconciler": (),
        "sender": (),
        "worker-cpu": (),
        "worker-gpu": ("gpu",),
        "cli": ("tools",),
        "prometheus": ("monitoring",),
        "grafana": ("monitoring",),
    }


@pytest.mark.parametrize("missing", sorted(make_secrets()))
def test_nothing_starts_without_each_secret(tmp_path: Path, missing: str) -> None:
    run = run_compose(tmp_path, {**make_secrets(), missing: ""})
    assert run.returncode != 0
    assert f"required variable {missing} is missing a value" in run.stderr


def test_the_secrets_that_are_made_are_long_and_differ() -> None:
    first, second = make_secrets(), make_secrets()
    values = [*first.values(), *second.values()]
    assert len(set(values)) == len(values) == 18
    assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in values)


def test_the_example_holds_no_secret_and_git_and_docker_leave_the_real_one_out() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    assert all(line.startswith("#") or line.endswith("=") for line in lines)
    assert "/.env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    assert not any(line.startswith("!.") for line in ignored)


def test_no_secret_stands_in_a_command_line(compose: dict[str, Any]) -> None:
    secrets = set(make_secrets()) - {"S3_ACCESS_KEY"}
    raw = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    for service in raw["services"].values():
        words = [*service.get("command", ()), *service.get("entrypoint", ())]
        assert not [word for word in words for name in secrets if f"${{{name}" in word]


def test_every_variable_of_the_fleet_is_a_setting(compose: dict[str, Any]) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | set(URL_VARIABLES)
    for name in FLEET:
        given = {each for each in compose["services"][name]["environment"] if each.startswith(PREFIX)}
        assert given
        assert given <= known


def test_only_migrate_knows_the_owner_of_the_tables(compose: dict[str, Any]) -> None:
    knows = {
        name
        for name, service in services(compose)
        if any("OWNER" in variable for variable in service.get("environment") or ())
    }
    assert knows == {"migrate", "postgres"}


def test_all_are_hardened_and_bounded(compose: dict[str, Any]) -> None:
    for name, service in services(compose):
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name
        limits = service["deploy"]["resources"]["limits"]
        assert int(limits["memory"]) > 0, name
        assert float(limits["cpus"]) > 0, name
        assert int(limits["pids"]) > 0, name
        assert (service["user"] in ("0:0", "0", "root")) == (name == "seaweedfs-owner"), name


def test_what_keeps_running_has_a_health_check_and_starts_again(compose: dict[str, Any]) -> None:
    for name, service in services(compose):
        if name in ENDS:
            assert service["restart"] == "no", name
        else:
            assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
            assert service["restart"] == "unless-stopped", name


def test_what_decodes_has_no_way_out(compose: dict[str, Any]) -> None:
    assert compose["networks"]["fleet"]["internal"] is True
    for name in FLEET:
        if name not in ("api", "sender"):  # which decode nothing
            assert list(compose["services"][name]["networks"]) == ["fleet"]


def test_the_sender_reaches_the_world_and_has_the_key_of_no_video(compose: dict[str, Any]) -> None:
    sender = compose["services"]["sender"]
    assert sorted(sender["networks"]) == ["fleet", "outside"]
    assert not compose["networks"]["outside"].get("internal")
    assert set(sender["environment"]) == {
        f"FAKESIEVE_{name}"
        for name in ("DATABASE_URL", "BROKER_URL", "BUCKET", "WEBHOOK_NETWORKS", "METRICS_PORT")
    }
    assert [name for name, other in services(compose) if "outside" in (other.get("networks") or ())] == [
        "sender"
    ]


def test_the_api_logs_in_as_the_role_that_sees_one_tenant(compose: dict[str, Any]) -> None:
    assert compose["services"]["api"]["environment"]["FAKESIEVE_DATABASE_URL"].startswith(
        "postgresql://fakesieve_app:"
    )


def test_only_those_that_speak_to_the_broker_have_its_password(compose: dict[str, Any]) -> None:
    without = {"api", "sender", "migrate"}
    for name in FLEET:
        environment = compose["services"][name]["environment"]
        has_password = "redis://:" in environment.get("FAKESIEVE_BROKER_URL", "")
        assert has_password == (name not in without), name


def test_ports_are_open_to_this_machine_alone(compose: dict[str, Any]) -> None:
    open_to = {port["host_ip"] for _, service in services(compose) for port in service.get("ports", ())}
    assert open_to == {"127.0.0.1"}


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_may_drain_before_it_is_killed(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    drain_s = float(service["environment"]["FAKESIEVE_DRAIN_S"])
    assert service["stop_grace_period"] == "1m0s"
    assert drain_s + GIVE_BACK_S + 10 <= 60


def test_the_gpu_is_asked_for(compose: dict[str, Any]) -> None:
    devices = compose["services"]["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]


def test_a_worker_without_its_gpu_ends_and_does_not_compute_on_the_processor(compose: dict[str, Any]) -> None:
    engines = {name: compose["services"][name]["environment"]["FAKESIEVE_ENGINE"] for name in WORKERS}
    assert engines == {"worker-cpu": "auto", "worker-gpu": "onnxruntime-cuda"}
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"ENV FAKESIEVE_ENGINE={engines['worker-gpu']}\n" in image


def test_an_engine_that_is_asked_for_goes_to_the_gpu_too(tmp_path: Path) -> None:
    asked = read_compose(tmp_path, {**make_secrets(), "FAKESIEVE_ENGINE": "onnxruntime-tensorrt"})
    worker = asked["services"]["worker-gpu"]["environment"]
    assert worker["FAKESIEVE_ENGINE"] == "onnxruntime-tensorrt"


def test_mounted_files_are_there_and_read_only(compose: dict[str, Any]) -> None:
    mounts = [
        mount
        for _, service in services(compose)
        for mount in service.get("volumes", ())
        if mount["type"] == "bind"
    ]
    assert len(mounts) == 6
    assert all(mount["read_only"] and Path(mount["source"]).exists() for mount in mounts)
