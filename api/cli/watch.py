"""``fakesieve watch`` over the API: waits until jobs have ended and says how."""

import time
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console

from api.cli.connect import open_client
from api.cli.job_forms import form_job, tell_end
from api.client import Client
from api.schemas.jobs import JobOut
from engine.output.names import escape_for_terminal
from fakesieve.cli.printing import EXIT_INCOMPLETE, print_json
from fakesieve.errors import Unavailable
from fakesieve.ids import IdPrefix
from fakesieve.reasons import Reason

FIRST_PAUSE_S, LAST_PAUSE_S = 0.2, 3.0
_GROWTH = 1.3


def watch(
    ids: Annotated[list[str], typer.Argument(metavar="JOB_ID|BATCH_ID...", show_default=False)],
    *,
    as_json: Annotated[
        bool, typer.Option("--json", "--jsonl", help="Print one JSON object for each job.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0.0, help="Give up after so many seconds; the jobs go on.")
    ] = None,
) -> None:
    """Wait until all jobs have ended; prints one line for each as it ends.

    Ends with 3 if one of them has no score: it did not succeed, or nothing in it could be judged.
    """
    with open_client() as client:
        is_complete = _Watch(client, ids, is_json=as_json).run(timeout)
    raise typer.Exit(0 if is_complete else EXIT_INCOMPLETE)


class _Watch:
    """Jobs that have not ended as far as we know, by themselves and by batch."""

    def __init__(self, client: Client, ids: list[str], *, is_json: bool) -> None:
        self._client, self._is_json = client, is_json
        self._batches = {each for each in ids if each.startswith(f"{IdPrefix.BATCH}_")}
        self._jobs = set(ids) - self._batches
        self._ended = set[str]()
        self._is_complete = True

    def run(self, timeout_s: float | None) -> bool:
        """Print jobs as they end; True if each has a score. Raises Unavailable when the time is over."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        pause_s = FIRST_PAUSE_S
        with Console(stderr=True).status("") as status:
            while True:
                before, left = len(self._ended), self._look()
                if not self._jobs and not self._batches:
                    return self._is_complete
                status.update(f"{len(self._ended)} ended, {left} to go")
                if deadline is not None and time.monotonic() >= deadline:
                    raise Unavailable(
                        Reason.DEADLINE_EXCEEDED,
                        f"{left} jobs have not ended within {timeout_s:g} s",
                        "watch them again, or see 'fakesieve jobs ls'",
                    )
                has_news = len(self._ended) > before
                pause_s = FIRST_PAUSE_S if has_news else min(LAST_PAUSE_S, pause_s * _GROWTH)
                time.sleep(pause_s)

    def _look(self) -> int:
        """Print what has ended since the last look; returns how many jobs go on."""
        left = 0
        for job_id in sorted(self._jobs):
            job = self._client.job(job_id)
            if job.is_terminal:
                self._note([job])
                self._jobs.discard(job_id)
            else:
                left += 1
        for batch_id in sorted(self._batches):
            # First the batch: jobs of one that has ended have all ended when they are listed after it.
            is_over = self._client.batch(batch_id).is_terminal
            left += self._note(self._client.jobs.iter(batch_id=batch_id, page_size=1000))
            if is_over:
                self._batches.discard(batch_id)
        return left

    def _note(self, jobs: Iterator[JobOut] | list[JobOut]) -> int:
        """Print those that have ended and were not printed; returns how many go on."""
        found = list(jobs)
        fresh = [job for job in found if job.is_terminal and job.id not in self._ended]
        for job in sorted(fresh, key=lambda job: (job.end_time or job.create_time, job.id)):
            self._ended.add(job.id)
            self._is_complete &= self._has_score(job)
            if self._is_json:
                print_json(form_job(job))
            else:
                typer.echo(f"{job.id}  {job.state.value:<9}  {escape_for_terminal(tell_end(job))}")
        return sum(not job.is_terminal for job in found)

    def _has_score(self, job: JobOut) -> bool:
        if job.analysis_id is None:
            return False
        return self._client.results.get(job.analysis_id, view="basic").outcome.has_score
