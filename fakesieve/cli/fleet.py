"""A fleet as commands see it: the same questions, answered over its database or over its API."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from engine.result_forms import JsonObject
from fakesieve.jobs.states import JobState, Lane
from fakesieve.reach import check_reach, is_remote
from fakesieve.values.findings import FaceMaps, Finding
from fakesieve.values.job_lines import JobDetail, JobLine
from fakesieve.values.job_log import LogLine

_DIRECT, _REMOTE = "fakesieve.cli.direct.fleet", "api.cli.remote.fleet"


@dataclass(frozen=True)
class EndedJob:
    """A job that has ended, and whether what it found has a score."""

    line: JobLine
    has_score: bool


@dataclass(frozen=True)
class Look:
    """One look at jobs that are waited for: what has ended since the last one, and how many go on."""

    ended: tuple[EndedJob, ...]
    left: int
    running: int
    is_over: bool


class Watch(Protocol):
    """Jobs that are waited for. ``pauses_s`` are the shortest and the longest pause between two looks."""

    @property
    def pauses_s(self) -> tuple[float, float]: ...

    def look(self) -> Look:
        """Say what has changed; each job is told once, when it has ended."""
        ...


class Jobs(Protocol):
    """What was asked for."""

    def list_jobs(self, state: JobState | None, batch_id: str | None, limit: int) -> Iterable[JobLine]:
        """Yield up to ``limit`` jobs, newest first."""
        ...

    def load_jobs(self, ids: Sequence[str]) -> list[JobDetail]:
        """Return jobs with their work. Raises RequestRefused for the first that there is not."""
        ...

    def load_log(self, job_id: str) -> Sequence[LogLine]:
        """Return what is known of a job, in order of time. Raises RequestRefused where there is none."""
        ...

    def cancel_job(self, job_id: str) -> JobState | None:
        """Stop a job; returns None, or the state in which it had ended."""
        ...

    def cancel_batch(self, batch_id: str, *, dry_run: bool) -> int:
        """Stop all jobs of a batch, or with ``dry_run`` none; returns how many are live."""
        ...

    def retry_job(self, job_id: str) -> bool:
        """Start a job again from the beginning; False where its state forbids it."""
        ...

    def retry_batch(self, batch_id: str, *, dry_run: bool) -> int:
        """Start all jobs of a batch again whose state lets it, or with ``dry_run`` none; returns how many."""
        ...

    def watch_jobs(self, ids: Sequence[str]) -> Watch:
        """Wait for jobs, and for all jobs of batches."""
        ...


@dataclass(frozen=True)
class Order:
    """How the jobs of one submission are made."""

    lane: Lane
    deadline_s: float


@dataclass(frozen=True)
class Listing:
    """Many videos under one name: all objects under a prefix, or what a manifest names.

    A manifest that was submitted before is submitted once more where ``is_again``.
    """

    name: str
    is_manifest: bool
    is_again: bool = False


@dataclass(frozen=True)
class ListingSize:
    """How many videos a listing has. ``size_bytes`` is None where it is not known."""

    videos: int
    size_bytes: int | None


@dataclass(frozen=True)
class TakenJob:
    """The job that a submission led to. ``is_new`` is False where the same was submitted before.

    It is None where that is not known: over the API, of a manifest.
    """

    job_id: str
    source: str
    is_new: bool | None = True
    batch_id: str | None = None


class Intake(Protocol):
    """Where videos become jobs. What is refused raises RequestRefused, an empty prefix NothingMatched."""

    def find_policy(self) -> tuple[str, int] | None:
        """Return name and version of the policy that judges new analyses; None is the model's own."""
        ...

    def submit_file(self, path: Path, order: Order) -> TakenJob:
        """Upload a local file, and submit it."""
        ...

    def submit_object(self, uri: str, order: Order) -> TakenJob:
        """Submit an object where it lies."""
        ...

    def submit_listing(self, listing: Listing, order: Order) -> Iterable[TakenJob]:
        """Submit a listing as one batch; the same manifest is answered with the jobs it has, unless again."""
        ...

    def measure_listing(self, listing: Listing, order: Order) -> ListingSize:
        """Say how much a listing has, and submit nothing."""
        ...


@dataclass(frozen=True)
class Found:
    """What a name led to: a job that has ended, what was found in its video, or both."""

    name: str
    job: JobLine | None
    finding: Finding | None


class Results(Protocol):
    """What was found. ``name`` is the id of a job or of an analysis; RequestRefused where there is none."""

    def load_document(self, name: str, *, with_patches: bool) -> JsonObject:
        """Return the document of a result, as ``fakesieve scan`` writes it, with the job in it."""
        ...

    def load_result(self, name: str) -> Found:
        """Return a result as people read it."""
        ...

    def load_maps(self, found: Finding, ordinal: int, time_us: int | None) -> FaceMaps:
        """Return the patch maps of a face that has them: all, or that of the frame nearest to a time."""
        ...


@dataclass(frozen=True)
class Fleet:
    """A fleet as one tenant sees it."""

    jobs: Jobs
    intake: Intake
    results: Results


def open_fleet() -> AbstractContextManager[Fleet]:
    """Give the fleet that the environment names, for the time of a block.

    Entering it raises SetupRefused where variables are missing or the key is none, and Unavailable without
    a database.
    """
    check_reach(os.environ)
    # By name: who goes one way loads nothing of the other, and this package does not depend on the API.
    module = import_module(_REMOTE if is_remote(os.environ) else _DIRECT)
    return cast("Callable[[], AbstractContextManager[Fleet]]", module.open_fleet)()
