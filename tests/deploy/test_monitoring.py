"""Alert rules, dashboard and scaling ask for figures that there are."""

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from api.metrics import ApiMetrics
from fakesieve.values.jobs import DEADLINE_S
from tests.deploy.manifests import DEPLOY, KUBERNETES, LABEL_VALUES, list_samples, make_secrets, read_compose
from tests.waiting import PATIENCE_S
from workers.metrics import FleetMetrics

PROMETHEUS = DEPLOY / "prometheus"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "fleet.json"
# Prometheus' own.
FOREIGN = {"up", "ALERTS"}
TARGET_LABELS = {"instance", "job", "role"}


def load_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def list_rules() -> list[dict[str, Any]]:
    groups = load_yaml(PROMETHEUS / "alerts.yml")["groups"]
    return [rule for group in groups for rule in group["rules"]]


def list_panels() -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return panels


def list_expressions() -> Iterator[tuple[str, str]]:
    for rule in list_rules():
        yield rule["alert"], rule["expr"]
    for panel in list_panels():
        for target in panel.get("targets", ()):
            yield f"{panel['title']} {target['refId']}", target["expr"].replace("$__rate_interval", "5m")
    for path in sorted(KUBERNETES.rglob("scaling.yaml")):
        for trigger in load_yaml(path)["spec"]["triggers"]:
            yield f"{path.parent.name} {trigger['name']}", trigger["metadata"]["query"]


EXPRESSIONS = dict(list_expressions())


@pytest.fixture(params=EXPRESSIONS.values(), ids=EXPRESSIONS.keys())
def expression(request: pytest.FixtureRequest) -> str:
    text: str = request.param
    return text


def test_it_is_promql(expression: str) -> None:
    assert promql_parser.parse(expression) is not None


def test_a_mistake_would_be_seen() -> None:
    with pytest.raises(ValueError, match="unclosed"):
        promql_parser.parse("sum(rate(fakesieve_claims_total[5m])")


def test_it_asks_for_figures_that_processes_show(expression: str) -> None:
    names = set(re.findall(r"\b(?:fakesieve_[a-z_]+|up|ALERTS)\b(?!\")", expression))
    assert names
    assert names <= set(list_samples()) | FOREIGN


def test_its_labels_are_those_of_the_figures(expression: str) -> None:
    samples = list_samples()
    names = [name for name in re.findall(r"\bfakesieve_[a-z_]+\b", expression) if name in samples]
    known = {label for name in names for label in samples[name]} | TARGET_LABELS
    for labels in re.findall(r"\bby \(([^)]*)\)", expression):
        assert {label.strip() for label in labels.split(",")} <= known
    for label, values in re.findall(r'\b(lane|reason|outcome)=~?"([^"]+)"', expression):
        assert label in known
        assert set(values.split("|")) <= LABEL_VALUES[label]


def test_every_figure_of_the_fleet_is_on_the_dashboard() -> None:
    shown = " ".join(target["expr"] for panel in list_panels() for target in panel.get("targets", ()))
    bare = {re.sub(r"_(bucket|sum|count)$", "", name) for name in list_samples()}
    assert {name for name in bare if name not in shown} == set()


def test_alerts_say_what_is_and_what_to_do() -> None:
    rules = list_rules()
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "action"}


def list_counted() -> list[tuple[str, str, str]]:
    """Alert, counter and matchers of each rate that a rule takes; but not of what a worker's start adds."""
    return [
        (rule["alert"], name, matchers)
        for rule in list_rules()
        for name, matchers in re.findall(r"\b(?:increase|rate)\((\w+)(?:\{(.*?)\})?\[", rule["expr"])
        if name != "fakesieve_messages_refused_total"
    ]


@pytest.mark.parametrize(("alert", "name", "matchers"), list_counted())
def test_what_a_rule_counts_is_there_before_it_happens(alert: str, name: str, matchers: str) -> None:
    fresh = [
        (sample.labels, sample.value)
        for registry in (FleetMetrics().registry, ApiMetrics().registry)
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    ]
    assert fresh, alert
    assert {value for _, value in fresh} == {0.0}
    for label, values in re.findall(r'(\w+)=~?"([^"]+)"', matchers):
        assert set(values.split("|")) <= {labels[label] for labels, _ in fresh}


def test_bulk_work_that_waits_rings_while_its_deadlines_are_ahead() -> None:
    (rule,) = (rule for rule in list_rules() if rule["alert"] == "FakesieveBulkWorkWaits")
    limit = re.search(r"> (\d+)$", rule["expr"])
    assert limit is not None
    assert rule["for"] == "1h"
    assert float(limit[1]) + 3600 < DEADLINE_S


def test_each_alert_has_a_unit_test_in_which_it_rings() -> None:
    tests = load_yaml(PROMETHEUS / "alerts_test.yml")
    cases = [case for test in tests["tests"] for case in test["alert_rule_test"]]
    alerts = {rule["alert"] for rule in list_rules()}
    assert {case["alertname"] for case in cases} <= alerts
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == alerts


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Prometheus, not as a wheel")
@pytest.mark.parametrize(
    "command",
    [
        ("check", "rules", "alerts.yml"),
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_agrees(command: tuple[str, ...]) -> None:
    run = subprocess.run(
        ["promtool", *command],
        cwd=PROMETHEUS,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_prometheus_looks_at_every_process_of_the_fleet(tmp_path: Path) -> None:
    compose = read_compose(tmp_path, make_secrets())
    config = load_yaml(PROMETHEUS / "prometheus.yml")
    assert config["rule_files"] == ["alerts.yml"]
    (scrape,) = config["scrape_configs"]
    (found,) = scrape["dns_sd_configs"]
    serving = {
        name: int(service["environment"]["FAKESIEVE_METRICS_PORT"])
        for name, service in compose["services"].items()
        if "FAKESIEVE_METRICS_PORT" in (service.get("environment") or {})
    }
    assert serving == dict.fromkeys(found["names"], found["port"])


def test_the_dashboard_is_found_and_shows_its_source() -> None:
    provider = load_yaml(DEPLOY / "grafana" / "provisioning" / "dashboards" / "fakesieve.yml")["providers"][0]
    assert provider["options"]["path"] == "/etc/grafana/dashboards"
    source = load_yaml(DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml")["datasources"][
        0
    ]
    used = {panel["datasource"]["uid"] for panel in list_panels() if panel["type"] != "row"}
    used |= {target["datasource"]["uid"] for panel in list_panels() for target in panel.get("targets", ())}
    assert used == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"


def test_panels_lie_side_by_side() -> None:
    panels = list_panels()
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        for at in (panel["gridPos"] for panel in panels)
    ]
    assert all(x < 24 for cell in cells for x, _ in cell)
    assert all(not one & other for one, other in itertools.combinations(cells, 2))
