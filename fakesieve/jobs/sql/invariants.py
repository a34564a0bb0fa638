"""What must hold of all jobs at any time, as queries that return whatever breaks it.

Each query begins with ``seen``, jobs with their columns, and looks at no others. For the tests these are all
jobs. For the monitor of a live fleet they are a bounded number: those that should end first, and those that
ended last. So a look costs the same whatever the tables hold, and what gets stuck is seen all the same: the
jobs around it end, and it comes to the front of those that should. I10, that a drained host leaves no file,
process or shared memory, is not the database's to say.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from fakesieve.jobs.limits import JobLimits

# What the reconciler has not come round to yet is no violation.
SLACK_S = 30.0
OVERDUE_S = 120.0
# Of each of the two kinds of jobs that a look takes in; a rule then reads the rows of at most twice as many
# jobs, by their keys.
LOOKED_AT = 1_000
# Violations of one rule that are counted.
COUNTED = 100
# What a rule may take of a live database. A server that is too busy for that is asked later.
LOOK_MS = 5_000


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


@dataclass(frozen=True)
class Look:
    """What a monitor saw: so many jobs, and what breaks a rule among them, at most ``COUNTED`` of each."""

    jobs: int
    violations: tuple[Violation, ...]

    def count(self) -> Mapping[str, int]:
        """Return the number of violations of each rule that was asked, none of most."""
        broken = Counter(each.name for each in self.violations)
        return {rule.name: broken[rule.name] for rule in WATCHED}


_COLUMNS = "id, state, deadline, n_shards, n_done, video_id, analysis_id, reused_analysis, error_reason"
_EVERY_JOB = f"SELECT {_COLUMNS} FROM job"  # noqa: S608 - of our own words
# Each part walks an index from one end; no job is in both.
_JOBS_IN_SIGHT = (
    f"({_EVERY_JOB} WHERE state IN ('queued', 'running') ORDER BY deadline LIMIT :looked_at) UNION ALL"
    f" ({_EVERY_JOB} WHERE end_time IS NOT NULL ORDER BY end_time DESC LIMIT :looked_at)"
)
_COUNT_JOBS = text(f"SELECT count(*) FROM ({_JOBS_IN_SIGHT}) AS seen")  # noqa: S608 - of our own words

INVARIANTS = (
    Invariant(
        "I1",
        "a job that was acknowledged exists",
        "SELECT id FROM unnest(CAST(:acked AS text[])) AS acknowledged (id)"
        " WHERE NOT EXISTS (SELECT FROM seen WHERE seen.id = acknowledged.id)",
    ),
    Invariant(
        "I2",
        "a video has one analysis by a pipeline, and that one verdict by a version of a policy",
        "SELECT min(id) FROM analysis WHERE video_id IN (SELECT video_id FROM seen)"
        " GROUP BY video_id, pipeline_fingerprint HAVING count(*) > 1"
        " UNION ALL SELECT min(analysis_id) FROM verdict WHERE analysis_id IN (SELECT analysis_id FROM seen)"
        " GROUP BY analysis_id, policy_id HAVING count(*) > 1",
    ),
    Invariant(
        "I3",
        "a job counts its shards, and those that are done",
        # Of a job that ended long ago all shards are gone.
        "SELECT seen.id FROM seen JOIN shard ON shard.job_id = seen.id"
        " GROUP BY seen.id, seen.n_shards, seen.n_done"
        " HAVING seen.n_shards <> count(*) FILTER (WHERE shard.kind = 'screen')"
        " OR seen.n_done <> count(*) FILTER (WHERE shard.kind = 'screen' AND shard.state = 'done')",
    ),
    Invariant(
        "I4",
        "no job lives longer than its deadline and two minutes",
        "SELECT id FROM seen WHERE state IN ('queued', 'running')"
        " AND deadline < now() - make_interval(secs => :overdue_s)",
    ),
    Invariant(
        "I5",
        "fences only grow, and nothing is written under an older one",
        "SELECT older.job_id || '/' || older.shard_index"
        " FROM seen JOIN attempt AS older ON older.job_id = seen.id"
        " JOIN attempt AS newer USING (job_id, shard_index)"
        " WHERE newer.fence > older.fence AND older.attempt_end = 'done'"
        " AND newer.start_time < older.end_time"
        " UNION ALL SELECT shard.job_id || '/' || shard.index FROM seen JOIN shard ON shard.job_id = seen.id"
        " JOIN attempt ON attempt.job_id = shard.job_id AND attempt.shard_index = shard.index"
        " WHERE attempt.fence > shard.fence",
    ),
    Invariant(
        "I6",
        "an open shard of a live job is leased, waits in the outbox, was rung lately, or is delayed",
        "SELECT shard.job_id || '/' || shard.index FROM seen JOIN shard ON shard.job_id = seen.id"
        " WHERE seen.state IN ('queued', 'running') AND shard.state IN ('pending', 'leased')"
        " AND NOT coalesce(shard.lease_until > now() - make_interval(secs => :slack_s), false)"
        " AND NOT coalesce(shard.retry_time > now() - make_interval(secs => :slack_s), false)"
        " AND NOT coalesce("
        "shard.ring_time > now() - make_interval(secs => :doorbell_wait_s + :slack_s), false)"
        " AND NOT EXISTS (SELECT FROM outbox WHERE outbox.job_id = shard.job_id"
        " AND outbox.shard_index = shard.index AND outbox.topic = 'doorbell')"
        " UNION ALL SELECT id FROM seen WHERE state IN ('queued', 'running')"
        " AND NOT EXISTS (SELECT FROM shard WHERE shard.job_id = seen.id"
        " AND shard.state IN ('pending', 'leased'))",
    ),
    Invariant(
        "I7",
        "nothing is tried more often than allowed",
        "SELECT shard.job_id || '/' || shard.index"
        " FROM seen JOIN shard ON shard.job_id = seen.id WHERE shard.attempts > :max_attempts",
    ),
    Invariant(
        "I8",
        "a job that ended has an analysis or a reason",
        "SELECT id FROM seen WHERE state NOT IN ('queued', 'running')"
        " AND (state = 'succeeded') <> (analysis_id IS NOT NULL AND error_reason IS NULL)"
        " OR state IN ('failed', 'cancelled', 'expired') AND error_reason IS NULL",
    ),
    Invariant(
        "I9",
        "what was scored is billed, once, and nothing else is",
        "SELECT seen.id FROM seen LEFT JOIN usage ON usage.job_id = seen.id"
        " WHERE (seen.state = 'succeeded' AND NOT seen.reused_analysis) <> (usage.job_id IS NOT NULL)",
    ),
)
# Who was told of a job is not in the database.
WATCHED = tuple(rule for rule in INVARIANTS if rule.name != "I1")


def find_violations(session: Session, limits: JobLimits, acked: Sequence[str] = ()) -> list[Violation]:
    """Return what breaks a rule, in their order; a healthy fleet has none at any moment.

    Every job is looked at, so it is for databases of tests.

    Args:
        session: of the fleet itself, which sees all tenants.
        limits: those that the fleet runs with.
        acked: ids of jobs that submitters were told of.
    """
    values = {"acked": list(acked), **_list_values(limits)}
    return [
        Violation(rule.name, rule.says, subject)
        for rule in INVARIANTS
        for subject in session.execute(text(_write_query(rule, _EVERY_JOB)), values).scalars()
    ]


def look(session: Session, limits: JobLimits, looked_at: int = LOOKED_AT) -> Look:
    """Return what breaks a rule among the jobs in sight, in a time that no table's size changes.

    Args:
        session: as for :func:`find_violations`; nothing else should follow in its transaction, whose
            statements are bound to keys and to ``LOOK_MS`` from here on.
        limits: those that the fleet runs with.
        looked_at: jobs of each kind at most: live ones by their deadline, and those that ended last.

    Raises:
        Unavailable: through the transaction, where a rule took longer than ``LOOK_MS``.
    """
    session.execute(_GO_BY_KEYS, {"limit": str(LOOK_MS)})
    values = {"looked_at": looked_at, "counted": COUNTED, **_list_values(limits)}
    jobs = session.execute(_COUNT_JOBS, values)
    found = [
        Violation(rule.name, rule.says, subject)
        for rule in WATCHED
        for subject in session.execute(
            text(f"{_write_query(rule, _JOBS_IN_SIGHT)} LIMIT :counted"), values
        ).scalars()
    ]
    return Look(jobs.scalar_one(), tuple(found))


# Row-level security has the planner expect a fortieth of what it finds. So expecting, it reads whole tables:
# a rule finds rows by their keys, in the order in which it is written, from the jobs in sight on.
_GO_BY_KEYS = text(
    "SELECT set_config('statement_timeout', :limit, true), set_config('enable_seqscan', 'off', true),"
    " set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),"
    " set_config('join_collapse_limit', '1', true)"
)


def _list_values(limits: JobLimits) -> dict[str, float]:
    return {
        "overdue_s": OVERDUE_S,
        "slack_s": SLACK_S,
        "doorbell_wait_s": limits.doorbell_wait_s,
        "max_attempts": limits.max_attempts,
    }


def _write_query(rule: Invariant, jobs: str) -> str:
    """Return the query of what breaks a rule among some jobs, chosen first and once."""
    begin = f"WITH seen AS MATERIALIZED ({jobs})"
    return f"{begin} SELECT broken.subject FROM ({rule.query}) AS broken (subject)"  # noqa: S608 - own words
