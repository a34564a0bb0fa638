"""Jobs for commands, out of the database."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from fakesieve.cli.fleet import EndedJob, Look
from fakesieve.cli.place import Place, not_found
from fakesieve.ids import IdPrefix
from fakesieve.jobs.cancel import cancel_batch, cancel_job, retry_job, retry_jobs
from fakesieve.jobs.states import JobState
from fakesieve.records import job_lists, job_log
from fakesieve.records.batch_lists import find_retryable_jobs
from fakesieve.values.job_lines import JobDetail, JobLine
from fakesieve.values.job_log import LogLine

_PAUSES_S = (0.1, 2.0)
_RETRIES_AT_ONCE = 500


class DirectJobs:
    """The jobs of the tenant that the environment names."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def list_jobs(self, state: JobState | None, batch_id: str | None, limit: int) -> Iterator[JobLine]:
        """Yield up to ``limit`` jobs, newest first, each page in a transaction of its own."""
        before: tuple[datetime, str] | None = None
        while limit > 0:
            wanted = min(limit, job_lists.PAGE_MAX)
            with self._place.begin() as session:
                page = job_lists.list_jobs(
                    session, state=state, batch_id=batch_id, before=before, limit=wanted
                )
            yield from page
            if len(page) < wanted:
                return
            limit -= wanted
            before = (page[-1].create_time, page[-1].id)

    def load_jobs(self, ids: Sequence[str]) -> list[JobDetail]:
        """Return jobs with their work. Raises RequestRefused for the first that the tenant does not have."""
        found: list[JobDetail] = []
        with self._place.begin() as session:
            for each in ids:
                job = job_lists.load_job(session, each)
                if job is None:
                    raise not_found("job", each)
                found.append(job)
        return found

    def load_log(self, job_id: str) -> list[LogLine]:
        """Return what is known of a job, in order of time. Raises RequestRefused where there is none."""
        with self._place.begin() as session:
            found = job_log.load_log(session, job_id)
        if found is None:
            raise not_found("job", job_id)
        return found

    def cancel_job(self, job_id: str) -> JobState | None:
        """Stop a job; returns None, or the state in which it had ended."""
        self.load_jobs([job_id])
        if cancel_job(self._place.store, job_id):
            return None
        (job,) = self.load_jobs([job_id])
        return job.line.state

    def cancel_batch(self, batch_id: str, *, dry_run: bool) -> int:
        """Stop all jobs of a batch, or with ``dry_run`` none; returns how many are live."""
        with self._place.begin() as session:
            ids = job_lists.find_batch_jobs(session, batch_id)
            if not ids:
                raise not_found("batch", batch_id)
            lines = job_lists.find_jobs(session, ids) if dry_run else []
        if dry_run:
            return sum(not line.state.is_terminal for line in lines)
        return cancel_batch(self._place.store, batch_id)

    def retry_job(self, job_id: str) -> bool:
        """Start a job again from the beginning; False where its state forbids it."""
        return retry_job(self._place.store, job_id)

    def retry_batch(self, batch_id: str, *, dry_run: bool) -> int:
        """Start all jobs of a batch again whose state lets it, or with ``dry_run`` none; returns how many.

        Raises RequestRefused where the tenant has no place for more live jobs, after some were started.
        """
        with self._place.begin() as session:
            ids = job_lists.find_batch_jobs(session, batch_id)
            if not ids:
                raise not_found("batch", batch_id)
            wanted = find_retryable_jobs(session, batch_id, (), len(ids))
        if dry_run:
            return len(wanted)
        parts = (
            wanted[start : start + _RETRIES_AT_ONCE] for start in range(0, len(wanted), _RETRIES_AT_ONCE)
        )
        return sum(retry_jobs(self._place.store, self._place.tenant_id, part) for part in parts)

    def watch_jobs(self, ids: Sequence[str]) -> "DirectWatch":
        """Wait for jobs, and for all jobs of batches. Raises RequestRefused for one that is not there."""
        found: set[str] = set()
        with self._place.begin() as session:
            for each in ids:
                is_batch = each.startswith(f"{IdPrefix.BATCH}_")
                jobs = (
                    job_lists.find_batch_jobs(session, each)
                    if is_batch
                    else [line.id for line in job_lists.find_jobs(session, [each])]
                )
                if not jobs:
                    raise not_found("batch" if is_batch else "job", each)
                found |= set(jobs)
        return DirectWatch(self._place, found)


class DirectWatch:
    """Jobs that are waited for, by id."""

    def __init__(self, place: Place, waiting: set[str]) -> None:
        self._place, self._waiting = place, waiting

    @property
    def pauses_s(self) -> tuple[float, float]:
        """The shortest and the longest pause between two looks."""
        return _PAUSES_S

    def look(self) -> Look:
        """Say what has changed; each job is told once, when it has ended."""
        with self._place.begin() as session:
            lines = job_lists.find_jobs(session, sorted(self._waiting)[: job_lists.PAGE_MAX])
            ended = sorted((line for line in lines if line.state.is_terminal), key=_find_end)
            analyses = [line.analysis_id for line in ended if line.analysis_id is not None]
            scored = job_lists.find_scored(session, analyses)
        self._waiting -= {line.id for line in ended}
        return Look(
            tuple(EndedJob(line, line.analysis_id in scored) for line in ended),
            left=len(self._waiting),
            running=sum(line.state is JobState.RUNNING for line in lines),
            is_over=not self._waiting,
        )


def _find_end(line: JobLine) -> tuple[datetime, str]:
    return line.end_time or line.create_time, line.id
