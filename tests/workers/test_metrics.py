import urllib.request

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from engine.results import Outcome, VerdictValue
from fakesieve.jobs.rows import Refusal
from fakesieve.jobs.states import Lane
from fakesieve.metrics_server import serve_metrics
from fakesieve.reasons import Reason
from tests.waiting import PATIENCE_S
from workers.inference_wire import Answer
from workers.metrics import FleetMetrics
from workers.retry import Action, RetryDecision

# Dashboards, alert rules and the autoscaler read these names.
NAMES = {
    "fakesieve_claims", "fakesieve_refusals", "fakesieve_stage_seconds", "fakesieve_work_seconds",
    "fakesieve_outcomes", "fakesieve_reused", "fakesieve_faults", "fakesieve_leases_lost",
    "fakesieve_running", "fakesieve_messages_refused", "fakesieve_jobs_without_result",
    "fakesieve_batch_crops", "fakesieve_batch_wait_seconds", "fakesieve_faces", "fakesieve_inference_seconds",
    "fakesieve_job_inference_seconds", "fakesieve_inference_ends", "fakesieve_inference_failures",
    "fakesieve_queue_age_seconds", "fakesieve_ringing", "fakesieve_doorbells", "fakesieve_relay_failures",
    "fakesieve_reconciled", "fakesieve_invariant_violations", "fakesieve_invariants_look_timestamp_seconds",
}  # fmt: skip


def read(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


def test_names_are_those_that_others_read():
    text = generate_latest(FleetMetrics().registry).decode()
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {name for name in names if not name.endswith("_created")} == NAMES


def test_answer_of_the_network_is_counted_for_its_lane():
    metrics = FleetMetrics()
    metrics.note_answer(Lane.BULK, Answer(1, batch=4, waited_s=0.01, compute_s=0.5, has_patches=True))
    assert read(metrics, "fakesieve_inference_seconds_total", lane="bulk") == 0.5
    assert read(metrics, "fakesieve_batch_wait_seconds_count") == 1.0


def test_a_batch_is_counted_once_however_many_requests_it_answers():
    metrics = FleetMetrics()
    for number in range(8):
        ran = () if number else (8, 2)  # ten crops of eight requests, in the batch sizes of the engine
        answer = Answer(number, batch=10, waited_s=0.01, compute_s=0.5, has_patches=True, ran=ran)
        metrics.note_answer(Lane.BULK, answer)
    assert read(metrics, "fakesieve_batch_crops_count") == 2.0
    assert read(metrics, "fakesieve_batch_crops_sum") == 10.0
    assert read(metrics, "fakesieve_batch_wait_seconds_count") == 8.0


def test_faults_and_refusals_are_counted_by_their_closed_lists():
    metrics = FleetMetrics()
    metrics.note_fault(RetryDecision(Action.END, Reason.CORRUPT))
    metrics.note_refusal(Refusal.HELD)
    assert read(metrics, "fakesieve_faults_total", reason="CORRUPT", action="end") == 1.0
    assert read(metrics, "fakesieve_refusals_total", refusal="held") == 1.0


def test_the_first_fault_of_ours_is_a_step_from_zero():
    metrics = FleetMetrics()
    for action in ("give_back", "end"):
        assert read(metrics, "fakesieve_faults_total", reason="INTERNAL", action=action) == 0.0
    metrics.note_fault(RetryDecision(Action.END, Reason.INTERNAL))
    assert read(metrics, "fakesieve_faults_total", reason="INTERNAL", action="end") == 1.0


def test_the_first_analysis_of_each_outcome_is_a_step_from_zero():
    metrics = FleetMetrics()

    def count():
        labels = [("no_face", "none"), ("scored", "inconclusive"), ("scored", "likely_manipulated")]
        return [read(metrics, "fakesieve_outcomes_total", outcome=one, verdict=two) for one, two in labels]

    assert count() == [0.0, 0.0, 0.0]
    metrics.note_outcome(Outcome.NO_FACE, None)
    metrics.note_outcome(Outcome.SCORED, VerdictValue.INCONCLUSIVE)
    assert count() == [1.0, 1.0, 0.0]


def test_figures_are_served_over_http():
    metrics = FleetMetrics()
    with (
        capture_logs() as logs,
        serve_metrics(metrics.registry, 0, "127.0.0.1") as port,
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer,
    ):
        assert b"fakesieve_running 0.0" in answer.read()
    (told,) = logs
    assert (told["event"], told["port"]) == ("metrics.served", port)  # which nobody else knows, of 0
    with pytest.raises(OSError):  # noqa: PT011 - whatever the system says of a closed port
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S)
