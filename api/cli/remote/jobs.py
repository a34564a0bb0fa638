"""Jobs for commands, from the API."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from api.calls.sender import ApiProblem
from api.cli.remote.reading import read_detail, read_job, read_log_line
from api.client import Client
from api.schemas.jobs import BatchOut, JobOut
from fakesieve.cli.fleet import EndedJob, Look
from fakesieve.ids import IdPrefix
from fakesieve.jobs.states import RETRY_STATES, JobState
from fakesieve.reasons import Reason
from fakesieve.values.job_lines import JobDetail, JobLine
from fakesieve.values.job_log import LogLine

PAGE = 1000
_PAUSES_S = (0.2, 3.0)
_PAGE_MIN = 20
_IDS_AT_ONCE = 50  # a filter has 60 comparisons at most
ENDED_STATES = tuple(state for state in JobState if state.is_terminal)


class RemoteJobs:
    """The jobs of the tenant whose key is at hand."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list_jobs(self, state: JobState | None, batch_id: str | None, limit: int) -> Iterator[JobLine]:
        """Yield up to ``limit`` jobs, newest first."""
        found = self._client.jobs.iter(state, batch_id, page_size=min(limit, PAGE))
        return map(read_job, islice(found, limit))

    def load_jobs(self, ids: Sequence[str]) -> list[JobDetail]:
        """Return jobs with their work. Raises ApiProblem for the first that there is not."""
        return [read_detail(self._client.jobs.get(each, view="full")) for each in ids]

    def load_log(self, job_id: str) -> list[LogLine]:
        """Return what is known of a job, in order of time. Raises ApiProblem where there is none."""
        return [read_log_line(each) for each in self._client.jobs.log(job_id).data]

    def cancel_job(self, job_id: str) -> JobState | None:
        """Stop a job; returns None, or the state in which it had ended."""
        try:
            self._client.cancel(job_id)
        except ApiProblem as problem:
            if problem.reason is not Reason.STATE_CONFLICT:
                raise
            return self._client.job(job_id).state
        return None

    def cancel_batch(self, batch_id: str, *, dry_run: bool) -> int:
        """Stop all jobs of a batch, or with ``dry_run`` none; returns how many are live."""
        counts = self._client.batch(batch_id).counts
        live = counts.queued + counts.running
        if live and not dry_run:
            self._client.batches.cancel(batch_id)
        return live

    def retry_job(self, job_id: str) -> bool:
        """Start a job again from the beginning; False where its state forbids it."""
        try:
            self._client.retry(job_id)
        except ApiProblem as problem:
            if problem.reason is not Reason.STATE_CONFLICT:
                raise
            return False
        return True

    def retry_batch(self, batch_id: str, *, dry_run: bool) -> int:
        """Start all jobs of a batch again whose state lets it, or with ``dry_run`` none; returns how many."""
        if not dry_run:
            return self._client.batches.retry(batch_id)
        counts = self._client.batch(batch_id).counts
        return sum(int(getattr(counts, state.value)) for state in RETRY_STATES)

    def watch_jobs(self, ids: Sequence[str]) -> "RemoteWatch":
        """Wait for jobs, and for all jobs of batches."""
        return RemoteWatch(self._client, ids)


class RemoteWatch:
    """Jobs that are waited for, by themselves and by batch."""

    def __init__(self, client: Client, ids: Sequence[str]) -> None:
        self._client = client
        self._batches = {each for each in ids if each.startswith(f"{IdPrefix.BATCH}_")}
        self._jobs = set(ids) - self._batches
        self._told = dict[str, JobOut]()

    @property
    def pauses_s(self) -> tuple[float, float]:
        """The shortest and the longest pause between two looks."""
        return _PAUSES_S

    def look(self) -> Look:
        """Say what has changed; each job is told once, when it has ended.

        A batch costs one request, and where jobs of it have ended those that list them and their outcomes.
        """
        seen = [self._client.job(each) for each in sorted(self._jobs)]
        left = sum(not job.is_terminal for job in seen)
        running = sum(job.state is JobState.RUNNING for job in seen)
        self._jobs -= {job.id for job in seen if job.is_terminal}
        for batch_id in sorted(self._batches):
            batch = self._client.batch(batch_id)
            live = batch.counts.queued + batch.counts.running
            left, running = left + live, running + batch.counts.running
            seen += self._list_ended(batch)
            if batch.is_terminal and not live:
                self._batches.discard(batch_id)
        return Look(
            tuple(self._tell({job.id: job for job in seen}.values())),
            left=left,
            running=running,
            is_over=not self._jobs and not self._batches,
        )

    def _list_ended(self, batch: BatchOut) -> Iterator[JobOut]:
        """Yield the jobs of a batch that have ended and were not told, by what its counts say.

        Jobs end about in the order in which they were made, so the newest of a state are the new ones.
        """
        told = Counter(job.state for job in self._told.values() if job.batch_id == batch.id)
        for state in ENDED_STATES:
            count: int = getattr(batch.counts, state.value)
            yield from self._list_untold(batch.id, state, count - told[state])
        if batch.is_terminal and not batch.counts.queued + batch.counts.running:
            # Of a job that was retried after it was told the counts know another end.
            known = sum(job.batch_id == batch.id for job in self._told.values())
            yield from self._list_untold(batch.id, None, batch.counts.total - known)

    def _list_untold(self, batch_id: str, state: JobState | None, wanted: int) -> Iterator[JobOut]:
        """Yield so many jobs of a batch that were not told, newest first."""
        if wanted <= 0:
            return
        page = min(PAGE, 2 * wanted + _PAGE_MIN)
        found = self._client.jobs.iter(state, batch_id, page_size=page)
        yield from islice((job for job in found if job.id not in self._told), wanted)

    def _tell(self, found: Iterable[JobOut]) -> Iterator[EndedJob]:
        """Yield the jobs that have ended and were not told before, in the order of their ends."""
        fresh = [job for job in found if job.is_terminal and job.id not in self._told]
        scored = self._find_scored([job.analysis_id for job in fresh if job.analysis_id is not None])
        for job in sorted(fresh, key=lambda job: (job.end_time or job.create_time, job.id)):
            self._told[job.id] = job
            yield EndedJob(read_job(job), job.analysis_id in scored)

    def _find_scored(self, analyses: Sequence[str]) -> set[str]:
        """Return those of the analyses that have a score, asking for some dozens at once."""
        wanted, scored = sorted(set(analyses)), set[str]()
        for start in range(0, len(wanted), _IDS_AT_ONCE):
            part = wanted[start : start + _IDS_AT_ONCE]
            among = " OR ".join(f'id = "{each}"' for each in part)
            found = {each.id: each for each in self._client.results.iter(among, page_size=len(part))}
            # One that no list shows any more, as of a video that is being deleted, is asked for by itself.
            rest = [self._client.results.get(each, view="basic") for each in part if each not in found]
            scored |= {each.id for each in (*found.values(), *rest) if each.outcome.has_score}
        return scored
