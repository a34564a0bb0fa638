"""Where commands make jobs, over the API."""

import hashlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from api.calls.sender import ApiProblem
from api.cli.remote.jobs import PAGE
from api.client import Client
from api.schemas.jobs import BatchOut, BatchPreviewOut, JobSource, NewBatchBody
from fakesieve.cli.fleet import Listing, ListingSize, Order, TakenJob
from fakesieve.errors import NothingMatched, RequestRefused
from fakesieve.ingest.manifest import read_manifest
from fakesieve.reasons import Reason

_ITEMS_AT_ONCE = 1000
_NAME_LETTERS_MAX = 200
Answered = TypeVar("Answered", BatchOut, BatchPreviewOut)


class RemoteIntake:
    """Videos become jobs of the tenant whose key is at hand."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def find_policy(self) -> tuple[str, int] | None:
        """Return name and version of the policy that judges new analyses; None is the model's own."""
        active = next((each for each in self._client.policies.iter() if each.is_active), None)
        return None if active is None else (active.name, active.version)

    def submit_file(self, path: Path, order: Order) -> TakenJob:
        """Upload a local file, and submit it."""
        return self._submit(path, order)

    def submit_object(self, uri: str, order: Order) -> TakenJob:
        """Submit an object where it lies."""
        return self._submit(uri, order)

    def _submit(self, source: str | Path, order: Order) -> TakenJob:
        job = self._client.submit(source, lane=order.lane, deadline_s=_count_seconds(order.deadline_s))
        return TakenJob(job.id, job.source.uri)

    def submit_listing(self, listing: Listing, order: Order) -> Iterator[TakenJob]:
        """Submit a listing: a manifest of this machine in batches of a thousand, one of the store in parts.

        The same manifest again is the same batches, so it is not known whether their jobs are new: one whose
        submission broke off goes on where it did.
        """
        for drawn, known_key in _make_bodies(listing, order):
            lies_there = drawn.manifest is not None and not listing.is_again
            body, key = self._pin(drawn) if lies_there else (drawn, known_key)
            for batch in _send_parts(body, key, self._client.batches.submit):
                jobs = list(self._client.jobs.iter(batch_id=batch.id, page_size=PAGE))
                for job in reversed(jobs):  # in the order in which they were made
                    yield TakenJob(job.id, job.source.uri, None if key else True, batch.id)

    def _pin(self, body: NewBatchBody) -> tuple[NewBatchBody, str | None]:
        """Return a manifest of the store with the ETag that it has now, and the key of just this file.

        A preview tells the ETag before any part is taken, so that the first part has a key too.
        """
        with _blame(body):
            etag = self._client.batches.preview(body).manifest_etag
        if etag is None:  # an API of an earlier release, which tells it of a manifest in several parts only
            return body, None
        content = f"{body.manifest} {etag} {body.lane} {body.deadline_s}"
        key = f"manifest:{hashlib.sha256(content.encode()).hexdigest()}"
        return body.model_copy(update={"manifest_etag": etag}), key

    def measure_listing(self, listing: Listing, order: Order) -> ListingSize:
        """Say how much a listing has, after all checks, and submit nothing."""
        videos, size_bytes = 0, 0
        is_known = True
        for body, key in _make_bodies(listing, order):
            for seen in _send_parts(body, key, lambda part, _: self._client.batches.preview(part)):
                videos += seen.videos
                size_bytes += seen.size_bytes or 0
                is_known &= seen.size_bytes is not None
        return ListingSize(videos, size_bytes if is_known else None)


def _send_parts(
    body: NewBatchBody, key: str | None, send: Callable[[NewBatchBody, str | None], Answered]
) -> Iterator[Answered]:
    """Send a list, a manifest of the object store part after part; yield the answers."""
    while True:
        is_first = key is None or body.first_row in (None, 1)
        with _blame(body):
            answer = send(body, key if is_first else f"{key}:{body.first_row}")
        yield answer
        if answer.next_row is None:
            return
        # A manifest that is replaced meanwhile is refused: its rows would be left out, or taken twice.
        following = {"first_row": answer.next_row, "manifest_etag": answer.manifest_etag}
        body = body.model_copy(update=following)


def _make_bodies(listing: Listing, order: Order) -> Iterator[tuple[NewBatchBody, str | None]]:
    """Yield what to send, each with the key under which it is taken once; None is once for each call.

    The key of a manifest of the store is known once the store has told its ETag, see ``_pin``.
    """
    if listing.is_manifest and not listing.name.startswith("s3://"):
        yield from _read_bodies(listing, order)
    elif listing.is_manifest:
        yield _make_body(listing.name, order, manifest=listing.name), None
    else:
        yield _make_body(listing.name, order, prefix=listing.name), None


def _read_bodies(listing: Listing, order: Order) -> Iterator[tuple[NewBatchBody, str | None]]:
    """Yield a manifest of this machine in parts as large as the API takes."""
    found = read_manifest(Path(listing.name))
    for start in range(0, len(found.rows), _ITEMS_AT_ONCE):
        items = [
            JobSource(
                uri=row.ref.uri,
                version_id=row.ref.version_id,
                etag=row.ref.etag,
                external_id=row.external_id,
            )
            for row in found.rows[start : start + _ITEMS_AT_ONCE]
        ]
        # The same bytes are the same batch.
        key = f"manifest:{found.sha256}:{order.lane}:{_count_seconds(order.deadline_s)}:{start}"
        yield _make_body(listing.name, order, items=items), None if listing.is_again else key


def _make_body(
    name: str,
    order: Order,
    *,
    items: list[JobSource] | None = None,
    manifest: str | None = None,
    prefix: str | None = None,
) -> NewBatchBody:
    return NewBatchBody(
        name=name[-_NAME_LETTERS_MAX:],
        lane=order.lane,
        deadline_s=_count_seconds(order.deadline_s),
        items=items,
        manifest=manifest,
        first_row=None if manifest is None else 1,
        prefix=prefix,
    )


def _count_seconds(deadline_s: float) -> int:
    """Return a deadline as the API takes it: whole seconds, at least one."""
    return max(1, round(deadline_s))


@contextmanager
def _blame(body: NewBatchBody) -> Generator[None]:
    """Say of a prefix without objects that nothing matched, and of a key that is used up what to do here."""
    try:
        yield
    except ApiProblem as problem:
        if problem.reason is Reason.IDEMPOTENCY_CONFLICT:
            hint = "submit it with --again; what was scored is not scored again"
            raise RequestRefused(problem.reason, problem.seen, hint) from problem
        if problem.reason is Reason.SOURCE_NOT_FOUND and body.prefix is not None:
            raise NothingMatched(problem.reason, problem.seen, problem.hint) from problem
        raise
