"""Results as documents: what ``fakesieve scan --json`` writes for the same video, with the job in it."""

from typing import Annotated, cast

from fastapi import Query
from sqlalchemy.orm import Session

from api.dependencies import CallerDep, Transaction, require_scope
from api.problems import not_found
from api.router import ApiRouter
from api.schemas.analyses import Document
from fakesieve.ids import IdPrefix
from fakesieve.records.analysis_lists import find_line
from fakesieve.result_documents import build_form, read_result
from fakesieve.scopes import Scope

router = ApiRouter(tags=["analyses"])
_READ = [require_scope(Scope.RESULTS_READ)]
Patches = Annotated[bool, Query(description="With the patch maps, as base64.")]


@router.get("/v1/jobs/{job_id}/document", dependencies=_READ)
def show_document_of_job(
    job_id: str, caller: CallerDep, session: Transaction, *, patches: Patches = False
) -> Document:
    """Show the result of a job that has ended, whole. Without an analysis `error` says why there is none."""
    if not job_id.startswith(f"{IdPrefix.JOB}_"):
        raise not_found("job", job_id)
    return _read(session, caller.tenant_id, job_id, patches=patches)


@router.get("/v1/analyses/{analysis_id}/document", dependencies=_READ)
def show_document(
    analysis_id: str, caller: CallerDep, session: Transaction, *, patches: Patches = False
) -> Document:
    """Show an analysis whole, with the newest job that led to it."""
    if not analysis_id.startswith(f"{IdPrefix.ANALYSIS}_"):
        raise not_found("analysis", analysis_id)
    return _read(session, caller.tenant_id, analysis_id, patches=patches)


def _read(session: Session, tenant_id: str, name: str, *, patches: bool) -> Document:
    """Return a document. Raises ``Problem`` for a video that was deleted, as every list does."""
    found = read_result(session, name)
    analysis_id = found.job.line.analysis_id
    if found.record is not None and find_line(session, tenant_id, str(analysis_id)) is None:
        raise not_found("result of", name)
    return cast("Document", build_form(found, with_patches=patches))
