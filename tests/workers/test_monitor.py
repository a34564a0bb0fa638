"""The monitor shows and logs what breaks a rule, and is quiet about a fleet that is well."""

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from fakesieve.database import Database
from fakesieve.errors import Unavailable
from fakesieve.jobs.sql import invariants
from tests.job_cases import LIMITS, JobCase
from tests.job_stores import make_sql_case
from workers.metrics import FleetMetrics
from workers.monitor import IDS_SHOWN, Monitor


@pytest.fixture
def case(job_database: Database) -> JobCase:
    """A job that was scored and one that waits."""
    case = make_sql_case(job_database)
    case.finish(case.submit("scored"))
    case.submit("waits")
    return case


@pytest.fixture
def metrics() -> FleetMetrics:
    """The figures that the monitor shows."""
    return FleetMetrics()


@pytest.fixture
def monitor(job_database: Database, metrics: FleetMetrics) -> Monitor:
    """A monitor that has let the first turn pass."""
    monitor = Monitor(job_database, LIMITS, metrics)
    assert monitor.take_turn() is False
    return monitor


def read(metrics: FleetMetrics, name: str) -> float | None:
    return metrics.registry.get_sample_value("fakesieve_invariant_violations", {"invariant": name})


def read_look_time(metrics: FleetMetrics) -> float:
    return metrics.registry.get_sample_value("fakesieve_invariants_look_timestamp_seconds") or 0.0


def test_the_first_turn_leaves_what_a_stopped_fleet_left_to_the_reconciler(
    case: JobCase, monitor: Monitor, metrics: FleetMetrics
) -> None:
    assert read_look_time(metrics) == 0.0
    assert read(metrics, "I6") is None


def test_a_healthy_fleet_shows_a_zero_for_each_rule_and_no_line(
    case: JobCase, monitor: Monitor, metrics: FleetMetrics
) -> None:
    with capture_logs() as lines:
        assert monitor.take_turn() is False
    assert lines == []
    assert [read(metrics, f"I{n}") for n in range(2, 10)] == [0.0] * 8
    assert read_look_time(metrics) > 0.0


def test_what_breaks_a_rule_is_counted_and_the_first_few_are_named(
    case: JobCase, monitor: Monitor, metrics: FleetMetrics
) -> None:
    stuck = [case.submit(f"stuck {number}") for number in range(IDS_SHOWN + 2)]
    case.store.run(lambda tx: tx.session.execute(text("DELETE FROM outbox WHERE topic = 'doorbell'")))
    with capture_logs() as lines:
        monitor.take_turn()
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("fleet.invariant_broken", "error")
    assert (line["invariant"], line["rows"]) == ("I6", len(stuck) + 1)
    assert len(line["ids"]) == IDS_SHOWN
    assert read(metrics, "I6") == len(stuck) + 1
    assert read(metrics, "I9") == 0.0


def test_what_was_put_right_is_no_longer_shown(
    case: JobCase, monitor: Monitor, metrics: FleetMetrics
) -> None:
    case.store.run(lambda tx: tx.session.execute(text("UPDATE job SET n_done = 0 WHERE n_done = 1")))
    monitor.take_turn()
    assert read(metrics, "I3") == 1.0
    case.store.run(lambda tx: tx.session.execute(text("UPDATE job SET n_done = 1 WHERE n_shards = 1")))
    monitor.take_turn()
    assert read(metrics, "I3") == 0.0


def test_a_database_that_takes_too_long_is_asked_later(
    case: JobCase, monitor: Monitor, metrics: FleetMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = invariants.Invariant("I3", "sleeps", "SELECT pg_sleep(60)::text")
    monkeypatch.setattr(invariants, "WATCHED", (slow,))
    monkeypatch.setattr(invariants, "LOOK_MS", 50)
    with pytest.raises(Unavailable):
        monitor.take_turn()
    assert read_look_time(metrics) == 0.0
