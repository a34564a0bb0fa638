"""Results as documents: what ``fakesieve scan --json`` writes for the same video, with the job in it."""

from typing import Annotated, cast

from fastapi import Query
from sqlalchemy.orm import Session

from api.dependencies import CallerDep, Transaction, require_scope
from api.problems import describe_responses, not_found
from api.router import ApiRouter
from api.routes.analyses import refuse_absent
from api.schemas.analyses import Document
from fakesieve.ids import IdPrefix
from fakesieve.reasons import Reason
from fakesieve.records.analysis_lists import find_line
from fakesieve.result_documents import build_form, read_result
from fakesieve.scopes import Scope

router = ApiRouter(tags=["analyses"])
_READ = [require_scope(Scope.RESULTS_READ)]
_CONFLICT = describe_responses(Reason.STATE_CONFLICT)
Patches = Annotated[bool, Query(description="With the patch maps, as base64.")]


@router.get("/v1/jobs/{job_id}/document", dependencies=_READ, responses=_CONFLICT)
def show_document_of_job(
    job_id: str, caller: CallerDep, session: Transaction, *, patches: Patches = False
) -> Document:
    """Show the result of a job that has ended, whole. Without an analysis `error` says why there is none."""
    if not job_id.startswith(f"{IdPrefix.JOB}_"):
        raise not_found("job", job_id)
    return _read(session, caller.tenant_id, job_id, patches=patches)


@router.get("/v1/analyses/{analysis_id}/document", dependencies=_READ, responses=_CONFLICT)
def show_document(
    analysis_id: str, caller: CallerDep, session: Transaction, *, patches: Patches = False
) -> Document:
    """Show an analysis whole, with the newest job that led to it."""
    if not analysis_id.startswith(f"{IdPrefix.ANALYSIS}_"):
        raise not_found("analysis", analysis_id)
    return _read(session, caller.tenant_id, analysis_id, patches=patches)


def _read(session: Session, tenant_id: str, name: str, *, patches: bool) -> Document:
    """Return a document. Raises ``Problem`` for a video that was deleted or is kept from the caller."""
    found = read_result(session, name)
    analysis_id = str(found.job.line.analysis_id)
    if found.record is not None and find_line(session, tenant_id, analysis_id) is None:
        raise refuse_absent(session, analysis_id)
    return cast("Document", build_form(found, with_patches=patches))
