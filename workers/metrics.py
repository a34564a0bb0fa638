"""What worker hosts, relays and reconcilers count, for Prometheus.

Names and labels are an interface: dashboards, alert rules and the autoscaler read them. Labels come from
closed lists only, so the number of series is bounded whatever people submit.
"""

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from engine.errors import EngineError
from engine.results import Outcome, VerdictValue
from fakesieve.jobs.rows import Claim, Refusal
from fakesieve.jobs.states import JobState, Lane, WorkKind
from fakesieve.reasons import Reason
from workers.retry import Action, RetryDecision

if TYPE_CHECKING:  # types only: a relay counts without the network's arrays
    from workers.inference_wire import Answer

_SECONDS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_CROPS = (1, 2, 4, 8, 16, 32, 64)
NO_VERDICT = "none"
"""Label of an analysis without a score."""


class FleetMetrics:
    """All figures of one process; each has its own registry, so that tests and processes do not mix."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._count_work()
        self._count_inference()
        self._count_backlog()
        self._begin_at_zero()

    def _count_work(self) -> None:
        registry = self.registry
        self.claims = Counter(
            "fakesieve_claims",
            "Pieces of work taken, by attempt.",
            ["kind", "lane", "attempt"],
            registry=registry,
        )
        self.refusals = Counter(
            "fakesieve_refusals", "Doorbells that led to no claim.", ["refusal"], registry=registry
        )
        self.messages_refused = Counter(
            "fakesieve_messages_refused",
            "Messages of the broker that were no doorbells of ours.",
            ["fault"],
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "fakesieve_stage_seconds", "Time of one stage of one piece of work.", ["stage"], buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self.work_seconds = Histogram(
            "fakesieve_work_seconds", "Time from claim to result.", ["kind", "lane"], buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self.outcomes = Counter(
            "fakesieve_outcomes", "Analyses stored, by outcome and verdict.", ["outcome", "verdict"],
            registry=registry,
        )  # fmt: skip
        self.reused = Counter(
            "fakesieve_reused", "Jobs that took an analysis that was there.", registry=registry
        )
        self.faults = Counter(
            "fakesieve_faults",
            "Attempts that ended without a result.",
            ["reason", "action"],
            registry=registry,
        )
        self.jobs_without_result = Counter(
            "fakesieve_jobs_without_result",
            "Jobs that failed, expired or were cancelled, once each.",
            ["state", "reason"],
            registry=registry,
        )
        self.leases_lost = Counter(
            "fakesieve_leases_lost", "Claims that were lost to another claim, once each.", registry=registry
        )
        self.running = Gauge(
            "fakesieve_running", "Pieces of work that slots are busy with.", registry=registry
        )

    def _count_inference(self) -> None:
        registry = self.registry
        self.batch_crops = Histogram(
            "fakesieve_batch_crops", "Crops of each batch that the network ran.", buckets=_CROPS,
            registry=registry,
        )  # fmt: skip
        self.batch_wait_seconds = Histogram(
            "fakesieve_batch_wait_seconds", "Time a request waited for its batch.", buckets=_SECONDS[:10],
            registry=registry,
        )  # fmt: skip
        self.faces = Counter("fakesieve_faces", "Faces scored.", ["lane"], registry=registry)
        self.inference_seconds = Counter(
            "fakesieve_inference_seconds", "Time of the network, shared by the crops of a batch.", ["lane"],
            registry=registry,
        )  # fmt: skip
        self.job_inference_seconds = Histogram(
            "fakesieve_job_inference_seconds",
            "Time of the network for one job with an analysis, without attempts that failed.",
            buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self.inference_ends = Counter(
            "fakesieve_inference_ends", "Inference processes that died or hung.", registry=registry
        )
        self.inference_failures = Counter(
            "fakesieve_inference_failures", "Inference processes given up on.", registry=registry
        )

    def _count_backlog(self) -> None:
        registry = self.registry
        self.queue_age_seconds = Gauge(
            "fakesieve_queue_age_seconds", "How long the oldest work waits that may be begun.", ["lane"],
            registry=registry,
        )  # fmt: skip
        self.ringing = Gauge(
            "fakesieve_ringing", "Doorbells rung and not yet answered.", ["lane"], registry=registry
        )
        self.rung = Counter("fakesieve_doorbells", "Doorbells rung.", ["lane"], registry=registry)
        self.relay_failures = Counter(
            "fakesieve_relay_failures", "Turns of the relay that failed.", registry=registry
        )
        self.reconciled = Counter(
            "fakesieve_reconciled", "Rows that the reconciler moved.", ["what"], registry=registry
        )
        self.invariant_violations = Gauge(
            "fakesieve_invariant_violations",
            "Rows that break a rule, among the jobs of the last look.",
            ["invariant"],
            registry=registry,
        )
        self.invariants_look_time = Gauge(
            "fakesieve_invariants_look_timestamp_seconds",
            "When a monitor last looked for broken rules.",
            registry=registry,
        )

    def _begin_at_zero(self) -> None:
        """Show from the start what alert rules ask for: a rate sees nothing of a series' first value.

        A rule that asks for a share of some outcomes has no answer at all while there is no series of these.
        """
        for action in (Action.GIVE_BACK, Action.END):
            self.faults.labels(Reason.INTERNAL, action)
        self.jobs_without_result.labels(JobState.EXPIRED, Reason.DEADLINE_EXCEEDED)
        for outcome in Outcome:
            for verdict in VerdictValue if outcome.has_score else (NO_VERDICT,):
                self.outcomes.labels(outcome.value, verdict)
        for kind, lane in itertools.product(WorkKind, Lane):
            self.claims.labels(kind, lane, 1)

    def note_claim(self, claim: Claim) -> None:
        """Count a claim."""
        self.claims.labels(claim.kind, claim.lane, min(claim.attempt, 9)).inc()

    def note_outcome(self, outcome: Outcome, verdict: VerdictValue | None) -> None:
        """Count an analysis that was stored."""
        self.outcomes.labels(outcome.value, NO_VERDICT if verdict is None else verdict.value).inc()

    def note_refusal(self, refusal: Refusal) -> None:
        """Count a doorbell that was late or doubled."""
        self.refusals.labels(refusal).inc()

    def note_fault(self, decision: RetryDecision) -> None:
        """Count an attempt that ended without a result."""
        self.faults.labels(decision.reason, decision.action).inc()

    def note_look(self, violations: Mapping[str, int]) -> None:
        """Show how many rows break each rule, and that somebody has just looked."""
        for name, rows in violations.items():
            self.invariant_violations.labels(name).set(rows)
        self.invariants_look_time.set_to_current_time()

    def note_answer(self, lane: Lane, answer: "Answer") -> None:
        """Count what the network did for one request, and once each batch that it ran."""
        for crops in answer.ran:
            self.batch_crops.observe(crops)
        self.batch_wait_seconds.observe(answer.waited_s)
        self.inference_seconds.labels(lane).inc(answer.compute_s)

    def note_inference_end(self) -> None:
        """Count an inference process that died or hung; mostly another one is started."""
        self.inference_ends.inc()

    def note_inference_failure(self, fault: EngineError) -> None:
        """Count an inference process that could not be kept alive."""
        del fault
        self.inference_failures.inc()
