"""Headers in the OpenAPI document: which of them each route reads and sends.

FastAPI tells of what a route's own function names. What stands around all routes, ``Edge`` and ``ApiRoute``,
reads and sends headers too, and which ones follows from the kind of a route. So they are told here, once.
"""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Any, cast

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from api.edge import REQUEST_ID
from api.idempotency import KEY_LETTERS_MAX
from api.problems import describe_responses
from api.router import ApiRoute
from fakesieve.reasons import Reason

Json = dict[str, Any]
"""A piece of the document, of the type that FastAPI gives it."""

_WORD = {"type": "string"}
_TRACE = {"type": "string", "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"}
_ID = {"type": "string", "pattern": f"^{REQUEST_ID.pattern}$"}

# What callers may send, beside what the functions of routes name.
_READ: MappingProxyType[str, tuple[str, Json]] = MappingProxyType(
    {
        "Idempotency-Key": (
            "A request sent again under its key is answered as before, and is not done a second time.",
            {"type": "string", "minLength": 1, "maxLength": KEY_LETTERS_MAX, "pattern": "^[ -~]+$"},
        ),
        "If-None-Match": ("ETags that the caller has, or `*`: 304 in place of an answer that it has.", _WORD),
        "X-Request-Id": (
            "The caller's own id of the request: 1 to 100 letters, digits and `._-`. Another is not taken.",
            _WORD,
        ),
        "traceparent": (
            "The caller's trace (W3C Trace Context), which goes on in the log. Another form is not taken.",
            _WORD,
        ),
    }
)
# What comes back.
_SENT: MappingProxyType[str, tuple[str, Json]] = MappingProxyType(
    {
        "X-Request-Id": ("The id of the request, in the log too.", _ID),
        "traceparent": ("The trace of the request (W3C Trace Context).", _TRACE),
        "RateLimit-Policy": ("Requests that a key has at once, `q`, and the seconds of `w`.", _WORD),
        "RateLimit": ("Requests that the key has left, `r`, and seconds until all are back, `t`.", _WORD),
        "Retry-After": ("Seconds to wait before another try.", {"type": "integer", "minimum": 1}),
        "WWW-Authenticate": ("How a key is sent.", _WORD),
        "ETag": ("What the answer is known by; it is kept by its caller alone, who asks again.", _WORD),
        "Location": (
            "Where that is which was made, or which tells how it goes on.",
            {"type": "string", "format": "uri-reference"},
        ),
        "Idempotency-Replayed": (
            "The answer is that to an earlier request under the same key.",
            {"type": "string", "enum": ["true"]},
        ),
        "Content-Disposition": ("The name under which browsers keep the file.", _WORD),
    }
)
# What a route's own function sends, by the name of that.
_LOCATED = frozenset(
    {
        "appeal_review",
        "ask_for_second_opinion",
        "begin_upload",
        "create_export",
        "create_one_policy",
        "create_review_queue",
        "create_webhook",
        "declare_known_analysis",
        "erase_one_video",
        "fit_calibration",
        "make_key",
        "retry_list",
        "retry_one_job",
        "rotate_one_key",
        "send_feedback",
        "submit_job",
        "submit_list",
        "test_webhook",
    }
)
_LOCATED_AT_TIMES = frozenset({"rescore_analyses"})
_NAMED_FILES, _NAMED_FILES_AT_TIMES = frozenset({"export_results", "export_review_entries"}), {"show_maps"}
_TAGGED_CHANGES = frozenset({"change_video"})
_SECRET_LINKS = frozenset({"list_artifacts", "show_export"})
"""Answers that no caller is to keep: they hold links that are secrets while they work."""

# Before a key is known and counted nothing can be said of what it has left.
_MAY_BE_UNCOUNTED = frozenset({"429", "500", "503"})


def declare_headers(document: Json, routes: Iterable[BaseRoute]) -> Json:
    """Put the headers of all routes into a document, with 304, 409 and 413 where they may come; return it."""
    components = document["components"]
    components["parameters"] = {name: _write_parameter(name) for name in _READ}
    components["headers"] = {}
    for route in routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                _declare(components, document["paths"][route.path_format][method.lower()], route)
    return document


def _declare(components: Json, operation: Json, route: APIRoute) -> None:
    has_key, is_tagged = isinstance(route, ApiRoute), _is_tagged(route)
    is_kept = isinstance(route, ApiRoute) and route.keeps_answers
    read = ["Idempotency-Key"] * is_kept + ["If-None-Match"] * is_tagged + ["X-Request-Id", "traceparent"]
    operation.setdefault("parameters", []).extend(
        {"$ref": f"#/components/parameters/{each}"} for each in read
    )
    responses = cast("dict[str, Json]", operation["responses"])
    if is_tagged:
        responses["304"] = {"description": "Not Modified"}
    if is_kept:  # another request under the same key is being done
        [conflict] = describe_responses(Reason.REQUEST_IN_PROGRESS).values()
        responses.setdefault("409", conflict)
    if "requestBody" in operation:  # no route reads a body of any length
        [too_large] = describe_responses(Reason.REQUEST_TOO_LARGE).values()
        responses.setdefault("413", too_large)
    for status, response in responses.items():
        sure, at_times = _find_sent(status, has_key=has_key, is_kept=is_kept)
        if status.startswith("2"):
            own, own_at_times = _find_own(route.name, is_tagged=is_tagged)
            sure, at_times = sure + own, at_times + own_at_times
        if status == "304":
            sure = [*sure, "ETag"]
        response["headers"] = {
            each: _refer(components, each, is_sure=each in sure) for each in (*sure, *at_times)
        }


def _is_tagged(route: APIRoute) -> bool:
    """Whether answers of a route have an ETag and are not sent again to who has them."""
    return isinstance(route, ApiRoute) and route.is_taggable and route.name not in _SECRET_LINKS


def _find_sent(status: str, *, has_key: bool, is_kept: bool) -> tuple[list[str], list[str]]:
    """Return what comes with a status whatever the route: always, and at times."""
    sure, at_times = ["X-Request-Id", "traceparent"], list[str]()
    if status == "401":
        sure.append("WWW-Authenticate")
    elif has_key:
        (at_times if status in _MAY_BE_UNCOUNTED else sure).extend(["RateLimit-Policy", "RateLimit"])
    if status in ("429", "503"):
        sure.append("Retry-After")
    if status == "409" and is_kept:
        at_times.append("Retry-After")
    if status.startswith("2") and is_kept:
        at_times.append("Idempotency-Replayed")
    return sure, at_times


def _find_own(name: str, *, is_tagged: bool) -> tuple[list[str], list[str]]:
    """Return what a route sends with what was asked for: always, and at times."""
    sure = ["ETag"] * (is_tagged or name in _TAGGED_CHANGES) + ["Location"] * (name in _LOCATED)
    sure += ["Content-Disposition"] * (name in _NAMED_FILES)
    at_times = ["Location"] * (name in _LOCATED_AT_TIMES)
    return sure, at_times + ["Content-Disposition"] * (name in _NAMED_FILES_AT_TIMES)


def _refer(components: Json, name: str, *, is_sure: bool) -> Json:
    """Return a reference to a header, which is written where it is referred to first."""
    place = name if is_sure else f"{name}.at-times"
    about, schema = _SENT[name]
    components["headers"].setdefault(place, {"description": about, "required": is_sure, "schema": schema})
    return {"$ref": f"#/components/headers/{place}"}


def _write_parameter(name: str) -> Json:
    about, schema = _READ[name]
    return {"name": name, "in": "header", "required": False, "description": about, "schema": schema}
