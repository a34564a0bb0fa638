"""Uploads: the file goes straight to the object store, through a form that lets exactly one file in."""

from datetime import UTC, datetime, timedelta

from fastapi import Request, Response
from sqlalchemy.orm import Session

from api.dependencies import CallerDep, Objects, ServicesDep, Transaction, Transactions, require_scope
from api.idempotency import keep_instead
from api.problems import Problem, describe_responses, not_found
from api.request_jobs import no_links
from api.router import ApiRouter
from api.schemas.uploads import NewUploadBody, UploadOut
from api.services import Services
from api.writing import write_upload
from fakesieve.errors import SourceRefused
from fakesieve.object_stores.s3 import PostForm
from fakesieve.objects import ObjectFacts, VideoRef
from fakesieve.reasons import Reason
from fakesieve.records.uploads import (
    UNUSED,
    Upload,
    UploadDraft,
    complete_upload,
    count_open_uploads,
    create_upload,
    load_upload,
)
from fakesieve.scopes import Scope

OPEN_MAX = 1000

router = ApiRouter(tags=["uploads"])
_WRITE, _READ = [require_scope(Scope.JOBS_WRITE)], [require_scope(Scope.JOBS_READ)]
_RESPONSES = describe_responses(
    Reason.QUOTA_EXCEEDED, Reason.STATE_CONFLICT, Reason.REQUEST_TOO_LARGE, Reason.UNSUPPORTED_MEDIA_TYPE
)


@router.post("/v1/uploads", status_code=201, dependencies=_WRITE, responses=_RESPONSES)
def begin_upload(
    body: NewUploadBody,
    request: Request,
    response: Response,
    caller: CallerDep,
    services: ServicesDep,
    session: Transaction,
) -> UploadOut:
    """Make a form that lets one file of this length and type in, and of this hash where one is given.

    Post the file with it, then complete.

    The form is in this answer alone; ``:sign`` makes another one.
    """
    limit = services.settings.upload_bytes_max
    if body.size_bytes > limit:
        raise Problem(Reason.REQUEST_TOO_LARGE, f"{body.size_bytes} bytes, at most {limit} are taken")
    if count_open_uploads(session, caller.tenant_id) >= OPEN_MAX:
        seen = f"{OPEN_MAX} uploads are open already"
        raise Problem(Reason.QUOTA_EXCEEDED, seen, hint="complete them, or wait until their forms expire")
    draft = UploadDraft(
        services.settings.bucket,
        body.content_type,
        body.size_bytes,
        datetime.now(UTC) + timedelta(seconds=services.settings.upload_s),
        body.name,
        body.sha256,
    )
    upload = create_upload(session, caller.tenant_id, draft)
    response.headers["Location"] = f"/v1/uploads/{upload.id}"
    return _answer_with_form(request, services, upload)


@router.get("/v1/uploads/{upload_id}", dependencies=_READ)
def show_upload(upload_id: str, session: Transaction) -> UploadOut:
    """Show an upload, without its form."""
    return write_upload(_find(session, upload_id), datetime.now(UTC))


@router.post("/v1/uploads/{upload_id}:sign", dependencies=_WRITE, responses=_RESPONSES)
def sign_upload(upload_id: str, request: Request, services: ServicesDep, session: Transaction) -> UploadOut:
    """Make another form for an upload that is not complete, for the same file."""
    upload = _find(session, upload_id)
    if upload.complete_time is not None:
        raise Problem(Reason.STATE_CONFLICT, f"{upload_id} is complete")
    upload.expire_time = datetime.now(UTC) + timedelta(seconds=services.settings.upload_s)
    upload.purge_time = upload.expire_time + UNUSED
    session.flush()
    return _answer_with_form(request, services, upload)


@router.post("/v1/uploads/{upload_id}:complete", dependencies=_WRITE, responses=_RESPONSES)
def finish_upload(upload_id: str, objects: Objects, begin: Transactions) -> UploadOut:
    """Say that the file was posted. It is compared with what was announced; a second call changes nothing."""
    with begin() as session:
        upload = _find(session, upload_id)
    if upload.complete_time is not None:
        return write_upload(upload, datetime.now(UTC))
    found = _look(objects, upload).ref
    with begin() as session:
        complete_upload(session, upload_id, found)
        session.expire_all()
        return write_upload(_find(session, upload_id), datetime.now(UTC))


def _find(session: Session, upload_id: str) -> Upload:
    upload = load_upload(session, upload_id)
    if upload is None:
        raise not_found("upload", upload_id)
    return upload


def _answer_with_form(request: Request, services: Services, upload: Upload) -> UploadOut:
    """Return the upload with a new form, which is a secret and so kept nowhere."""
    now = datetime.now(UTC)
    keep_instead(request, write_upload(upload, now))
    return write_upload(upload, now, _make_form(services, upload))


def _make_form(services: Services, upload: Upload) -> PostForm:
    if services.links is None:
        raise no_links()
    return services.links.link_post(
        upload.bucket,
        upload.key,
        limit_bytes=upload.size_bytes_max,
        at_least_bytes=upload.size_bytes_max,
        sha256=upload.sha256,
        content_type=upload.content_type,
        expire_s=int(services.settings.upload_s),
    )


def _look(objects: Objects, upload: Upload) -> ObjectFacts:
    """Return what lies there, which is what was announced. Raises ``Problem``."""
    try:
        facts = objects.head(VideoRef(upload.bucket, upload.key))
    except SourceRefused as fault:
        if fault.reason is not Reason.SOURCE_NOT_FOUND:
            raise
        seen = f"nothing was uploaded for {upload.id}"
        raise Problem(Reason.STATE_CONFLICT, seen, hint="post the file with the form first") from fault
    is_same = facts.size_bytes == upload.size_bytes_max and facts.content_type == upload.content_type
    if not is_same or facts.sha256 != upload.sha256:
        seen = f"{facts.size_bytes} bytes of {facts.content_type} lie there, which is not what was announced"
        raise Problem(Reason.SOURCE_CHANGED, seen, hint="begin a new upload for this file")
    return facts
