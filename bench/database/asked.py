"""The questions: what commands, API, relay, reconciler and people ask, each with random parameters."""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.orm import Session

from bench.database.policies import GOAL_MS, HISTORY, apply_far, apply_near, preview_change
from engine.results import Outcome, VerdictValue
from fakesieve.filters.check import read_filter
from fakesieve.filters.order import read_order
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.reconcile import SHARD_AGE_S
from fakesieve.jobs.rows import ShardKey
from fakesieve.jobs.sql.invariants import look
from fakesieve.jobs.sql.store import SqlJobTransaction
from fakesieve.jobs.states import JobState
from fakesieve.records.analyses import load_analysis
from fakesieve.records.analysis_lists import AnalysisQuery, find_line, list_analyses
from fakesieve.records.job_lists import (
    find_batch_jobs,
    find_job_of_analysis,
    find_jobs,
    list_jobs,
    load_job,
)
from fakesieve.records.result_lists import list_results

QUERY_PAGE = Path(__file__).parents[2] / "docs" / "howto" / "query.md"
LIST_MS, BY_ID_MS = 25.0, 15.0  # goals at the 99th percentile
PAGE = 50
LIMITS = JobLimits()
_SAMPLE = 2000
_SQL_BLOCK = re.compile(r"^## (?P<title>[^\n]+)\n.*?^```sql\n(?P<sql>.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Pick:
    """Random parameters of one run; all belong to the same tenant, which has so many ``analyses``."""

    tenant_id: str
    analyses: int
    job_id: str
    analysis_id: str
    batch_id: str
    before: tuple[datetime, str]
    job_ids: tuple[str, ...]
    waiting: ShardKey
    verdict: VerdictValue
    outcome: Outcome


Ask = Callable[[Session, Pick], object]


class Asker(Enum):
    """Who asks: it decides which rules of row-level security the database adds."""

    API = "api"  # the role that answers requests, for one tenant
    COMMAND = "command"  # the fleet's role, for one tenant
    FLEET = "fleet"  # the fleet's role, for all


@dataclass(frozen=True)
class Question:
    """What it writes is undone. With ``history`` it is about the tenant with nearly so many analyses."""

    name: str
    ask: Ask
    goal_ms: float | None = None
    asker: Asker = Asker.API
    runs: int = 300
    history: int | None = None


class Picker:
    """Draws parameters from rows that there are. Tenants come equally often, whatever their size."""

    def __init__(self, session: Session, seed: int = 1) -> None:
        self._rng = random.Random(seed)
        rows = session.execute(
            text(
                "SELECT tenant_id, id, analysis_id, batch_id, create_time FROM job"
                " WHERE analysis_id IN (SELECT analysis_id FROM patch_map) AND batch_id IS NOT NULL"
                " ORDER BY random() LIMIT :count"
            ),
            {"count": 20 * _SAMPLE},
        ).all()
        self._jobs: dict[str, list[tuple[str, str, str, datetime]]] = {}
        for tenant_id, *rest in rows:
            self._jobs.setdefault(tenant_id, []).append(tuple(rest))
        waiting = session.execute(
            text("SELECT job_id, index FROM shard WHERE state = 'pending' LIMIT :count"), {"count": _SAMPLE}
        )
        self._waiting = [ShardKey(*row) for row in waiting]
        counts = session.execute(text("SELECT tenant_id, count(*) FROM standing GROUP BY tenant_id")).all()
        self._analyses = {row[0]: int(row[1]) for row in counts}

    def pick(self, history: int | None = None) -> Pick:
        """Draw the parameters of one run, of any tenant or of the one with nearly so many analyses."""
        rng = self._rng
        if history is None:
            tenant_id = rng.choice(list(self._jobs))
        else:
            tenant_id = min(self._jobs, key=lambda each: abs(self._analyses[each] - history))
        jobs = self._jobs[tenant_id]
        job_id, analysis_id, batch_id, time = rng.choice(jobs)
        many = tuple(each[0] for each in rng.choices(jobs, k=PAGE))
        return Pick(
            tenant_id,
            self._analyses[tenant_id],
            job_id,
            analysis_id,
            batch_id,
            (time, job_id),
            many,
            rng.choice(self._waiting),
            rng.choice(list(VerdictValue)),
            rng.choice(list(Outcome)),
        )


def list_questions() -> list[Question]:
    """Return all questions in the order of the report."""
    both = [*_results(), *_jobs()]
    of_command = [
        replace(each, name=f"{each.name} (command)", asker=Asker.COMMAND)
        for each in both
        if each.name.startswith(("results", "jobs"))
    ]
    return [*_analyses(), *_policies(), *both, *of_command, *_fleet(), *read_page()]


def _analyses() -> Iterator[Question]:
    yield Question("analysis by id, whole", lambda s, p: load_analysis(s, p.analysis_id), BY_ID_MS)
    yield Question(
        "analysis by id, in short", lambda s, p: find_line(s, p.tenant_id, p.analysis_id), BY_ID_MS
    )
    yield _list("newest", lambda p: AnalysisQuery(p.tenant_id))
    yield _list(
        "a page in the middle",
        lambda p: AnalysisQuery(p.tenant_id, after=(p.before[0], p.analysis_id)),
    )
    filters: Sequence[tuple[str, Callable[[Pick], str]]] = (
        ("by verdict", lambda p: f"verdict={p.verdict}"),
        ("by outcome", lambda p: f"outcome={p.outcome}"),
        ("by verdict and region of a face", lambda p: f"verdict={p.verdict} AND tracks.regions.mouth>0.5"),
        ("by verdict and raw score", lambda p: f"verdict={p.verdict} AND score.raw>0.95"),
        ("by object's key", lambda p: f'jobs.key="videos/{p.job_id[4:]}.mp4"'),
        ("by name of the file", lambda p: f'jobs.file="{p.job_id[4:]}.mp4"'),
        ("by video", lambda p: f'video_id="vid_{p.job_id[4:]}"'),
        ("with a forged mouth", lambda _: "segments.kind=suspicious AND segments.regions:mouth"),
    )
    for name, write in filters:
        yield _list(name, lambda p, write=write: AnalysisQuery(p.tenant_id, read_filter(write(p))))
    yield _list("highest score first", lambda p: AnalysisQuery(p.tenant_id, order=read_order("score desc")))


def _policies() -> Iterator[Question]:
    asked = (
        ("preview of a change", preview_change),
        ("apply of a change that moves 4 %", apply_near),
        ("apply of a change that moves 40 %", apply_far),
    )
    for name, ask in asked:
        yield Question(
            f"policies, {name}",
            lambda s, p, ask=ask: ask(s, p.tenant_id),
            GOAL_MS,
            runs=20,
            history=HISTORY,
        )


def _list(name: str, write: Callable[[Pick], AnalysisQuery]) -> Question:
    return Question(f"analyses, {name}", lambda s, p: list_analyses(s, write(p)), LIST_MS)


def _results() -> Iterator[Question]:
    yield Question("results, newest", lambda s, _: list_results(s, limit=PAGE), LIST_MS)
    yield Question(
        "results, a page in the middle", lambda s, p: list_results(s, before=p.before, limit=PAGE), LIST_MS
    )
    yield Question("results by verdict", lambda s, p: list_results(s, verdict=p.verdict, limit=PAGE), LIST_MS)
    yield Question("results by outcome", lambda s, p: list_results(s, outcome=p.outcome, limit=PAGE), LIST_MS)
    yield Question(
        "results of a batch", lambda s, p: list_results(s, batch_id=p.batch_id, limit=PAGE), LIST_MS
    )
    yield Question("result of a job", lambda s, p: list_results(s, job_id=p.job_id, limit=1), BY_ID_MS)


def _jobs() -> Iterator[Question]:
    yield Question("jobs, newest", lambda s, _: list_jobs(s, limit=PAGE), LIST_MS)
    yield Question("jobs, a page in the middle", lambda s, p: list_jobs(s, before=p.before), LIST_MS)
    for state in (JobState.QUEUED, JobState.RUNNING, JobState.FAILED, JobState.SUCCEEDED):
        yield Question(
            f"jobs that are {state.value}",
            lambda s, _, state=state: list_jobs(s, state=state, limit=PAGE),
            LIST_MS,
        )
    yield Question("jobs of a batch", lambda s, p: list_jobs(s, batch_id=p.batch_id, limit=PAGE), LIST_MS)
    yield Question("ids of a batch's jobs", lambda s, p: find_batch_jobs(s, p.batch_id), LIST_MS)
    yield Question("fifty jobs by id", lambda s, p: find_jobs(s, p.job_ids), LIST_MS)
    yield Question("job by id, with its work", lambda s, p: load_job(s, p.job_id), BY_ID_MS)
    yield Question("job of an analysis", lambda s, p: find_job_of_analysis(s, p.analysis_id), BY_ID_MS)


def _fleet() -> Iterator[Question]:
    """What relay, reconciler and workers ask, in the words of the job store."""
    asked: Sequence[tuple[str, Callable[[SqlJobTransaction, Pick], object]]] = (
        ("claim a shard", lambda tx, p: tx.lease_shard(p.waiting, "bench", 60, LIMITS)),
        ("jobs of a tenant over its quota", lambda tx, p: tx.count_over_quota(p.tenant_id)),
        ("relay: first doorbells of each queue", lambda tx, _: tx.list_waiting(32)),
        ("relay: doorbells that ring", lambda tx, _: tx.count_ringing(LIMITS.doorbell_wait_s)),
        ("relay: slots", lambda tx, _: tx.count_slots(60)),
        ("relay: take 20 doorbells", _take_doorbells),
        ("reconciler: jobs past their deadline", lambda tx, _: tx.lock_overdue_jobs(LIMITS.step_rows)),
        ("reconciler: shards without attempts", lambda tx, _: tx.lock_exhausted_shards(LIMITS)),
        ("reconciler: leases that ran out", lambda tx, _: tx.take_back_leases(LIMITS)),
        ("reconciler: doorbells without an answer", lambda tx, _: tx.lock_silent_shards(LIMITS)),
        ("reconciler: shards of ended jobs", lambda tx, _: tx.close_ended_shards(LIMITS.step_rows)),
        ("reconciler: batches to settle, a hundred", lambda tx, _: tx.list_unsettled_batches(100)),
        ("reconciler: all batches to settle", _walk_batches),
        ("reconciler: shards of old jobs", lambda tx, _: tx.drop_shards(SHARD_AGE_S)),
        ("reconciler: old events and hosts", lambda tx, _: tx.purge(7 * 86_400, 3600)),
        ("reconciler: broken rules, all", lambda tx, _: look(tx.session, LIMITS)),
    )
    for name, ask in asked:
        yield Question(name, lambda s, p, ask=ask: ask(SqlJobTransaction(s), p), asker=Asker.FLEET, runs=50)


def _take_doorbells(tx: SqlJobTransaction, _: Pick) -> object:
    return tx.take_doorbells([waiting.outbox_id for waiting in tx.list_waiting(20)[:20]])


def _walk_batches(tx: SqlJobTransaction, _: Pick) -> int:
    """Read what ``settle_batches`` reads in a pass."""
    count, after = 0, ""
    while found := tx.list_unsettled_batches(100, after):
        count, after = count + len(found), found[-1].id
    return count


def read_page(page: Path = QUERY_PAGE) -> Iterator[Question]:
    """Return the worked questions of the documentation, over all tenants as it says."""
    for block in _SQL_BLOCK.finditer(page.read_text(encoding="utf-8")):
        statement = text(block["sql"].strip().rstrip(";"))
        yield Question(
            f"docs {block['title']}",
            lambda s, _, statement=statement: s.execute(statement).all(),
            asker=Asker.FLEET,
            runs=1,
        )
