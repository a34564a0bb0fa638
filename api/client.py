"""A client of the API: typed, synchronous, and patient where that is of use.

    from api.client import Client

    with Client() as client:                      # FAKESIEVE_API_URL and FAKESIEVE_API_KEY
        job = client.submit("clip.mp4")           # or s3://bucket/key
        job = client.wait(job.id)
        print(client.results.get(job.analysis_id).verdict)
        for each in client.results.iter(filter='verdict = "likely_manipulated"'):
            print(each.id)

Every POST carries an ``Idempotency-Key``, so a request that was cut off is sent again without being done
twice. Sent again are only requests that did not get through and those whose problem is ``retryable``.
It loads pydantic and httpx2 and nothing of the fleet: no database, no web framework, no network.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from api.calls.bodies import write_body
from api.calls.jobs import Batches, Jobs, Uploads, derive_key
from api.calls.keys import Keys
from api.calls.paths import fill_path
from api.calls.policies import Models, Policies
from api.calls.results import Results
from api.calls.reviews import Reviews
from api.calls.sender import ApiProblem, Sender, StillRunning
from api.calls.unreachable import ApiUnreachable, hide_password
from api.calls.videos import Videos
from api.calls.webhooks import Webhooks
from api.schemas.jobs import BatchOut, JobOut, JobSource, NewBatchBody, NewJobBody
from api.schemas.keys import LimitsOut, UsageOut, WhoAmI
from api.schemas.uploads import UploadOut
from fakesieve.errors import SetupRefused
from fakesieve.jobs.states import Lane
from fakesieve.reasons import Reason
from fakesieve.values.jobs import DEADLINE_S

# What callers catch stands beside the client that raises it.
__all__ = ["ApiProblem", "ApiUnreachable", "Client", "StillRunning"]


class Client:
    """One key at one API. Close it, or use it in a ``with`` block. Not for several threads at once."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        tries: int = 5,
        timeout_s: float = 60.0,
        running_s: float = 1800.0,
        http: httpx2.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Connect to nothing yet.

        Args:
            url: such as ``http://127.0.0.1:8080``; default FAKESIEVE_API_URL.
            key: default FAKESIEVE_API_KEY.
            tries: of a request that does not get through, as long as trying again can help.
            timeout_s: of one try; longer than a long poll, which takes half a minute.
            running_s: how many seconds to ask, beside the tries, about a request that the API still works on
                (REQUEST_IN_PROGRESS), as one whose answer did not come within ``timeout_s``. The default is
                the longest work that the API does under one key.
            http: what sends the requests, for proxies and certificates of one's own.
            sleep: waits between tries.

        Raises:
            SetupRefused: without an address or a key, or with an address that cannot be read.
        """
        address = (url or os.environ.get("FAKESIEVE_API_URL", "")).rstrip("/")
        secret = key or os.environ.get("FAKESIEVE_API_KEY", "")
        if not address or not secret:
            seen = "the address of the API or the key is missing"
            hint = "give url and key, or set FAKESIEVE_API_URL and FAKESIEVE_API_KEY"
            raise SetupRefused(Reason.INVALID_SETTINGS, seen, hint)
        _check_address(address)
        self._http = http or httpx2.Client(timeout=timeout_s)
        # For requests that no method below makes.
        self.sender = Sender(address, secret, self._http, tries=tries, running_s=running_s, sleep=sleep)
        self.jobs, self.batches = Jobs(self.sender), Batches(self.sender)
        self.results, self.videos = Results(self.sender), Videos(self.sender)
        self.policies, self.models = Policies(self.sender), Models(self.sender)
        self.reviews, self.webhooks = Reviews(self.sender), Webhooks(self.sender)
        self.keys = Keys(self.sender)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def whoami(self) -> WhoAmI:
        """Return what the key may do."""
        return self.sender.get("/v1/whoami", WhoAmI)

    def limits(self) -> LimitsOut:
        """Return what a request may bring and what the tenant may use."""
        return self.sender.get("/v1/limits", LimitsOut)

    def usage(self, days: int = 31) -> UsageOut:
        """Return what the tenant has used."""
        return self.sender.get("/v1/usage", UsageOut, {"days": days})

    def submit(
        self,
        source: str | Path,
        *,
        lane: Lane = Lane.STANDARD,
        external_id: str | None = None,
        deadline_s: int = int(DEADLINE_S),
        idempotency_key: str | None = None,
    ) -> JobOut:
        """Submit an object (``s3://bucket/key``) or a local file, which is uploaded first.

        The same call under the same ``idempotency_key`` gives the first job, for 48 hours; a file is then
        not uploaded again, and one that was cut off on its way is sent again, whole, to the same upload.

        Raises ``ApiProblem``: IDEMPOTENCY_CONFLICT where the key was used for another source, for a file of
        other bytes or of another name, with other values, or by another key of the API; NOT_FOUND where the
        file was uploaded under it, no job was made of it for a day, and it was removed.
        """
        is_object = str(source).startswith("s3://")
        new = NewJobBody(
            uri=str(source) if is_object else None,
            upload_id=None if is_object else self._upload_under(Path(source), idempotency_key).id,
            external_id=external_id,
            lane=lane,
            deadline_s=deadline_s,
        )
        return self.sender.post("/v1/jobs", JobOut, write_body(new), idempotency_key)

    def submit_batch(
        self, name: str, uris: list[str], *, lane: Lane = Lane.BULK, idempotency_key: str | None = None
    ) -> BatchOut:
        """Submit objects as one batch; ``batches.submit`` takes manifests and prefixes too."""
        items = [JobSource(uri=uri) for uri in uris]
        return self.batches.submit(NewBatchBody(name=name, items=items, lane=lane), idempotency_key)

    def upload(self, path: Path) -> UploadOut:
        """Put a local file into the object store; its hash is checked there."""
        return Uploads(self.sender).put(path)

    def _upload_under(self, path: Path, job_key: str | None) -> UploadOut:
        """Upload the file of a job under a key that follows from the job's."""
        if job_key is None:
            return self.upload(path)
        try:
            return Uploads(self.sender).put(path, derive_key(job_key))
        except ApiProblem as fault:
            if fault.reason is not Reason.IDEMPOTENCY_CONFLICT:
                raise
            # The problem names the derived key, which its caller has never seen.
            seen = f"{job_key!r} was used for another file than {path.name}: of other bytes or another name"
            raise ApiProblem(fault.problem.model_copy(update={"detail": seen})) from fault

    def job(self, job_id: str) -> JobOut:
        """Return a job as it is now."""
        return self.jobs.get(job_id)

    def batch(self, batch_id: str) -> BatchOut:
        """Return a batch as it is now."""
        return self.batches.get(batch_id)

    def cancel(self, job_id: str, message: str = "") -> JobOut:
        """Cancel a job that has not ended."""
        return self.jobs.cancel(job_id, message)

    def retry(self, job_id: str) -> JobOut:
        """Start a job again that failed, expired or was cancelled."""
        return self.jobs.retry(job_id)

    def wait(self, job_id: str, timeout_s: float = 3600.0) -> JobOut:
        """Return a job when it has ended. Raises ``StillRunning`` when the time is over before."""
        return self.sender.wait(
            fill_path("/v1/jobs/{}", job_id), JobOut, lambda job: job.is_terminal, timeout_s
        )

    def wait_batch(self, batch_id: str, timeout_s: float = 24 * 3600.0) -> BatchOut:
        """Return a batch when it has ended. Raises ``StillRunning`` when the time is over before."""
        path = fill_path("/v1/batches/{}", batch_id)
        return self.sender.wait(path, BatchOut, lambda batch: batch.is_terminal, timeout_s)

    def stream(self, job_id: str) -> Iterator[JobOut]:
        """Yield a job each time that it has changed, up to its end; a broken connection is made again."""
        return self.sender.follow(fill_path("/v1/jobs/{}/events", job_id), JobOut)


def _check_address(address: str) -> None:
    """Raise ``SetupRefused`` for an address that cannot be read, without a password that may stand in it."""
    try:
        httpx2.URL(address)
    except httpx2.InvalidURL:  # whose text may quote the password
        seen = f"{hide_password(address)} cannot be read as an address"
        hint = "give FAKESIEVE_API_URL as https://host:port; in a password write / as %2F and @ as %40"
        raise SetupRefused(Reason.INVALID_SETTINGS, seen, hint) from None
