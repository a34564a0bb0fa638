"""What must hold of all jobs at any time, as queries that return whatever breaks it.

The tests ask them after every run, and a monitor may ask them of a live database: each reads with indexes or
over the hot tables alone. I10, that a drained host leaves no file, process or shared memory, is not the
database's to say.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from fakesieve.jobs.limits import JobLimits

# What the reconciler has not come round to yet is no violation.
SLACK_S = 30.0
OVERDUE_S = 120.0


@dataclass(frozen=True)
class Invariant:
    """A rule with its number and the query of its violations, one text each."""

    name: str
    says: str
    query: str


@dataclass(frozen=True)
class Violation:
    """A row that breaks a rule."""

    name: str
    says: str
    subject: str

    def __str__(self) -> str:
        return f"{self.name}: {self.says}: {self.subject}"


INVARIANTS = (
    Invariant(
        "I1",
        "a job that was acknowledged exists",
        "SELECT id FROM unnest(CAST(:acked AS text[])) AS acknowledged (id)"
        " WHERE NOT EXISTS (SELECT FROM job WHERE job.id = acknowledged.id)",
    ),
    Invariant(
        "I2",
        "a video has one analysis by a pipeline, and that one verdict by a version of a policy",
        "SELECT min(id) FROM analysis GROUP BY video_id, pipeline_fingerprint HAVING count(*) > 1"
        " UNION ALL SELECT min(analysis_id) FROM verdict GROUP BY analysis_id, policy_id HAVING count(*) > 1",
    ),
    Invariant(
        "I3",
        "a job counts its shards, and those that are done",
        # Of a job that ended long ago all shards are gone.
        "SELECT job.id FROM job JOIN shard ON shard.job_id = job.id"
        " GROUP BY job.id HAVING job.n_shards <> count(*) FILTER (WHERE shard.kind = 'screen')"
        " OR job.n_done <> count(*) FILTER (WHERE shard.kind = 'screen' AND shard.state = 'done')",
    ),
    Invariant(
        "I4",
        "no job lives longer than its deadline and two minutes",
        "SELECT id FROM job WHERE state IN ('queued', 'running')"
        " AND deadline < now() - make_interval(secs => :overdue_s)",
    ),
    Invariant(
        "I5",
        "fences only grow, and nothing is written under an older one",
        "SELECT older.job_id || '/' || older.shard_index FROM attempt AS older"
        " JOIN attempt AS newer USING (job_id, shard_index)"
        " WHERE newer.fence > older.fence AND older.attempt_end = 'done'"
        " AND newer.start_time < older.end_time"
        " UNION ALL SELECT shard.job_id || '/' || shard.index FROM shard"
        " JOIN attempt ON attempt.job_id = shard.job_id AND attempt.shard_index = shard.index"
        " WHERE attempt.fence > shard.fence",
    ),
    Invariant(
        "I6",
        "an open shard of a live job is leased, waits in the outbox, was rung lately, or is delayed",
        "SELECT shard.job_id || '/' || shard.index FROM shard JOIN job ON job.id = shard.job_id"
        " WHERE job.state IN ('queued', 'running') AND shard.state IN ('pending', 'leased')"
        " AND NOT coalesce(shard.lease_until > now() - make_interval(secs => :slack_s), false)"
        " AND NOT coalesce(shard.retry_time > now() - make_interval(secs => :slack_s), false)"
        " AND NOT coalesce("
        "shard.ring_time > now() - make_interval(secs => :doorbell_wait_s + :slack_s), false)"
        " AND NOT EXISTS (SELECT FROM outbox WHERE outbox.job_id = shard.job_id"
        " AND outbox.shard_index = shard.index AND outbox.topic = 'doorbell')"
        " UNION ALL SELECT job.id FROM job WHERE job.state IN ('queued', 'running')"
        " AND NOT EXISTS (SELECT FROM shard WHERE shard.job_id = job.id"
        " AND shard.state IN ('pending', 'leased'))",
    ),
    Invariant(
        "I7",
        "nothing is tried more often than allowed",
        "SELECT job_id || '/' || index FROM shard WHERE attempts > :max_attempts",
    ),
    Invariant(
        "I8",
        "a job that ended has an analysis or a reason",
        "SELECT id FROM job WHERE state NOT IN ('queued', 'running')"
        " AND (state = 'succeeded') <> (analysis_id IS NOT NULL AND error_reason IS NULL)"
        " OR state IN ('failed', 'cancelled', 'expired') AND error_reason IS NULL",
    ),
    Invariant(
        "I9",
        "what was scored is billed, once, and nothing else is",
        "SELECT job.id FROM job LEFT JOIN usage ON usage.job_id = job.id"
        " WHERE (job.state = 'succeeded' AND NOT job.reused_analysis) <> (usage.job_id IS NOT NULL)",
    ),
)


def find_violations(session: Session, limits: JobLimits, acked: Sequence[str] = ()) -> list[Violation]:
    """Return what breaks a rule, in their order; a healthy fleet has none at any moment.

    Args:
        session: of the fleet itself, which sees all tenants.
        limits: those that the fleet runs with.
        acked: ids of jobs that submitters were told of.
    """
    values = {
        "acked": list(acked),
        "overdue_s": OVERDUE_S,
        "slack_s": SLACK_S,
        "doorbell_wait_s": limits.doorbell_wait_s,
        "max_attempts": limits.max_attempts,
    }
    return [
        Violation(rule.name, rule.says, subject)
        for rule in INVARIANTS
        for subject in session.execute(text(rule.query), values).scalars()
    ]
