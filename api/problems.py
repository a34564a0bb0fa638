"""Every failure as ``application/problem+json`` (RFC 9457); the only place that knows HTTP status codes.

In a route, raise ``Problem(Reason.NOT_FOUND, "there is no job job_1")``. Failures of ``fakesieve`` need
nothing: ``FleetError`` and its children carry a reason, and each reason has one status.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from api.schemas.problems import FieldFault, ProblemDocument
from fakesieve.errors import FleetError
from fakesieve.reasons import OF_CALLERS, Reason

MEDIA_TYPE = "application/problem+json"
RETRY_S = 5

# Whatever is not named here is the input's own fault (422), or of OF_CALLERS and never answered.
_STATUS: Mapping[Reason, int] = MappingProxyType(
    {
        Reason.UNAUTHENTICATED: 401,
        Reason.MISSING_SCOPE: 403,
        Reason.SOURCE_ACCESS_DENIED: 403,
        Reason.QUOTA_EXCEEDED: 403,
        Reason.NOT_FOUND: 404,
        Reason.METHOD_NOT_ALLOWED: 405,
        Reason.STATE_CONFLICT: 409,
        Reason.REQUEST_IN_PROGRESS: 409,
        Reason.SOURCE_CHANGED: 409,
        Reason.LEGAL_HOLD: 409,
        Reason.TOO_FEW_DECISIONS: 409,
        Reason.PRECONDITION_FAILED: 412,
        Reason.REQUEST_TOO_LARGE: 413,
        Reason.SOURCE_TOO_LARGE: 413,
        Reason.UNSUPPORTED_MEDIA_TYPE: 415,
        Reason.RATE_LIMITED: 429,
        Reason.INTERNAL: 500,
        Reason.OUTPUT_FAILED: 500,
        Reason.INVALID_SETTINGS: 500,
        Reason.MIGRATIONS_BEHIND: 503,
        Reason.BROKER_MISCONFIGURED: 503,
        Reason.DATABASE_UNAVAILABLE: 503,
        Reason.OBJECT_STORE_UNAVAILABLE: 503,
        Reason.BROKER_UNAVAILABLE: 503,
        Reason.ENGINE_UNAVAILABLE: 503,
        Reason.SANDBOX_UNAVAILABLE: 503,
        Reason.NO_SPACE: 503,
    }
)
_HTTP_REASONS: Mapping[int, Reason] = MappingProxyType(
    {
        404: Reason.NOT_FOUND,
        405: Reason.METHOD_NOT_ALLOWED,
        413: Reason.REQUEST_TOO_LARGE,
        415: Reason.UNSUPPORTED_MEDIA_TYPE,
    }
)


class Problem(Exception):
    """A refusal with a reason of the closed list. ``headers`` go out beside it."""

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        hint: str | None = None,
        errors: Sequence[FieldFault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail, self.hint = reason, detail, hint or reason.hint
        self.errors, self.headers = tuple(errors), dict(headers or {})

    @property
    def status(self) -> int:
        """The HTTP status."""
        return find_status(self.reason)


class BrokenOff(Exception):
    """An answer that has begun cannot be finished; its text says why, for the log."""


def read_problem(fault: Problem | FleetError) -> Problem:
    """Return an error of the fleet as the problem that callers are told."""
    return fault if isinstance(fault, Problem) else Problem(fault.reason, fault.seen, hint=fault.hint)


def not_found(what: str, name: str) -> Problem:
    """The answer for an id that the tenant does not have, whether or not another one has it."""
    return Problem(Reason.NOT_FOUND, f"there is no {what} {name}")


def find_status(reason: Reason) -> int:
    """Return the HTTP status of a reason."""
    return _STATUS.get(reason, HTTPStatus.UNPROCESSABLE_ENTITY.value)


def list_answered(document: dict[str, Any]) -> dict[str, Any]:
    """Take the reasons that callers alone are told out of an OpenAPI document; return it."""
    listed = document["components"]["schemas"]["Reason"]
    listed["enum"] = [each for each in listed["enum"] if each not in OF_CALLERS]
    return document


def describe_responses(*reasons: Reason) -> dict[int | str, dict[str, object]]:
    """Return the ``responses`` of a route for OpenAPI: these refusals beside those that every route has."""
    statuses = sorted({find_status(reason) for reason in reasons})
    return {status: _describe(status) for status in statuses}


def _describe(status: int) -> dict[str, object]:
    reference = {"$ref": "#/components/schemas/ProblemDocument"}
    return {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": reference}}}


COMMON_RESPONSES = describe_responses(
    Reason.INVALID_REQUEST,
    Reason.UNAUTHENTICATED,
    Reason.MISSING_SCOPE,
    Reason.NOT_FOUND,
    Reason.RATE_LIMITED,
    Reason.INTERNAL,
    Reason.DATABASE_UNAVAILABLE,
)


def describe_problem(request: Request, problem: Problem) -> ProblemDocument:
    """Return what is told of a problem of a request, and note its reason for log and figures."""
    request.state.reason = problem.reason
    return ProblemDocument(
        type=f"urn:fakesieve:reason:{problem.reason}",
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        instance=request.url.path,
        reason=problem.reason,
        hint=problem.hint,
        retryable=problem.reason.is_retryable,
        request_id=getattr(request.state, "request_id", None),
        errors=list(problem.errors),
    )


def write_problem(request: Request, problem: Problem) -> JSONResponse:
    """Return a problem as an answer to a request."""
    status, document = problem.status, describe_problem(request, problem)
    headers = dict(problem.headers)
    if status == HTTPStatus.UNAUTHORIZED:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="fakesieve"')
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.setdefault("Retry-After", str(RETRY_S))
    return JSONResponse(
        document.model_dump(mode="json"), status_code=status, headers=headers, media_type=MEDIA_TYPE
    )


def install_problems(app: FastAPI) -> None:
    """Make every failure of the application a problem document."""
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(FleetError, _answer_fleet)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(HTTPException, _answer_http)


# Coroutines: for a plain function the framework would enter a thread, and others may have taken them all.
async def _answer_problem(request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, Problem)
    return write_problem(request, fault)


async def _answer_fleet(request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, FleetError)
    return write_problem(request, read_problem(fault))


async def _answer_validation(request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, RequestValidationError)
    faults = [_read_fault(error) for error in fault.errors()]
    first = faults[0]
    detail = f"{first.pointer}: {first.detail}" if first.pointer else first.detail
    if len(faults) > 1:
        detail += f"; and {len(faults) - 1} more"
    code = first.code
    reason = Reason.URL_NOT_ALLOWED if code == Reason.URL_NOT_ALLOWED else Reason.INVALID_REQUEST
    hint = "name an object, as s3://bucket/key" if reason is Reason.URL_NOT_ALLOWED else None
    return write_problem(request, Problem(reason, detail, hint=hint, errors=faults))


def _read_fault(error: Mapping[str, object]) -> FieldFault:
    """Say where and what, and never repeat the value: it may be a secret or a megabyte."""
    source, *path = (str(part) for part in cast("Sequence[int | str]", error["loc"]))
    code = {"extra_forbidden": "unknown_field"}.get(str(error["type"]), str(error["type"]))
    escaped = [part.replace("~", "~0").replace("/", "~1")[:200] for part in path]
    pointer = "".join(f"/{part}" for part in escaped) if source == "body" else f"{source}:{'.'.join(escaped)}"
    return FieldFault(pointer=pointer, code=code, detail=str(error["msg"])[:500])


async def _answer_http(request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, HTTPException)
    reason = _HTTP_REASONS.get(fault.status_code, Reason.INVALID_REQUEST)
    if reason is Reason.NOT_FOUND:
        detail = "there is nothing at this address"
    elif reason is Reason.METHOD_NOT_ALLOWED:
        detail = f"{request.method} is not a method of this address"
    else:
        detail = str(fault.detail)
    return write_problem(request, Problem(reason, detail, headers=fault.headers))
