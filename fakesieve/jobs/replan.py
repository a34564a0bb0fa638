"""Planning a job anew when no host is left that runs the pipeline for which it was planned."""

from fakesieve.jobs.rows import Claim, Fault, JobEnd, ShardKey
from fakesieve.jobs.states import JobState
from fakesieve.jobs.store import JobStore, JobTransaction
from fakesieve.reasons import Reason

# Claims of one shard after which its pipeline is taken for gone. While half of the hosts still run it, one of
# those gets one of the first three claims in seven of eight cases.
REPLAN_DELIVERIES = 4


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
