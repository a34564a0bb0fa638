"""Planning a job anew when hardly a host is left that runs the pipeline for which it was planned."""

from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.rows import Claim, Fault, JobEnd, ShardKey
from fakesieve.jobs.states import JobState
from fakesieve.jobs.store import JobStore, JobTransaction
from fakesieve.reasons import Reason

# Claims of one shard before which its pipeline is not taken for gone: hosts that begin again are away for a
# moment.
REPLAN_DELIVERIES = 4
# Of the live slots. While a pipeline has more, one of its hosts gets one of the next ten claims in 94 of 100
# cases; below, what its shards have found is worth less than the wait.
REPLAN_SHARE = 0.25
# Claims that are left when its share does not count any more: a job planned anew is better than a failed one.
_LAST_DELIVERIES = 10


def is_pipeline_gone(store: JobStore, claim: Claim, limits: JobLimits) -> bool:
    """Whether a job is to be planned anew, of whose pipeline the claiming host is not.

    Many claims alone say nothing: they may have been given back for an object store that was away, while all
    other hosts run that pipeline.
    """
    if claim.fingerprint is None or claim.deliveries < REPLAN_DELIVERIES:
        return False
    if claim.deliveries > limits.max_deliveries - _LAST_DELIVERIES:
        return True
    fingerprint, silence_s = claim.fingerprint, limits.host_silence_s

    def work(tx: JobTransaction) -> bool:
        return tx.count_slots(silence_s, fingerprint) <= REPLAN_SHARE * tx.count_slots(silence_s)

    return store.run(work)


def replan_job(store: JobStore, claim: Claim, seen: str) -> bool:
    """Put a running job back to its beginning; false when the claim is stale.

    One transaction ends it and starts it again, so that nobody sees an end and no event tells of one. What
    its shards have found goes: evidence of two pipelines must not be joined. The deadline stays, so that a
    fleet of two pipelines that plan for one another does not do so for ever.
    """
    fault = Fault(Reason.ENGINE_UNAVAILABLE, seen)
    job_id = claim.key.job_id

    def work(tx: JobTransaction) -> bool:
        tx.lock_shards(job_id)  # all of them before the job, as everybody does
        if tx.release_lease(claim.key, claim.fence, fault, 0.0, refund=True) is None:
            return False
        end = JobEnd(JobState.CANCELLED, fault.reason, seen)
        if tx.end_job(job_id, end) is None or not tx.reset_job(job_id, is_new_start=False):
            return False
        tx.insert_doorbells([ShardKey(job_id, 0)])
        return True

    return store.run(work)
