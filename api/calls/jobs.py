"""Jobs, batches and uploads."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import httpx2

from api.calls.bodies import write_body
from api.calls.paths import fill_path
from api.calls.sender import ApiProblem, Sender
from api.calls.unreachable import ApiUnreachable
from api.schemas.job_logs import JobLogOut
from api.schemas.jobs import BatchOut, BatchPreviewOut, JobOut, NewBatchBody, RetriedOut, RetryBatchBody
from api.schemas.uploads import ContentType, NewUploadBody, UploadOut
from fakesieve.errors import RequestRefused
from fakesieve.jobs.states import BatchState, JobState
from fakesieve.reasons import Reason

_TYPES = {
    ".mp4": ContentType.MP4,
    ".m4v": ContentType.MP4,
    ".mov": ContentType.MOV,
    ".webm": ContentType.WEBM,
    ".mkv": ContentType.MATROSKA,
    ".ts": ContentType.MPEG_TS,
    ".avi": ContentType.AVI,
    ".jpg": ContentType.JPEG,
    ".jpeg": ContentType.JPEG,
    ".png": ContentType.PNG,
}
_NAME_LETTERS_MAX = 255
_PASSING = frozenset({403, 408, 429})
"""What a store says of a form that is over, of a slow sender and of too many: another form may go through."""


class Jobs:
    """Requests to screen one video each."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def get(self, job_id: str, *, view: str = "basic") -> JobOut:
        """Return a job as it is now; ``view="full"`` has its pieces of work and every try."""
        return self._sender.get(fill_path("/v1/jobs/{}", job_id), JobOut, {"view": view})

    def iter(
        self, state: JobState | None = None, batch_id: str | None = None, page_size: int | None = None
    ) -> Iterator[JobOut]:
        """Yield jobs, newest first, page after page, as they are asked for."""
        query = {"state": state, "batch_id": batch_id, "page_size": page_size}
        return self._sender.pages("/v1/jobs", JobOut, query)

    def log(self, job_id: str) -> JobLogOut:
        """Return what is known of a job, in order of time."""
        return self._sender.get(fill_path("/v1/jobs/{}/log", job_id), JobLogOut)

    def cancel(self, job_id: str, message: str = "") -> JobOut:
        """Cancel a job that has not ended."""
        return self._sender.post(fill_path("/v1/jobs/{}:cancel", job_id), JobOut, {"message": message})

    def retry(self, job_id: str) -> JobOut:
        """Start a job again that failed, expired or was cancelled."""
        return self._sender.post(fill_path("/v1/jobs/{}:retry", job_id), JobOut)


class Batches:
    """Lists of videos, each as one thing."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def submit(self, new: NewBatchBody, idempotency_key: str | None = None) -> BatchOut:
        """Submit a list: items, a manifest or a prefix."""
        return self._sender.post("/v1/batches", BatchOut, write_body(new), idempotency_key)

    def preview(self, new: NewBatchBody) -> BatchPreviewOut:
        """Say what a batch would hold; nothing is submitted."""
        return self._sender.post("/v1/batches:preview", BatchPreviewOut, write_body(new))

    def get(self, batch_id: str) -> BatchOut:
        """Return a batch as it is now."""
        return self._sender.get(fill_path("/v1/batches/{}", batch_id), BatchOut)

    def iter(self, state: BatchState | None = None) -> Iterator[BatchOut]:
        """Yield batches, newest first."""
        return self._sender.pages("/v1/batches", BatchOut, {"state": state})

    def stream(self, batch_id: str) -> Iterator[BatchOut]:
        """Yield a batch each time that it has changed, up to its end."""
        return self._sender.follow(fill_path("/v1/batches/{}/events", batch_id), BatchOut)

    def cancel(self, batch_id: str, message: str = "") -> BatchOut:
        """Cancel a batch and all of its jobs that have not ended."""
        return self._sender.post(fill_path("/v1/batches/{}:cancel", batch_id), BatchOut, {"message": message})

    def retry(self, batch_id: str, reasons: list[Reason] | None = None) -> int:
        """Start jobs of a batch again that ended for one of the reasons, or all; says how many."""
        body = write_body(RetryBatchBody(reasons=reasons or []))
        count = 0
        while True:
            done = self._sender.post(fill_path("/v1/batches/{}:retry", batch_id), RetriedOut, body)
            count += done.count
            if not done.has_more:
                return count


class Uploads:
    """Local files on their way into the object store."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def put(self, path: Path, idempotency_key: str | None = None) -> UploadOut:
        """Put a local file into the object store; its hash is checked there.

        Under a key that was used for this file before, what lies there is not sent again.

        Raises RequestRefused where the store takes no such file, as one that was written to meanwhile,
        ApiUnreachable (OBJECT_STORE_UNAVAILABLE) where it takes none after every try, and ApiProblem
        (IDEMPOTENCY_CONFLICT) where the key was used for a file of other bytes or of another name.
        """
        upload = self._sender.post("/v1/uploads", UploadOut, write_body(_describe(path)), idempotency_key)
        # Forms are secrets and are not kept: an answer without one is that to an earlier call.
        # To complete it changes nothing the second time; to show it would want one scope more.
        if upload.form is None and (done := self._act(upload.id, "complete")) is not None:
            return done
        for trial in range(1, self._sender.tries + 1):
            signed = self._act(upload.id, "sign") if upload.form is None or trial > 1 else upload
            # Without a form it was completed meanwhile, by another call under the key.
            if signed is None or self._send_file(signed, path):
                return self._sender.post(fill_path("/v1/uploads/{}:complete", upload.id), UploadOut)
            self._sender.pause(trial)
        seen = f"{path.name} could not be uploaded in {self._sender.tries} tries"
        hint = "check that this machine reaches the object store, whose address the API has given"
        raise ApiUnreachable(Reason.OBJECT_STORE_UNAVAILABLE, seen, hint, pause_s=0.0)

    def _act(self, upload_id: str, act: str) -> UploadOut | None:
        """Return an upload after an act of the API; None where its state does not allow it."""
        try:
            return self._sender.post(fill_path("/v1/uploads/{}:{}", upload_id, act), UploadOut)
        except ApiProblem as fault:
            if fault.reason is not Reason.STATE_CONFLICT:
                raise
            return None

    def _send_file(self, upload: UploadOut, path: Path) -> bool:
        """Post the file with its form; whether the store took it, or RequestRefused where it never will."""
        assert upload.form is not None
        with path.open("rb") as file:
            files = {"file": (upload.id, file, upload.content_type)}
            try:
                answer = self._sender.http.post(upload.form.url, data=upload.form.fields, files=files)
            except httpx2.TransportError:
                return False
        if answer.is_client_error and answer.status_code not in _PASSING:
            code = re.search(r"<Code>(\w+)</Code>", answer.text)
            said = code[1] if code else str(answer.status_code)
            if said != "RequestTimeout":  # Amazon's word for a slow sender, with 400
                seen = f"the object store takes no such file as {path.name}: {said}"
                raise RequestRefused(
                    Reason.INVALID_REQUEST, seen, "check its size, and that nobody writes to it"
                )
        return answer.is_success


def derive_key(job_key: str) -> str:
    """Return the key under which the file of a job is uploaded whose key is given.

    It is a digest, so that it is no key that a caller would choose, and no longer than the API takes.
    """
    return f"upload-{hashlib.sha256(job_key.encode()).hexdigest()}"


def _describe(path: Path) -> NewUploadBody:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size_bytes = os.fstat(file.fileno()).st_size
    # A name whose bytes are no UTF-8 becomes one with escapes, as JSON can hold no half of a character.
    name = path.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return NewUploadBody(
        content_type=_TYPES.get(path.suffix.lower(), ContentType.UNKNOWN),
        size_bytes=size_bytes,
        sha256=digest,
        name=name[-_NAME_LETTERS_MAX:],
    )
