"""Upload of a video by the browser, straight to the object store; no byte of it passes through here."""

import mimetypes
from functools import partial
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from api.dependencies import Objects, ServicesDep
from api.pages.forms import Form, FormDep
from api.pages.headers import write_policy
from api.pages.people import Person, PersonDep
from api.pages.router import PageRouter, PageTransaction, require_role
from api.pages.templates import render
from api.problems import Problem
from api.routes.jobs import submit_job
from api.routes.uploads import begin_upload, finish_upload
from api.schemas.jobs import NewJobBody
from api.schemas.uploads import ContentType, NewUploadBody
from api.services import Services
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from fakesieve.records.tenants import Caller
from fakesieve.scopes import Scope
from fakesieve.values.people import UserRole

HASHED_BYTES_MAX = 64 << 20
"""Up to this length browsers hash a file before they send it, for which they need all of it in memory."""

_REVIEWER = [require_role(UserRole.REVIEWER)]

router = PageRouter()


@router.get("/upload", dependencies=_REVIEWER)
def show_upload_page(request: Request, services: ServicesDep) -> Response:
    """Show where to drop a video."""
    return render(
        request,
        "upload.html",
        policy=write_policy(upload=find_upload_origin(services)),
        limit=services.settings.upload_bytes_max,
        hashed=HASHED_BYTES_MAX,
        is_possible=services.links is not None,
    )


@router.post("/upload/begin", dependencies=_REVIEWER)
def begin_from_page(
    form: FormDep,
    request: Request,
    response: Response,
    person: PersonDep,
    services: ServicesDep,
    session: PageTransaction,
) -> JSONResponse:
    """Make a form that lets exactly this file in."""
    body = read_upload(form)
    made = begin_upload(body, request, response, _act_for(person), services, session)
    return JSONResponse(made.model_dump(mode="json"))


@router.post("/upload/{upload_id}/finish", dependencies=_REVIEWER)
def finish_from_page(
    upload_id: str,
    response: Response,
    person: PersonDep,
    services: ServicesDep,
    objects: Objects,
) -> JSONResponse:
    """Compare what was uploaded with what was announced, and queue its job."""
    begin = partial(
        services.database.transaction, tenant_id=person.tenant_id
    )  # none while the store is asked
    finish_upload(upload_id, objects, begin)
    job = submit_job(NewJobBody(upload_id=upload_id), response, _act_for(person), services, objects, begin)
    return JSONResponse({"job_id": job.id})


def read_upload(form: Form) -> NewUploadBody:
    """Return what is to be uploaded. A browser that knows no type for the file is helped by its name."""
    name, given = form.read("name"), form.read("type")
    known = {kind.value: kind for kind in ContentType}
    guessed = mimetypes.guess_type(name)[0] or ""
    try:
        return NewUploadBody(
            content_type=known.get(given) or known.get(guessed, ContentType.UNKNOWN),
            size_bytes=int(form.read("size") or 0),
            sha256=form.read("sha256") or None,
            name=name[-255:] or None,
        )
    except (ValidationError, ValueError) as fault:
        seen = "a video has a name, at least one byte, and a SHA-256 of 64 hexadecimal digits or none"
        raise Problem(Reason.INVALID_REQUEST, seen) from fault


def find_upload_origin(services: Services) -> str:
    """Return the origin that uploads go to, for the content security policy of the page."""
    if services.links is None:
        return ""
    link = services.links.link_get(VideoRef(services.settings.bucket, "x"), expire_s=1)
    parts = urlsplit(link)
    return f"{parts.scheme}://{parts.netloc}"


def _act_for(person: Person) -> Caller:
    return Caller(person.id, person.tenant_id, frozenset({Scope.JOBS_WRITE.value}))
