"""A fleet in one thread: hosts are generators, and a seeded scheduler decides whose turn it is.

A seed fixes everything: which host moves, how much time passes, which transaction gets no reply, which
message is lost, who is killed or paused. Between two yields a host runs undisturbed; at a yield it may die.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from fakesieve.errors import Unavailable
from fakesieve.jobs.cancel import cancel_job, retry_job
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.reconcile import reconcile
from fakesieve.jobs.relay import Credit, keep_doorbells, relay_doorbells
from fakesieve.jobs.rows import Claim
from fakesieve.jobs.states import Lane
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.objects import VideoRef
from tests.simulation.faults import FaultyBroker, FaultyStore
from tests.simulation.memory_overdue import MemoryTransaction
from tests.simulation.workers import SimHost

LIMITS = JobLimits(lease_s=30.0, doorbell_wait_s=45.0, host_silence_s=60.0, max_deliveries=12)
JOBS_MAX = 6
_LANES = tuple(Lane)
# Two tenants, four contents, three lanes; one job in eight is in a hurry.
_NEW_JOBS = [
    NewJob(
        f"ten_{n % 2}",
        VideoRef("b", f"clip-{n % 4}"),
        lane=_LANES[n % 3],
        idempotency_key=f"key-{n}",
        deadline_s=120.0 if n % 8 == 0 else 100_000.0,
    )
    for n in range(24)
]
# Mostly nothing or a moment passes; sometimes so much that leases run out.
_PAUSES_S = (0.0, 0.0, 0.1, 0.3, 1.0, 1.0, 3.0, 3.0, 10.0, 25.0)


@dataclass(frozen=True)
class Rules:
    """What a world consists of. Mutants of the product are made by leaving something out."""

    transaction: type[MemoryTransaction] = MemoryTransaction
    has_reconciler: bool = True


WHOLE = Rules()


class World:
    """One run of the simulation."""

    def __init__(self, seed: int, rules: Rules = WHOLE) -> None:
        self.random = Random(seed)
        self.draw = self.random.random
        self.rules = rules
        self.limits = LIMITS
        self.now_s = 1_000_000.0
        self.store = FaultyStore(self.read_clock, rules.transaction, self.draw)
        self.broker = FaultyBroker(self.read_clock, self.random)
        self.store.ring_directly = self.broker.ring
        self.seen: Counter[str] = Counter()
        self.acked: dict[str, NewJob] = {}
        self.wrong: list[str] = []
        self.read: dict[str, VideoRef] = {}
        self.credits = [Credit(), Credit()]
        self.is_rolling = self.draw() < 0.3
        self.hosts = [SimHost(self, f"host-{n}", slots=2) for n in range(2)]
        self.scored: set[str] = set()
        # BUGGIFY: a quarter of the kinds of faults is at work in a run, each at a rate of its own.
        self.store.fault_rate = self._rate(0.12)
        self.broker.fault_rate = self._rate(0.4)
        self.kill_rate = self._rate(0.03)
        self.pause_rate = self._rate(0.03)
        self.outage_rate = self._rate(0.02)
        self.actors = self._make_actors()

    def note_score(self, claim: Claim, evidence: list[bytes]) -> None:
        """Check what a scored job rests on: the evidence of each shard, once, under its last fence."""
        job_id = claim.key.job_id
        shards = self.store.shards[job_id]
        wanted = [b"%d/%d" % (shards[n].fence, n) for n in range(1, claim.n_shards + 1)]
        if evidence != wanted or job_id in self.scored:
            self.wrong.append(f"{job_id} was scored on {evidence}, not {wanted}")
        self.scored.add(job_id)
        self.seen["scored"] += 1

    def note_read(self, claim: Claim) -> None:
        """All shards of a job read the version of the object that was prepared."""
        first = self.read.setdefault(claim.key.job_id, claim.source)
        if claim.source != first or not first.is_pinned:
            self.wrong.append(f"{claim.key} reads {claim.source}, another read {first}")

    def _rate(self, most: float) -> float:
        return most * self.draw() if self.draw() < 0.6 else 0.0

    def read_clock(self) -> float:
        return self.now_s

    def _make_actors(self) -> list[Callable[[], None]]:
        actors = [self._submit, self._submit, self._ask, self._relay, self._relay]
        if self.rules.has_reconciler:
            actors.append(self._reconcile)
        for host in self.hosts:
            actors += [host.beat, host.beat, *[slot.move for slot in host.slots] * 2]
        return actors

    # One turn.

    def step(self) -> None:
        """Let some time pass, let one actor move, and let something break."""
        draw = self.draw
        self.now_s += _PAUSES_S[int(draw() * 10)]
        self.actors[int(draw() * len(self.actors))]()
        if draw() < self.kill_rate + self.pause_rate + self.outage_rate:
            self._break()

    def _break(self) -> None:
        host = self.hosts[int(self.draw() * 2)]
        kind = self.draw() * (self.kill_rate + self.pause_rate + self.outage_rate)
        if kind < self.kill_rate:
            host.kill()
            self.seen["killed"] += 1
        elif kind < self.kill_rate + self.pause_rate:
            host.paused_until_s = self.now_s + 80.0 * self.draw()
            self.seen["paused"] += 1
        elif self.draw() < 0.5:
            self.broker.messages.clear()
            self.seen["broker_flushed"] += 1
        else:
            self.broker.is_down = not self.broker.is_down
            self.seen["broker_down"] += 1

    def heal(self) -> None:
        """End all faults. What has gone wrong stays gone wrong."""
        self.store.fault_rate = self.broker.fault_rate = 0.0
        self.kill_rate = self.pause_rate = self.outage_rate = 0.0
        self.broker.is_down = False
        for host in self.hosts:
            host.paused_until_s = 0.0

    # Who submits and asks.

    def _submit(self) -> None:
        if len(self.store.jobs) >= JOBS_MAX:
            return
        kind = int(self.draw() * 24)
        new = _NEW_JOBS[kind]
        for _ in range(3):  # a client without a reply sends the same again
            try:
                submitted = submit_video(self.store, new)
            except Unavailable:
                self.seen["submit_again"] += 1
                continue
            self.acked[submitted.job_id] = new
            self.seen["submitted" if submitted.is_new else "key_known"] += 1
            return

    def _ask(self) -> None:
        """Cancel or retry a job, now and then."""
        if not self.acked or self.draw() > 0.3:
            return
        job_id = self.random.choice(list(self.acked))
        try:
            if self.draw() < 0.4:
                self.seen["cancelled"] += cancel_job(self.store, job_id)
            else:
                self.seen["retried"] += retry_job(self.store, job_id)
        except Unavailable:
            self.seen["no_reply"] += 1

    # What serves.

    def _relay(self) -> None:
        which = self.draw() < 0.5  # of two relays
        try:
            self.seen["kept"] += keep_doorbells(self.store, self.broker.count_held, LIMITS)
            relayed = relay_doorbells(
                self.store, self.broker.ring, self.credits[which], LIMITS, self.broker.count_held
            )
        except Unavailable:
            self.seen["relay_failed"] += 1
            return
        self.credits[which] = relayed.credit

    def _reconcile(self) -> None:
        try:
            done = reconcile(self.store, LIMITS)
        except Unavailable:
            return
        if not done.is_idle:
            self.seen["taken_back"] += done.taken_back
            self.seen["rung_again"] += done.rung_again
            self.seen["exhausted"] += done.exhausted
            self.seen["expired"] += done.expired


def run_seed(seed: int, rules: Rules = WHOLE, steps: int = 200) -> World:
    """Run one seed to its end and return the world as it is then."""
    world = World(seed, rules)
    step = world.step
    for _ in range(steps):
        step()
    return world


def drain(world: World, steps_max: int = 5000) -> int:
    """Go on without faults until every job has ended; return the number of jobs that have not."""
    world.heal()
    for _ in range(steps_max):
        world.step()
        if not any(job.is_live for job in world.store.jobs.values()):
            return 0
    return sum(job.is_live for job in world.store.jobs.values())
