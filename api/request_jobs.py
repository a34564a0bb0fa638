"""Taking work in for a caller: which objects it may name, what it may still use, and the request's jobs."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy.orm import Session

from api.problems import Problem, not_found
from api.schemas.jobs import JobSource
from fakesieve.errors import Unavailable
from fakesieve.jobs.sql.store import SqlJobTransaction
from fakesieve.objects import VideoRef
from fakesieve.places import Places
from fakesieve.reasons import Reason
from fakesieve.records.tenants import Quota, load_quota
from fakesieve.records.uploads import read_upload_ref, use_upload
from fakesieve.values.videos import SourceKind

Result = TypeVar("Result")


class RequestJobs:
    """A job store whose every step is part of one request's transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @contextmanager
    def transaction(self) -> Generator[SqlJobTransaction]:
        """Give the request's transaction; it is committed at the end of the request."""
        yield SqlJobTransaction(self._session)

    def run(self, work: Callable[[SqlJobTransaction], Result]) -> Result:
        """Run ``work`` in the request's transaction."""
        return work(SqlJobTransaction(self._session))

    def run_alone(self, work: Callable[[SqlJobTransaction], Result]) -> Result:
        """Run ``work`` as :meth:`run` does: what the request has begun is not left for one statement."""
        return self.run(work)


def read_places(quota: Quota, bucket: str) -> Places:
    """Return which objects a tenant may name."""
    return Places.read(quota.tenant_id, bucket, quota.places)


def check_place(places: Places, ref: VideoRef) -> VideoRef:
    """Return the object where the tenant may name it.

    Raises ``Problem`` (SOURCE_ACCESS_DENIED), which says nothing of whether the object is there.
    """
    if not places.may_read(ref):
        seen = f"{ref.uri} lies outside the places of this tenant"
        raise Problem(Reason.SOURCE_ACCESS_DENIED, seen, hint="GET /v1/limits lists them; ask for more")
    return ref


def find_source(session: Session, places: Places, source: JobSource) -> tuple[VideoRef, SourceKind]:
    """Return the object that a caller means, and how it came. Raises ``Problem``."""
    if source.upload_id is None:
        return check_place(places, source.read_ref()), SourceKind.API
    upload = use_upload(session, source.upload_id)
    if upload is None:
        raise not_found("upload", source.upload_id)
    ref = read_upload_ref(upload)
    if ref is None:
        seen = f"{source.upload_id} is not complete"
        raise Problem(Reason.STATE_CONFLICT, seen, hint="post the file, then :complete the upload")
    return ref, SourceKind.UPLOAD


def open_quota(session: Session, tenant_id: str, wanted: int) -> Quota:
    """Return what a tenant may use, once so many more jobs fit into it.

    Raises ``Problem`` (QUOTA_EXCEEDED).
    """
    quota = load_quota(session, tenant_id)
    if quota.jobs_max is not None and quota.jobs_live + wanted > quota.jobs_max:
        seen = f"{quota.jobs_live} jobs are live and {wanted} more are wanted, {quota.jobs_max} are allowed"
        raise Problem(Reason.QUOTA_EXCEEDED, seen)
    if quota.month_ms_max is not None and quota.month_ms >= quota.month_ms_max:
        seen = f"{quota.month_ms} ms of video were billed this month, {quota.month_ms_max} are allowed"
        raise Problem(Reason.QUOTA_EXCEEDED, seen, hint="wait for the next month, or ask for a higher quota")
    return quota


def no_links() -> Unavailable:
    """The error for an installation whose objects lie in a folder."""
    seen = "this installation keeps its objects in a folder, to which there are no links"
    return Unavailable(Reason.OBJECT_STORE_UNAVAILABLE, seen, "run it with an S3 store, or use the command")
