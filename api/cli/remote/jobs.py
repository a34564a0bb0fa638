"""Jobs for commands, from the API."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from api.calls.sender import ApiProblem
from api.cli.remote.reading import read_detail, read_job
from api.client import Client
from api.schemas.jobs import JobOut
from fakesieve.cli.fleet import EndedJob, Look
from fakesieve.ids import IdPrefix
from fakesieve.jobs.states import JobState
from fakesieve.reasons import Reason
from fakesieve.values.job_lines import JobDetail, JobLine

PAGE = 1000
_PAUSES_S = (0.2, 3.0)


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

    def watch_jobs(self, ids: Sequence[str]) -> "RemoteWatch":
        """Wait for jobs, and for all jobs of batches."""
        return RemoteWatch(self._client, ids)


class RemoteWatch:
    """Jobs that are waited for, by themselves and by batch."""

    def __init__(self, client: Client, ids: Sequence[str]) -> None:
        self._client = client
        self._batches = {each for each in ids if each.startswith(f"{IdPrefix.BATCH}_")}
        self._jobs = set(ids) - self._batches
        self._told = set[str]()

    @property
    def pauses_s(self) -> tuple[float, float]:
        """The shortest and the longest pause between two looks."""
        return _PAUSES_S

    def look(self) -> Look:
        """Say what has changed; each job is told once, when it has ended."""
        seen = [self._client.job(each) for each in sorted(self._jobs)]
        self._jobs -= {job.id for job in seen if job.is_terminal}
        for batch_id in sorted(self._batches):
            # First the batch: jobs of one that has ended have all ended when they are listed after it.
            is_over = self._client.batch(batch_id).is_terminal
            seen += self._client.jobs.iter(batch_id=batch_id, page_size=PAGE)
            if is_over:
                self._batches.discard(batch_id)
        found = {job.id: job for job in seen}.values()
        return Look(
            tuple(self._tell(found)),
            left=sum(not job.is_terminal for job in found),
            running=sum(job.state is JobState.RUNNING for job in found),
            is_over=not self._jobs and not self._batches,
        )

    def _tell(self, found: Iterable[JobOut]) -> Iterator[EndedJob]:
        """Yield the jobs that have ended and were not told before, in the order of their ends."""
        fresh = [job for job in found if job.is_terminal and job.id not in self._told]
        for job in sorted(fresh, key=lambda job: (job.end_time or job.create_time, job.id)):
            self._told.add(job.id)
            yield EndedJob(read_job(job), self._has_score(job))

    def _has_score(self, job: JobOut) -> bool:
        if job.analysis_id is None:
            return False
        return self._client.results.get(job.analysis_id, view="basic").outcome.has_score
