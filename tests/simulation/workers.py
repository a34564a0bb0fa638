"""Worker hosts of a simulation: slots that claim, work and finish, with a heartbeat beside them."""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

from fakesieve.errors import Unavailable
from fakesieve.jobs.claim import Taker, claim_shard, extend_claims, recall_claim, release_shard
from fakesieve.jobs.fan_out import FanOut, Prepared, fan_out, reject_job
from fakesieve.jobs.finish import (
    Finish,
    finish_job,
    finish_only_shard,
    finish_shard,
    load_evidence,
    score_key,
)
from fakesieve.jobs.replan import is_pipeline_gone, replan_job
from fakesieve.jobs.rows import Claim, HostBeat, HostModel, ShardKey
from fakesieve.jobs.states import WorkKind
from fakesieve.reasons import Reason
from fakesieve.records.models import ModelFacts

if TYPE_CHECKING:
    from tests.simulation.world import World

LEASE_S = 30.0
MEDIA = {"duration_us": 1}
_MODEL = ModelFacts("lv-compact", "a" * 64, "onnxruntime", "f32")
_SHAS = {f"clip-{n}": f"{n}" * 64 for n in range(4)}


class SimHost:
    """A process with some slots. Killing it loses everything that it knows."""

    def __init__(self, world: "World", name: str, slots: int) -> None:
        self.world, self.name, self.n_slots = world, name, slots
        self.births = 0
        self.paused_until_s = 0.0
        self.slots = [SimSlot(self) for _ in range(slots)]
        self.start()

    def start(self) -> None:
        self.births += 1
        # In the middle of a roll-out some hosts begin anew with the next pipeline.
        self.fingerprint = "fp2" if self.births > 1 and self.world.is_rolling else "fp"
        self.owner = f"{self.name}/{self.births}"
        self.beat_record = HostBeat(self.owner, self.n_slots, model=HostModel(_MODEL, self.fingerprint))
        self.lost: set[ShardKey] = set()
        # A clock that is wrong and runs at another speed decides when the next heartbeat is due.
        self.clock_rate = 0.5 + 2.0 * self.world.draw()
        self.next_beat_s = 0.0
        self.asking: set[ShardKey] = set()
        for slot in self.slots:
            slot.claim = slot.work = slot.asks = None

    def kill(self) -> None:
        self.start()

    def beat(self) -> None:
        """Lengthen all leases of the host, when its clock says so."""
        world = self.world
        local_s = world.now_s * self.clock_rate
        if world.now_s < self.paused_until_s or local_s < self.next_beat_s:
            return
        self.next_beat_s = local_s + LEASE_S / 3
        claims = [slot.claim for slot in self.slots if slot.claim is not None]
        try:
            world.store.run(lambda tx: tx.beat_host(self.beat_record))
            self.lost |= extend_claims(world.store, self.owner, claims, LEASE_S)
        except Unavailable:
            world.seen["beat_failed"] += 1


class SimSlot:
    """One thread of a host: takes a doorbell, claims, and works in steps."""

    def __init__(self, host: SimHost) -> None:
        self.host = host
        self.world = host.world
        self.claim: Claim | None = None
        self.work: Iterator[None] | None = None
        self.asks: ShardKey | None = None

    def move(self) -> None:
        world, host = self.world, self.host
        if world.now_s < host.paused_until_s:
            return
        if self.work is None:
            key = world.broker.take()
            if key is not None:
                self._begin(key)
            return
        work = self.work
        try:
            next(work)
        except StopIteration:
            pass
        except Unavailable:
            world.seen["gave_up"] += 1
        else:
            return
        if self.work is work:
            self._end_asking()
            self.claim = self.work = None

    def _begin(self, key: ShardKey) -> None:
        world = self.world
        if key in self.host.asking:
            world.seen["asked_for"] += 1
            return
        try:
            claim = claim_shard(world.store, key, self.host.owner, LEASE_S, world.limits)
        except Unavailable:
            world.seen["claim_without_reply"] += 1
            found = self._recall(key)
            if found is None:
                return
            claim = found
        if not isinstance(claim, Claim):
            world.seen[f"refused_{claim}"] += 1
            return
        self.host.lost.discard(key)
        self.claim = claim
        self.work = self._do(claim)

    def _recall(self, key: ShardKey) -> Claim | None:
        """Look a claim up, unless another slot of the host has the shard and it may be that one's."""
        if any(slot.claim is not None and slot.claim.key == key for slot in self.host.slots):
            return None
        try:
            found = recall_claim(self.world.store, key, self.host.owner)
        except Unavailable:
            return None
        self.world.seen["recalled"] += found is not None
        return found

    def _do(self, claim: Claim) -> Iterator[None]:
        draw = self.world.draw
        if draw() < 0.05:
            yield
            self._release(claim)
            return
        if claim.source.key == "clip-3" and claim.kind is WorkKind.SCREEN and draw() < 0.9:
            yield
            self.world.seen["poisoned"] += 1
            self.host.kill()  # the whole host dies of this video
            return
        if draw() < 0.5:
            yield
        if claim.kind is not WorkKind.PREPARE and claim.fingerprint != self.host.fingerprint:
            self._leave_to_others(claim)
            return
        if claim.key in self.host.lost:
            self.world.seen["stopped_early"] += 1
            return
        if claim.kind is WorkKind.PREPARE:
            yield from self._prepare(claim)
        elif claim.kind is WorkKind.SCREEN:
            yield from self._screen(claim)
        else:
            yield from self._score(claim)

    def _leave_to_others(self, claim: Claim) -> None:
        """Give back what was planned for another pipeline, or have it planned anew."""
        world = self.world
        if is_pipeline_gone(world.store, claim, world.limits):
            world.seen["replanned"] += replan_job(world.store, claim, "another pipeline")
        else:
            release_shard(
                world.store, claim, Reason.ENGINE_UNAVAILABLE, 5.0, refund=True, limits=world.limits
            )

    def _release(self, claim: Claim) -> None:
        is_current = release_shard(
            self.world.store,
            claim,
            Reason.OBJECT_STORE_UNAVAILABLE,
            20.0 * self.world.draw(),
            refund=self.world.draw() < 0.7,
            limits=self.world.limits,
        )
        self.world.seen["released" if is_current else "stale_release"] += 1

    def _prepare(self, claim: Claim) -> Iterator[None]:
        world = self.world
        content = claim.source.key
        if content == "clip-2" and world.draw() < 0.3:
            world.seen["rejected"] += reject_job(world.store, claim, Reason.NOT_VIDEO, "seen")
            return
        shards = 1 + int(world.draw() * 3)
        plans = tuple({"n": n} for n in range(shards))
        # The object is replaced by the same bytes each time that somebody looks.
        read = replace(claim.source, etag=claim.source.etag or f"{claim.key.job_id}-{claim.fence}")
        prepared = Prepared(_SHAS[content], 1, MEDIA, self.host.fingerprint, plans, source=read)
        taker = self._begin_taking(ShardKey(claim.key.job_id, 1))
        fanned = yield from self._until_reply(
            lambda: fan_out(world.store, claim, prepared, world.limits, taker)
        )
        if fanned.outcome is FanOut.REUSED:
            world.seen["reused"] += 1
        elif fanned.outcome is FanOut.STALE:
            world.seen["stale_fan_out"] += 1
        elif fanned.outcome is FanOut.WAITING:
            world.seen["waited_for_twin"] += 1
        self._go_on(fanned.following)

    def _screen(self, claim: Claim) -> Iterator[None]:
        world = self.world
        world.note_read(claim)
        evidence = b"%d/%d" % (claim.fence, claim.key.index)
        if claim.n_shards == 1 and world.draw() < 0.7:
            yield from self._end_only(claim, evidence)
            return
        taker = self._begin_taking(score_key(claim))
        finished = yield from self._until_reply(lambda: finish_shard(world.store, claim, evidence, taker))
        if finished.outcome is Finish.STALE:
            world.seen["stale_finish"] += 1
        elif finished.outcome is Finish.LAST:
            world.seen["last"] += 1
        self._go_on(finished.following)

    def _end_only(self, claim: Claim, evidence: bytes) -> Iterator[None]:
        """Screen and score the only shard of a job."""
        world = self.world
        analysis = SimpleNamespace(video_id=claim.video_id, fingerprint=claim.fingerprint)
        is_ours = yield from self._until_reply(lambda: finish_only_shard(world.store, claim, analysis))
        if is_ours:
            world.seen["scored_alone"] += 1
            world.note_score(claim, [evidence])
        else:
            world.seen["stale_only_shard"] += 1

    def _begin_taking(self, key: ShardKey) -> Taker | None:
        """Begin to ask for what follows, unless another slot of the host does or this one is told to stop."""
        host = self.host
        if self.world.draw() < 0.2 or key in host.asking:
            return None
        host.asking.add(key)
        self.asks = key
        return Taker(host.owner, LEASE_S, self.world.limits)

    def _go_on(self, claim: Claim | None) -> None:
        """Begin what was leased together with the end of the work before it."""
        self._end_asking()
        if claim is None:
            return
        self.world.seen["taken"] += 1
        if self.world.draw() < 0.1:  # it dies just here
            self.world.seen["died_with_what_it_took"] += 1
            return
        self.host.lost.discard(claim.key)
        self.claim = claim
        self.work = self._do(claim)

    def _end_asking(self) -> None:
        if self.asks is not None:
            self.host.asking.discard(self.asks)
            self.asks = None

    def _score(self, claim: Claim) -> Iterator[None]:
        world = self.world
        evidence = load_evidence(world.store, claim.key.job_id)
        yield
        analysis = SimpleNamespace(video_id=claim.video_id, fingerprint=claim.fingerprint)
        is_first = yield from self._until_reply(
            lambda: finish_job(world.store, claim.key.job_id, analysis, claim.fence)
        )
        if is_first:
            world.note_score(claim, evidence)
        else:
            world.seen["scored_again"] += 1

    def _until_reply(self, ask):
        """Ask again while there is no reply: the same claim, so the same answer."""
        for _ in range(3):
            try:
                return ask()
            except Unavailable:
                self.world.seen["asked_again"] += 1
                yield
        return ask()
