"""The same store under Hypothesis, which shrinks what it finds to the few steps that matter."""

from types import SimpleNamespace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fakesieve.jobs.cancel import cancel_job, retry_job
from fakesieve.jobs.claim import Taker, claim_shard, extend_claims, release_shard
from fakesieve.jobs.fan_out import Prepared, fan_out, reject_job
from fakesieve.jobs.finish import finish_job, finish_only_shard, finish_shard
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.reconcile import reconcile
from fakesieve.jobs.relay import Credit, relay_doorbells
from fakesieve.jobs.rows import Claim, HostBeat, ShardKey, Waiting
from fakesieve.jobs.states import Lane, WorkKind
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from tests.fakes import MemoryJobStore
from tests.simulation.invariants import find_stuck, find_violations
from tests.simulation.world import Rules

LEASE_S = 30.0
MEDIA = {"duration_us": 1}
small = st.integers(0, 3)
takers = st.sampled_from([None, Taker("host", LEASE_S)])


class JobMachine(RuleBasedStateMachine):
    """Workers, relay, reconciler and callers act in any order; messages are lost, doubled and mixed up."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1_000_000.0
        self.store = MemoryJobStore(lambda: self.now_s)
        self.limits = JobLimits(lease_s=LEASE_S, doorbell_wait_s=45.0)
        self.rules_of_world = Rules()
        self.messages: list[ShardKey] = []
        self.claims: list[Claim] = []
        self.acked: dict[str, NewJob] = {}
        self.credit = Credit()

    @property
    def world(self) -> SimpleNamespace:
        return SimpleNamespace(
            store=self.store,
            acked=self.acked,
            wrong=[],
            limits=self.limits,
            rules=self.rules_of_world,
            heal=lambda: None,
            now_s=self.now_s,
        )

    def pick_job(self, n: int) -> str:
        return list(self.acked)[n % len(self.acked)]

    @rule(n=small, lane=st.sampled_from(Lane), deadline_s=st.sampled_from([60.0, 100_000.0]))
    def submit(self, n: int, lane: Lane, deadline_s: float) -> None:
        source = VideoRef("b", f"clip-{n}")
        new = NewJob("ten_a", source, lane, idempotency_key=f"{n}-{lane}", deadline_s=deadline_s)
        self.acked[submit_video(self.store, new).job_id] = new

    @rule(slots=st.integers(1, 3))
    def ring(self, slots: int) -> None:
        self.store.run(lambda tx: tx.beat_host(HostBeat("host", slots)))
        self.credit = relay_doorbells(self.store, self.note, self.credit, self.limits).credit

    def note(self, waiting: Waiting) -> None:
        self.messages.append(waiting.key)

    @precondition(lambda self: self.messages)
    @rule(n=st.integers(0, 20), is_doubled=st.booleans())
    def deliver(self, n: int, is_doubled: bool) -> None:
        place = n % len(self.messages)
        key = self.messages[place] if is_doubled else self.messages.pop(place)
        claim = claim_shard(self.store, key, "host", LEASE_S, self.limits)
        if isinstance(claim, Claim):
            self.claims.append(claim)

    @precondition(lambda self: self.messages)
    @rule()
    def lose_all_messages(self) -> None:
        self.messages.clear()

    @precondition(lambda self: self.claims)
    @rule(n=small, shards=st.integers(1, 3), times=st.integers(1, 2), taker=takers)
    def finish(self, n: int, shards: int, times: int, taker: Taker | None) -> None:
        """Do the work of a claim, current or not; twice where the first reply was lost."""
        claim = self.claims[n % len(self.claims)]
        found = SimpleNamespace(video_id=claim.video_id, fingerprint=claim.fingerprint)
        following = None
        for _ in range(times):
            if claim.kind is WorkKind.PREPARE:
                plans = tuple({"n": k} for k in range(shards))
                sha256 = claim.source.key[-1] * 64
                prepared = Prepared(sha256, 1, MEDIA, "fp", plans)
                following = fan_out(self.store, claim, prepared, self.limits, taker).following
            elif claim.kind is WorkKind.SCREEN and claim.n_shards == 1 and taker:
                finish_only_shard(self.store, claim, found)
            elif claim.kind is WorkKind.SCREEN:
                following = finish_shard(self.store, claim, b"evidence", taker).following
            else:
                finish_job(self.store, claim.key.job_id, found, claim.fence)
        if following is not None:
            self.claims.append(following)

    @precondition(lambda self: self.claims)
    @rule(n=small)
    def forget_claim(self, n: int) -> None:
        """The worker died."""
        del self.claims[n % len(self.claims)]

    @precondition(lambda self: self.claims)
    @rule(n=small, refund=st.booleans(), delay_s=st.sampled_from([0.0, 20.0]))
    def release(self, n: int, refund: bool, delay_s: float) -> None:
        claim = self.claims[n % len(self.claims)]
        release_shard(self.store, claim, Reason.NO_SPACE, delay_s, refund=refund, limits=self.limits)

    @precondition(lambda self: self.claims)
    @rule(n=small)
    def reject(self, n: int) -> None:
        reject_job(self.store, self.claims[n % len(self.claims)], Reason.NOT_VIDEO, "seen")

    @rule()
    def extend(self) -> None:
        lost = extend_claims(self.store, "host", self.claims, LEASE_S)
        self.claims = [claim for claim in self.claims if claim.key not in lost]

    @precondition(lambda self: self.acked)
    @rule(n=small)
    def cancel(self, n: int) -> None:
        cancel_job(self.store, self.pick_job(n))

    @precondition(lambda self: self.acked)
    @rule(n=small)
    def retry(self, n: int) -> None:
        retry_job(self.store, self.pick_job(n))

    @rule(span_s=st.sampled_from([1.0, 16.0, 31.0, 46.0]))
    def wait(self, span_s: float) -> None:
        self.now_s += span_s

    @rule()
    def reconcile(self) -> None:
        reconcile(self.store, self.limits)

    @invariant()
    def nothing_is_broken(self) -> None:
        assert find_violations(self.world) == []

    def teardown(self) -> None:
        self.now_s += 400.0
        assert find_stuck(self.world) == []


JobMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=50)
TestJobMachine = JobMachine.TestCase
