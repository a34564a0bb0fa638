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
"""

import hashlib
import importlib
import json
import os
import random
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast
from uuid import uuid4

import httpx2
from pydantic import BaseModel, ValidationError

from api.schemas.analyses import AnalysisOut
from api.schemas.jobs import BatchOut, ContentType, JobOut, UploadOut
from api.schemas.keys import LimitsOut, UsageOut, WhoAmI
from api.schemas.problems import ProblemDocument
from fakesieve.errors import SetupRefused
from fakesieve.jobs.states import Lane
from fakesieve.reasons import Reason

_POLL_S = 30
_PAUSE_S, _PAUSE_S_MAX = 0.5, 30.0
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
Shape = TypeVar("Shape", bound=BaseModel)
Query = Mapping[str, str | int | float | None]


class ApiProblem(Exception):
    """The API refused or failed. ``reason`` is of the closed list; ``problem`` has the rest."""

    def __init__(self, problem: ProblemDocument) -> None:
        super().__init__(f"{problem.reason}: {problem.detail} (hint: {problem.hint})")
        self.problem = problem

    @property
    def reason(self) -> Reason:
        """Why."""
        return self.problem.reason


class ApiUnreachable(Exception):
    """There was no answer, or one that is not of this API, after every try."""


class StillRunning(Exception):
    """The time of a wait is over and the job or batch has not ended; it goes on."""


class Client:
    """One key at one API. Close it, or use it in a ``with`` block. Not for several threads at once."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        tries: int = 5,
        timeout_s: float = 60.0,
        http: httpx2.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Connect to nothing yet.

        Args:
            url: such as ``http://127.0.0.1:8080``; default FAKESIEVE_API_URL.
            key: default FAKESIEVE_API_KEY.
            tries: of a request, as long as trying again can help.
            timeout_s: of one try; longer than a long poll, which takes half a minute.
            http: what sends the requests, for proxies and certificates of one's own.
            sleep: waits between tries.

        Raises:
            SetupRefused: without an address or a key.
        """
        self._url = (url or os.environ.get("FAKESIEVE_API_URL", "")).rstrip("/")
        secret = key or os.environ.get("FAKESIEVE_API_KEY", "")
        if not self._url or not secret:
            seen = "the address of the API or the key is missing"
            hint = "give url and key, or set FAKESIEVE_API_URL and FAKESIEVE_API_KEY"
            raise SetupRefused(Reason.INVALID_SETTINGS, seen, hint)
        self._headers = {"Authorization": f"Bearer {secret}"}
        self._http = http or httpx2.Client(timeout=timeout_s)
        self._tries, self._sleep = tries, sleep
        self.results = Results(self)

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
        return self.get("/v1/whoami", WhoAmI)

    def limits(self) -> LimitsOut:
        """Return what a request may bring and what the tenant may use."""
        return self.get("/v1/limits", LimitsOut)

    def usage(self, days: int = 31) -> UsageOut:
        """Return what the tenant has used."""
        return self.get("/v1/usage", UsageOut, {"days": days})

    def submit(
        self,
        source: str | Path,
        *,
        lane: Lane = Lane.STANDARD,
        external_id: str | None = None,
        deadline_s: int | None = None,
        idempotency_key: str | None = None,
    ) -> JobOut:
        """Submit an object (``s3://bucket/key``) or a local file, which is uploaded first."""
        is_object = str(source).startswith("s3://")
        place = {"uri": str(source)} if is_object else {"upload_id": self.upload(Path(source)).id}
        body: dict[str, str | int | None] = {**place, "lane": lane.value, "external_id": external_id}
        if deadline_s is not None:
            body["deadline_s"] = deadline_s
        return self.post("/v1/jobs", JobOut, body, idempotency_key)

    def submit_batch(
        self, name: str, uris: list[str], *, lane: Lane = Lane.BULK, idempotency_key: str | None = None
    ) -> BatchOut:
        """Submit objects as one batch."""
        body = {"name": name, "items": [{"uri": uri} for uri in uris], "lane": lane.value}
        return self.post("/v1/batches", BatchOut, body, idempotency_key)

    def upload(self, path: Path) -> UploadOut:
        """Put a local file into the object store; its hash is checked there."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        body = {
            "content_type": _TYPES.get(path.suffix.lower(), ContentType.UNKNOWN).value,
            "size_bytes": path.stat().st_size,
            "sha256": digest,
            "name": path.name[-255:],
        }
        upload = self.post("/v1/uploads", UploadOut, body)
        for trial in range(1, self._tries + 1):
            if upload.form is None or trial > 1:
                upload = self.post(f"/v1/uploads/{upload.id}:sign", UploadOut)
            if self._send_file(upload, path):
                return self.post(f"/v1/uploads/{upload.id}:complete", UploadOut)
            self._sleep(_choose_pause(trial, None))
        raise ApiUnreachable(f"{path.name} could not be uploaded in {self._tries} tries")

    def _send_file(self, upload: UploadOut, path: Path) -> bool:
        """Post the file with its form; whether the store took it."""
        assert upload.form is not None
        with path.open("rb") as file:
            files = {"file": (upload.id, file, upload.content_type)}
            try:
                answer = self._http.post(upload.form.url, data=upload.form.fields, files=files)
            except httpx2.TransportError:
                return False
        return answer.is_success

    def job(self, job_id: str) -> JobOut:
        """Return a job as it is now."""
        return self.get(f"/v1/jobs/{job_id}", JobOut)

    def batch(self, batch_id: str) -> BatchOut:
        """Return a batch as it is now."""
        return self.get(f"/v1/batches/{batch_id}", BatchOut)

    def cancel(self, job_id: str, message: str = "") -> JobOut:
        """Cancel a job that has not ended."""
        return self.post(f"/v1/jobs/{job_id}:cancel", JobOut, {"message": message})

    def retry(self, job_id: str) -> JobOut:
        """Start a job again that failed, expired or was cancelled."""
        return self.post(f"/v1/jobs/{job_id}:retry", JobOut)

    def wait(self, job_id: str, timeout_s: float = 3600.0) -> JobOut:
        """Return a job when it has ended. Raises ``StillRunning`` when the time is over before."""
        return self._wait(f"/v1/jobs/{job_id}", JobOut, lambda job: job.is_terminal, timeout_s)

    def wait_batch(self, batch_id: str, timeout_s: float = 24 * 3600.0) -> BatchOut:
        """Return a batch when it has ended. Raises ``StillRunning`` when the time is over before."""
        return self._wait(f"/v1/batches/{batch_id}", BatchOut, lambda batch: batch.is_terminal, timeout_s)

    def _wait(
        self, path: str, shape: type[Shape], is_done: Callable[[Shape], bool], timeout_s: float
    ) -> Shape:
        end_s = time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, end_s - time.monotonic())
            found = self.get(path, shape, {"wait": min(_POLL_S, left_s)})
            if is_done(found):
                return found
            if time.monotonic() >= end_s:
                raise StillRunning(f"{path} has not ended after {timeout_s:g} s")

    def stream(self, job_id: str) -> Iterator[JobOut]:
        """Yield a job each time that it has changed, up to its end; a broken connection is made again."""
        failures = 0
        while failures < self._tries:
            try:
                for name, data in self._read_events(f"/v1/jobs/{job_id}/events"):
                    failures = 0
                    yield _read(JobOut, data)
                    if name == "done":
                        return
            except httpx2.TransportError:
                failures += 1
                self._sleep(_choose_pause(failures, None))
        raise ApiUnreachable(f"the events of {job_id} broke off {failures} times in a row")

    def _read_events(self, path: str) -> Generator[tuple[str, object]]:
        with self._http.stream("GET", self._url + path, headers=self._headers) as answer:
            if not answer.is_success:
                answer.read()
                raise _read_problem(answer)
            name = ""
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, json.loads(value)

    def get(self, path: str, shape: type[Shape], query: Query | None = None) -> Shape:
        """Return what a GET answers."""
        return _read(shape, self._send("GET", path, query=query).json())

    def post(
        self, path: str, shape: type[Shape], body: object = None, idempotency_key: str | None = None
    ) -> Shape:
        """Return what a POST answers; it is done once, however often it has to be sent."""
        key = {"Idempotency-Key": idempotency_key or str(uuid4())}
        return _read(shape, self._send("POST", path, body=body, headers=key).json())

    def pages(self, path: str, shape: type[Shape], query: Query | None = None) -> Iterator[Shape]:
        """Yield what a list holds, page after page."""
        token: str | None = None
        while True:
            page = self._send("GET", path, query={**(query or {}), "page_token": token}).json()
            for each in page["data"]:
                yield _read(shape, each)
            token = page["next_page_token"]
            if token is None:
                return

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Send a request until it is answered, refused for good, or tried often enough."""
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        request = self._http.build_request(
            method,
            self._url + path,
            params=asked or None,
            json=body,
            headers={**self._headers, **(headers or {})},
        )
        for trial in range(1, self._tries + 1):
            is_last, retry_after = trial == self._tries, None
            try:
                answer = self._http.send(request)
            except httpx2.TransportError as fault:
                if is_last:
                    raise ApiUnreachable(f"{self._url}: {type(fault).__name__}") from fault
            else:
                if answer.is_success:
                    return answer
                problem = _read_problem(answer)
                if is_last or not problem.problem.retryable:
                    raise problem
                retry_after = answer.headers.get("retry-after")
            self._sleep(_choose_pause(trial, retry_after))
        raise AssertionError("the last try either returns or raises")


class Results:
    """What was found."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, analysis_id: str | None, view: str = "full") -> AnalysisOut:
        """Return an analysis with its faces and spans, or ``view="basic"`` without."""
        if analysis_id is None:
            raise ValueError("the job has no analysis: look at its state and error")
        return self._client.get(f"/v1/analyses/{analysis_id}", AnalysisOut, {"view": view})

    def iter(
        self,
        filter: str | None = None,  # noqa: A002 - the name that the API gives it
        order_by: str | None = None,
        page_size: int | None = None,
    ) -> Iterator[AnalysisOut]:
        """Yield the analyses that a filter lets through, page after page, as they are asked for."""
        query: Query = {"filter": filter, "order_by": order_by, "page_size": page_size}
        return self._client.pages("/v1/analyses", AnalysisOut, query)

    def to_pandas(
        self,
        filter: str | None = None,  # noqa: A002 - the name that the API gives it
        order_by: str | None = None,
    ) -> Any:
        """Return a pandas DataFrame with a row for each analysis; nested names are joined by dots."""
        # Lazy: pandas is no dependency, whoever wants frames has it.
        pandas = cast("Any", importlib.import_module("pandas"))
        rows = [each.model_dump(mode="json") for each in self.iter(filter, order_by)]
        return pandas.json_normalize(rows)


def _read(shape: type[Shape], data: object) -> Shape:
    """Return an answer as its shape; fields that a newer API adds are left out."""
    return shape.model_validate(data, extra="ignore")


def _read_problem(answer: httpx2.Response) -> ApiProblem:
    """Return why a request was refused. Raises ``ApiUnreachable`` for an answer of somebody else."""
    try:
        return ApiProblem(_read(ProblemDocument, answer.json()))
    except (ValueError, ValidationError) as fault:
        seen = f"{answer.request.url.host} answered {answer.status_code}, which is no answer of the API"
        raise ApiUnreachable(seen) from fault


def _choose_pause(trial: int, retry_after: str | None) -> float:
    """Return how long to wait after a try: what the API says, else longer each time, spread at random."""
    if retry_after is not None and retry_after.isdecimal():
        return min(_PAUSE_S_MAX, float(retry_after)) + random.uniform(0, _PAUSE_S)  # noqa: S311 - no secret
    longest = min(_PAUSE_S_MAX, _PAUSE_S * 2.0**trial)
    return random.uniform(longest / 2, longest)  # noqa: S311 - spreads tries, no secret
