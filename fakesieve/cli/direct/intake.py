"""Where commands make jobs, over the database and the object store."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fakesieve.cli.direct.upload import store_file
from fakesieve.cli.fleet import Listing, ListingSize, Order, TakenJob
from fakesieve.cli.place import Place
from fakesieve.errors import NothingMatched, RequestRefused
from fakesieve.ingest.manifest import Manifest, fetch_manifest, read_manifest
from fakesieve.jobs.submit import BatchEnded, NewBatch, NewJob, SubmittedBatch, submit_batch, submit_video
from fakesieve.objects import VideoRef
from fakesieve.places import NAMED_ALONE, is_kept_apart
from fakesieve.reasons import Reason
from fakesieve.records.policies import show_active_policy
from fakesieve.records.uploads import tenant_prefix
from fakesieve.values.videos import SourceKind

_NAME_LETTERS_MAX = 200


class DirectIntake:
    """Videos become jobs of the tenant that the environment names."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def find_policy(self) -> tuple[str, int] | None:
        """Return name and version of the policy that judges new analyses; None is the model's own."""
        with self._place.begin() as session:
            active = show_active_policy(session, self._place.tenant_id)
        return None if active is None else (active.name, active.version)

    def submit_file(self, path: Path, order: Order) -> TakenJob:
        """Upload a local file, and submit it."""
        return self._submit(self._upload(path), order, SourceKind.UPLOAD)

    def submit_object(self, uri: str, order: Order) -> TakenJob:
        """Submit an object where it lies. The job is about the bytes that lie there now."""
        seen = self._place.open_objects().head(_parse(uri))
        return self._submit(seen.ref, order, SourceKind.API)

    def _submit(self, ref: VideoRef, order: Order, kind: SourceKind) -> TakenJob:
        done = submit_video(self._place.store, self._make_job(ref, order, kind))
        return TakenJob(done.job_id, ref.uri, done.is_new)

    def _upload(self, path: Path) -> VideoRef:
        """Store a file in the fleet's bucket, under the tenant and its content's hash; return the object.

        No two tenants share an object, so that the erasure of one's video leaves the other's.
        """
        place = self._place
        return store_file(place.open_objects(), path, place.settings.bucket, tenant_prefix(place.tenant_id))

    def submit_listing(self, listing: Listing, order: Order) -> Iterator[TakenJob]:
        """Submit a listing as one batch; the same manifest again is completed, not submitted twice.

        Where its batch ended before the list was whole, the whole list becomes another batch.
        """
        jobs, key = self._read_listing(listing, order)
        new = NewBatch(
            self._place.tenant_id, listing.name[-_NAME_LETTERS_MAX:], order.lane, idempotency_key=key
        )
        done = self._submit_batch(new, jobs)
        for job, taken in zip(jobs, done.jobs, strict=True):
            yield TakenJob(taken.job_id, job.source.uri, taken.is_new, done.batch_id)

    def _submit_batch(self, new: NewBatch, jobs: list[NewJob]) -> SubmittedBatch:
        named = new
        while True:
            try:
                return submit_batch(self._place.store, named, jobs)
            except BatchEnded as ended:
                # By its id, so that sending the manifest once more finds this batch again.
                named = replace(new, idempotency_key=f"{new.idempotency_key}:after:{ended.batch_id}")

    def measure_listing(self, listing: Listing, order: Order) -> ListingSize:
        """Say how much a listing has, and submit nothing."""
        jobs, _ = self._read_listing(listing, order)
        sizes = [job.source.size_bytes for job in jobs if job.source.size_bytes is not None]
        return ListingSize(len(jobs), sum(sizes) if len(sizes) == len(jobs) else None)

    def _read_listing(self, listing: Listing, order: Order) -> tuple[list[NewJob], str | None]:
        """Return the jobs of a listing, and the key under which it is submitted only once."""
        if not listing.is_manifest:
            return list(self._walk(listing.name, order)), None
        found = self._read_manifest(listing.name)
        jobs = [
            self._make_job(row.ref, order, SourceKind.MANIFEST, external_id=row.external_id)
            for row in found.rows
        ]
        # With another deadline they are other jobs: those of the first batch keep theirs.
        key = f"manifest:{found.sha256}:{order.lane}:{order.deadline_s}"
        return jobs, None if listing.is_again else key

    def _read_manifest(self, name: str) -> Manifest:
        if name.startswith("s3://"):
            return fetch_manifest(self._place.open_objects(), _parse(name))
        return read_manifest(Path(name))

    def _walk(self, address: str, order: Order) -> Iterator[NewJob]:
        """Yield a job for each object under a prefix, but those that the fleet keeps apart.

        Raises NothingMatched where there is none.
        """
        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        count = 0
        for facts in self._place.open_objects().list_objects(bucket, prefix):
            is_folder = facts.ref.key.endswith("/")
            if not is_folder and not is_kept_apart(facts.ref, self._place.settings.bucket):
                count += 1
                yield self._make_job(facts.ref, order, SourceKind.API)
        if not count:
            raise NothingMatched(Reason.SOURCE_NOT_FOUND, f"no object lies under {address}", NAMED_ALONE)

    def _make_job(
        self, ref: VideoRef, order: Order, kind: SourceKind, external_id: str | None = None
    ) -> NewJob:
        return NewJob(
            self._place.tenant_id,
            ref,
            order.lane,
            deadline_s=order.deadline_s,
            external_id=external_id,
            source_kind=kind,
        )


def _parse(address: str) -> VideoRef:
    try:
        return VideoRef.parse_uri(address)
    except ValueError as fault:
        raise RequestRefused(Reason.INVALID_REQUEST, str(fault)) from fault
