"""Taking work in: a job, its first shard and the doorbell for it in one transaction, once per key."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix, new_id
from fakesieve.jobs.rows import BatchDraft, JobDraft, Placed, ShardDraft, ShardKey
from fakesieve.jobs.states import BatchState, Lane, WorkKind
from fakesieve.jobs.store import JobStore, JobTransaction
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from fakesieve.texts import is_storable
from fakesieve.values.jobs import DEADLINE_S, KEY_LENGTH_MAX
from fakesieve.values.videos import SourceKind

_JOBS_AT_ONCE = 200
# How long the places of a list are kept after its last step. A step takes well below a second, and a list
# that was cut off is not to keep its tenant from submitting for long.
PLACES_S = 60.0


@dataclass(frozen=True)
class NewJob:
    """One video to be screened.

    Two submissions of a tenant under one ``idempotency_key`` are the same job. ``external_id`` is the
    caller's own name for the video and is only kept. ``deadline_s`` counts from the submission.
    """

    tenant_id: str
    source: VideoRef
    lane: Lane = Lane.STANDARD
    idempotency_key: str | None = None
    deadline_s: float = DEADLINE_S
    external_id: str | None = None
    batch_id: str | None = None
    source_kind: SourceKind = SourceKind.API

    def __post_init__(self) -> None:
        if not self.tenant_id:
            raise ValueError("a job belongs to a tenant")
        if self.deadline_s <= 0:
            raise ValueError(f"deadline_s must be positive, is {self.deadline_s}")
        for name, text in (("idempotency_key", self.idempotency_key), ("external_id", self.external_id)):
            if text is not None and not 1 <= len(text) <= KEY_LENGTH_MAX:
                raise ValueError(f"{name} has 1 to {KEY_LENGTH_MAX} characters, has {len(text)}")
            if text is not None and not is_storable(text):
                raise ValueError(f"{name} is text that UTF-8 can write, without NUL, is {text!r}")

    @property
    def request_hash(self) -> str:
        """A digest of what is asked for; two requests under one key must have the same."""
        source = self.source
        asked = [source.bucket, source.key, source.version_id, source.etag, self.lane, self.external_id]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


@dataclass(frozen=True)
class NewBatch:
    """A list of videos as one thing.

    Once at least 20 of its jobs have ended and more than ``max_failure_rate`` of those failed, the rest is
    cancelled: a wrong bucket or a broken model should cost twenty jobs and not a million.

    ``asked`` is what its jobs were found by, where the caller has not named them: two orders under one key
    must have the same.
    """

    tenant_id: str
    name: str
    lane: Lane = Lane.BULK
    max_failure_rate: float = 1.0
    idempotency_key: str | None = None
    asked: str = ""

    def __post_init__(self) -> None:
        if not 0.0 <= self.max_failure_rate <= 1.0:
            raise ValueError(f"max_failure_rate is {self.max_failure_rate}, outside 0 to 1")

    @property
    def request_hash(self) -> str:
        """A digest of what is asked for, without the jobs: each of those has its own."""
        asked = [self.name, self.lane, self.max_failure_rate, *([self.asked] if self.asked else [])]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


class BatchEnded(RequestRefused):
    """A list was sent again under its key and has jobs that are new to its batch, which has ended."""

    def __init__(self, batch_id: str, state: BatchState) -> None:
        self.batch_id, self.state = batch_id, state
        super().__init__(Reason.IDEMPOTENCY_CONFLICT, *_tell_ended(batch_id, state))

    def __reduce__(self) -> tuple[type["BatchEnded"], tuple[object, ...]]:
        return (type(self), (self.batch_id, self.state))


def _tell_ended(batch_id: str, state: BatchState) -> tuple[str, str]:
    """Say what was seen and what to do about it."""
    return (
        f"batch {batch_id} has ended ({state}) and takes no more jobs",
        "what it has stays; send the whole list under a new key: what was scored is not scored again",
    )


@dataclass(frozen=True)
class Submitted:
    """The job that a submission led to; not new when its key was known."""

    job_id: str
    is_new: bool


@dataclass(frozen=True)
class SubmittedBatch:
    """The batch and its jobs, in the order in which they were given."""

    batch_id: str
    is_new: bool
    jobs: tuple[Submitted, ...]


def submit_video(store: JobStore, new: NewJob) -> Submitted:
    """Take one video in.

    Raises ``RequestRefused`` when the key was used for something else, the tenant has too many live jobs, or
    the batch is not the tenant's or has ended.
    """
    job_id = new_id(IdPrefix.JOB)

    def work(tx: JobTransaction) -> Submitted:
        if new.batch_id is not None:
            _check_batch(tx, new.batch_id, new.tenant_id)
        done = _submit(tx, new, job_id)
        if done.is_new:
            _check_takes(tx, new.batch_id)
            check_quota(tx, new.tenant_id)
        return done

    return store.run(work)


def _check_batch(tx: JobTransaction, batch_id: str, tenant_id: str) -> None:
    """Refuse a batch of another tenant: a foreign key looks past the rights of a row's reader."""
    if tx.find_batch_tenant(batch_id) != tenant_id:
        raise RequestRefused(Reason.NOT_FOUND, f"there is no batch {batch_id}")


def _submit(tx: JobTransaction, new: NewJob, job_id: str) -> Submitted:
    draft = _make_draft(new, job_id)
    return _open_work(tx, [draft], [tx.insert_job(draft)])[0]


def _submit_many(tx: JobTransaction, step: Sequence[NewJob], ids: Sequence[str]) -> list[Submitted]:
    """Take in jobs of one tenant, each with a key: some statements for all of them."""
    drafts = [_make_draft(new, job_id) for new, job_id in zip(step, ids, strict=True)]
    return _open_work(tx, drafts, tx.insert_jobs(drafts))


def _make_draft(new: NewJob, job_id: str) -> JobDraft:
    return JobDraft(
        job_id,
        new.tenant_id,
        new.source,
        new.lane,
        new.deadline_s,
        new.request_hash,
        new.idempotency_key,
        new.external_id,
        new.batch_id,
        new.source_kind,
    )


def _open_work(tx: JobTransaction, drafts: Sequence[JobDraft], placed: Sequence[Placed]) -> list[Submitted]:
    """Give the jobs that are new their first shards and doorbells; refuse another request under a known
    key.
    """
    fresh = list[ShardDraft]()
    for draft, each in zip(drafts, placed, strict=True):
        if each.is_new:
            fresh.append(ShardDraft(ShardKey(draft.id, 0), WorkKind.PREPARE, draft.tenant_id, draft.lane))
        else:
            _check_same(each, draft.request_hash, draft.idempotency_key)
    if fresh:
        tx.insert_shards(fresh)
        tx.insert_doorbells([shard.key for shard in fresh])
    return [Submitted(each.id, each.is_new) for each in placed]


def _check_takes(tx: JobTransaction, batch_id: str | None) -> None:
    """Refuse a new job for a batch that has ended.

    The batch does not end either before this transaction does.
    """
    _check_goes_on(batch_id, None if batch_id is None else tx.share_batch(batch_id))


def _check_goes_on(batch_id: str | None, state: BatchState | None) -> None:
    """Refuse new jobs for a batch that has ended: whoever waits for the batch would never see it end."""
    if state is not None and state.is_terminal:
        raise RequestRefused(Reason.STATE_CONFLICT, *_tell_ended(str(batch_id), state))


def check_quota(tx: JobTransaction, tenant_id: str) -> None:
    """Refuse live jobs over the tenant's limit, and lists whose jobs would be: new ones and those retried."""
    over = tx.count_over_quota(tenant_id)
    if over > 0:
        raise RequestRefused(Reason.QUOTA_EXCEEDED, f"{over} live jobs more than tenant {tenant_id} may have")


def _check_same(placed: Placed, request_hash: str, key: str | None) -> None:
    if placed.request_hash != request_hash:
        raise RequestRefused(
            Reason.IDEMPOTENCY_CONFLICT, f"key {key!r} was used for another request ({placed.id})"
        )


def submit_batch(store: JobStore, new: NewBatch, jobs: Sequence[NewJob]) -> SubmittedBatch:
    """Take a list in, some hundred jobs a transaction.

    Jobs without a key get one from the batch and their position, so a submission under the batch's key that
    was cut off is completed by sending the same list again, until the batch has ended.

    Raises ``RequestRefused`` before anything is taken in when the list does not fit into the tenant's quota,
    and ``BatchEnded`` when it has jobs that are new to a batch that has ended. From then on its places are
    kept, so that no other submission takes them. Somebody may end the batch while it is taken in: then
    ``RequestRefused`` comes after some jobs.
    """
    placed = store.run(lambda tx: _open_batch(tx, new, new_id(IdPrefix.BATCH), jobs))
    done = list[Submitted]()
    for start in range(0, len(jobs), _JOBS_AT_ONCE):
        part = jobs[start : start + _JOBS_AT_ONCE]
        step = [_place_in_batch(placed.id, start + n, job, new.tenant_id) for n, job in enumerate(part)]
        done += _submit_step(store, placed.id, step)
    store.run(lambda tx: tx.set_batch_state(placed.id, BatchState.RUNNING))
    return SubmittedBatch(placed.id, placed.is_new, tuple(done))


def _open_batch(tx: JobTransaction, new: NewBatch, batch_id: str, jobs: Sequence[NewJob]) -> Placed:
    """Insert or find the batch, once all of its jobs that are not there yet may come."""
    draft = BatchDraft(
        batch_id,
        new.tenant_id,
        new.name,
        new.lane,
        new.max_failure_rate,
        new.request_hash,
        new.idempotency_key,
    )
    placed = tx.insert_batch(draft)
    state = None
    if not placed.is_new:
        _check_same(placed, draft.request_hash, new.idempotency_key)
        # Held before its jobs are counted: another one that sends the same list takes its places meanwhile.
        state = tx.hold_batch(placed.id)
    wanted = len(jobs)
    if not placed.is_new or any(job.idempotency_key is not None for job in jobs):
        keys = {_name_job(placed.id, position, job) for position, job in enumerate(jobs)}
        wanted = len(keys) - tx.count_known_jobs(new.tenant_id, keys)
    if wanted:
        if state is not None and state.is_terminal:
            raise BatchEnded(placed.id, state)
        tx.set_places(placed.id, wanted, PLACES_S)
        check_quota(tx, new.tenant_id)
    return placed


def _name_job(batch_id: str, position: int, job: NewJob) -> str:
    return job.idempotency_key or f"{batch_id}/{position}"


def _place_in_batch(batch_id: str, position: int, job: NewJob, tenant_id: str) -> NewJob:
    if job.tenant_id != tenant_id:
        raise ValueError(f"job {position} of the batch belongs to another tenant, {job.tenant_id}")
    return replace(job, batch_id=batch_id, idempotency_key=_name_job(batch_id, position, job))


def _submit_step(store: JobStore, batch_id: str, step: Sequence[NewJob]) -> list[Submitted]:
    ids = [new_id(IdPrefix.JOB) for _ in step]

    def work(tx: JobTransaction) -> list[Submitted]:
        done = _submit_many(tx, step, ids)
        if taken := sum(each.is_new for each in done):
            _check_goes_on(batch_id, tx.take_places(batch_id, taken, PLACES_S))
            check_quota(tx, step[0].tenant_id)
        return done

    return store.run(work)
