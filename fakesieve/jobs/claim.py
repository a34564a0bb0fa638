"""The right to work on a shard: taken before a byte is read, held by a lease, given back cleanly.

A worker that was paused for longer than its lease may wake up and write. The fence stops it: each claim
raises it, and whatever is written later names the fence of its claim.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from fakesieve.jobs.ends import describe_exhaustion, end_job, failed_by
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.rows import Claim, Fault, JobRow, Refusal, ShardKey, ShardRow
from fakesieve.jobs.states import ShardState
from fakesieve.jobs.store import JobStore, JobTransaction
from fakesieve.reasons import Reason

DEFAULT_LIMITS = JobLimits()


@dataclass(frozen=True, slots=True)
class Taker:
    """Who goes on with a job: what follows is leased in the transaction that makes it possible.

    It saves a doorbell and a transaction. Whoever dies just after it is found out by the end of the lease.
    """

    owner: str
    lease_s: float
    limits: JobLimits = DEFAULT_LIMITS

    def take(self, tx: JobTransaction, key: ShardKey) -> Claim | None:
        """Lease a shard that this transaction has inserted; None where the job is past its deadline."""
        return tx.lease_shard(key, self.owner, self.lease_s, self.limits)

    def recall(self, tx: JobTransaction, key: ShardKey) -> Claim | None:
        """Return the lease that was taken by a transaction whose reply was lost."""
        return tx.find_claim(key, self.owner)


def claim_shard(
    store: JobStore, key: ShardKey, owner: str, lease_s: float, limits: JobLimits = DEFAULT_LIMITS
) -> Claim | Refusal:
    """Lease the shard to ``owner`` for ``lease_s`` seconds, or say why not.

    The attempt is counted here, so that work which kills its worker is not tried for ever.
    """

    def work(tx: JobTransaction) -> Claim | Refusal:
        claim = tx.lease_shard(key, owner, lease_s, limits)
        return claim or explain_refusal(tx.read_shard(key), tx.read_job(key.job_id), limits)

    return store.run_alone(work)


def recall_claim(store: JobStore, key: ShardKey, owner: str) -> Claim | None:
    """Return the claim that ``owner`` has on a shard, for who claimed it and heard no reply.

    Only whoever knows that no other work of the owner has this claim may ask: it would be done twice.
    """
    return store.run(lambda tx: tx.find_claim(key, owner))


def explain_refusal(shard: ShardRow | None, job: JobRow | None, limits: JobLimits) -> Refusal:
    """Say why a shard could not be leased. Read after the fact, so it may be a moment newer."""
    if shard is None or job is None:
        return Refusal.UNKNOWN
    if shard.state in (ShardState.DONE, ShardState.FAILED):
        return Refusal.DONE
    if job.state.is_terminal:
        return Refusal.ENDED
    if shard.state is ShardState.LEASED and not shard.is_lease_over:
        return Refusal.HELD
    if is_exhausted(shard, limits):
        return Refusal.EXHAUSTED
    return Refusal.NOT_YET if shard.is_delayed else Refusal.ENDED


def is_exhausted(shard: ShardRow, limits: JobLimits) -> bool:
    """Whether a shard may not be claimed again."""
    return shard.attempts >= limits.max_attempts or shard.deliveries >= limits.max_deliveries


def extend_claims(
    store: JobStore, owner: str, claims: Iterable[Claim], lease_s: float
) -> frozenset[ShardKey]:
    """Lengthen all leases of a host in one transaction; return the shards to stop work on.

    Those were taken over by somebody else, or their job was cancelled or has ended in another way.
    """
    fences = {claim.key: claim.fence for claim in claims}
    if not fences:
        return frozenset()
    kept = store.run(lambda tx: tx.extend_leases(owner, fences, lease_s))
    return frozenset(fences) - kept


def release_shard(
    store: JobStore,
    claim: Claim,
    reason: Reason,
    delay_s: float,
    *,
    refund: bool,
    message: str = "",
    limits: JobLimits = DEFAULT_LIMITS,
) -> bool:
    """Give a shard back, to be claimed by anybody after the delay. False when the claim is stale.

    With ``refund`` the attempt does not count: the machine was at fault (a stop, no space, no store). Without
    attempts left the job fails with the reason at once.
    """
    fault = Fault(reason, message)
    return store.run(lambda tx: give_back(tx, claim, fault, delay_s, refund=refund, limits=limits))


def give_back(
    tx: JobTransaction, claim: Claim, fault: Fault, delay_s: float, *, refund: bool, limits: JobLimits
) -> bool:
    """Do what :func:`release_shard` does, as a part of a transaction."""
    shard = tx.release_lease(claim.key, claim.fence, fault, delay_s, refund=refund)
    if shard is None:
        return False
    if is_exhausted(shard, limits):
        give_up(tx, shard)
    else:
        tx.insert_doorbells([claim.key], delay_s)
    return True


def give_up(tx: JobTransaction, shard: ShardRow) -> None:
    """Fail a locked shard that has no attempt left, and its job with it."""
    fault = describe_exhaustion(shard)
    tx.fail_shard(shard.key, fault)
    end_job(tx, shard.key.job_id, failed_by(fault))
