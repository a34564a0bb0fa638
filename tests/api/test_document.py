"""The OpenAPI document: whole, and kept by the API when it is asked anything that it allows.

A long run, with so many examples for each operation and ten times as many where a text is parsed:
FAKESIEVE_EXAMPLES=50 pytest tests/api/test_document.py
"""

import json
import os
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import closing
from uuid import uuid4

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.modes import GenerationMode
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from api.app import create_app
from fakesieve.database import Database
from fakesieve.filters.fields import ORDERS
from fakesieve.reasons import OF_CALLERS, Reason
from tests.api.callers import make_caller, make_settings
from tests.api.owned import make_one_of_each
from tests.filters import filter_texts
from tools.openapi import render

EXAMPLES = int(os.environ.get("FAKESIEVE_EXAMPLES", "3"))
PARSED = 10 * EXAMPLES
"""Where a filter or an order is read: nearly each is compiled to a statement of its own."""
BODIES = 2 * EXAMPLES
FORBIDDEN = (EXAMPLES + 1) // 2
DOCUMENT = json.loads(render())
OPERATIONS = [
    (method, path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
CHECKS = [
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
SEEKING = {
    "database": None,
    "phases": [Phase.explicit, Phase.generate],
    "suppress_health_check": list(HealthCheck),
}
WITH_BODY = [each[:2] for each in OPERATIONS if "requestBody" in each[2]]
FILTERED = [
    each[:2] for each in OPERATIONS if "filter" in {one.get("name") for one in each[2].get("parameters", ())}
]
LISTS = [path for _, path, each in OPERATIONS if "page_token" in str(each.get("parameters"))]
UNTOLD = {
    *("cache-control", "content-length", "content-security-policy", "content-type", "referrer-policy"),
    *("x-accel-buffering", "x-content-type-options"),
}
"""Headers of HTTP itself, and those that only browsers and proxies go by."""
PROBLEM = {"$ref": "#/components/schemas/ProblemDocument"}


def test_it_is_openapi_3_1_with_an_id_for_each_operation():
    assert DOCUMENT["openapi"].startswith("3.1")
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=lambda each: str(each)[:60])
def test_every_operation_tells_its_problems_and_who_may(method, path, operation):
    if path.startswith("/health"):
        return
    responses = operation["responses"]
    for status in ("401", "403", "404", "422", "429", "500", "503"):
        assert responses[status]["content"] == {"application/problem+json": {"schema": PROBLEM}}
    assert operation["description"]
    if path not in ("/v1/whoami", "/v1/limits"):
        assert [scope for need in operation["security"] for scopes in need.values() for scope in scopes]


def test_no_shape_takes_or_gives_fields_that_it_does_not_name():
    open_shapes = [
        name
        for name, schema in DOCUMENT["components"]["schemas"].items()
        if schema.get("type") == "object" and schema.get("additionalProperties") is not False
    ]
    assert set(open_shapes) <= {"PartialAnalysis"}  # what a caller has picked with fields=


def test_it_lists_the_reasons_that_the_api_gives_and_none_of_callers_alone():
    listed = DOCUMENT["components"]["schemas"]["Reason"]["enum"]
    assert "API_UNAVAILABLE" not in listed
    assert set(listed) == set(Reason) - OF_CALLERS


class Ground:
    """The document over an application, and a tenant with one of everything and a key with every scope."""

    def __init__(self, app, database: Database, clip: Callable[[str], str]) -> None:
        self._client, self._database, self._clip = TestClient(app), database, clip
        self.schema = schemathesis.openapi.from_asgi("/v1/openapi.json", app)
        self.renew()

    def renew(self) -> None:
        """Take another tenant, of which nothing has been removed yet."""
        caller = make_caller(self._client, self._database, places=("s3://videos/",))
        self.headers = {"Authorization": f"Bearer {caller.secret}"}
        self.ids = make_one_of_each(caller, self._database, self._clip)
        for path in ("/v1/jobs/{job_id}", "/v1/batches/{batch_id}"):  # ended, so that their events end
            assert caller.post(path.format(**self.ids) + ":cancel").status_code == 200

    def put_ids(self, case) -> None:
        """Name what is there, wherever a request names anything by its id."""
        places = (case.path_parameters, case.query, case.body)
        for place in (each for each in places if isinstance(each, dict)):
            for name in place.keys() & self.ids.keys():
                if place is case.path_parameters or name.endswith("_id"):
                    place[name] = self.ids[name]


@pytest.fixture(scope="module")
def ground(postgres, s3, module_database_name, module_database, clip):
    app = create_app(make_settings(postgres, s3, module_database_name, api_rate_per_s=10_000))
    with closing(app.state.services.database):  # else whatever test comes later is told that it is open
        yield Ground(app, module_database, clip)


def ask(ground, method, path, examples, *, change=None, **drawn):
    """Send what the document allows, with what was drawn for it put in by ``change``; check every answer.

    Half of it is about what is there, the rest about ids that nobody has.
    """
    declared = DOCUMENT["paths"][path][method]["responses"]

    @given(case=ground.schema[path][method].as_strategy(), is_there=st.sampled_from([True, False]), **drawn)
    @settings(max_examples=examples, **SEEKING)
    def send(case, is_there, **found):
        if is_there:
            ground.put_ids(case)
        if "Idempotency-Key" in (case.headers or {}):  # a second request under one key would be refused
            case.headers["Idempotency-Key"] = uuid4().hex
        if "wait" in (case.query or {}):
            case.query["wait"] = 0
        if change is not None:
            change(case, **found)
        answer = case.call_and_validate(headers=ground.headers, checks=CHECKS)
        assert answer.status_code != 401
        told = {name.lower() for name in declared[str(answer.status_code)]["headers"]}
        assert set(answer.headers) - told <= UNTOLD

    try:
        send()
    finally:
        if method == "delete" or path.endswith((":erase", ":revoke")):
            ground.renew()


@pytest.mark.parametrize(("method", "path"), [each[:2] for each in OPERATIONS])
def test_nothing_that_the_document_allows_is_a_fault_of_ours(ground, method, path):
    ask(ground, method, path, BODIES if "requestBody" in DOCUMENT["paths"][path][method] else EXAMPLES)


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
def test_nothing_that_the_document_forbids_is_taken_or_is_a_fault_of_ours(ground, method, path):
    @given(case=ground.schema[path][method].as_strategy(generation_mode=GenerationMode.NEGATIVE))
    @settings(max_examples=FORBIDDEN, **SEEKING)
    def send(case):
        if isinstance(case.path_parameters, dict):
            case.path_parameters |= {name: ground.ids[name] for name in case.path_parameters}
        # Only of bodies: a header that is no trace (W3C Trace Context) has to be passed over, say.
        body = case.meta.components.get(ParameterLocation.BODY)
        is_wrong = body is not None and body.mode is GenerationMode.NEGATIVE
        checks = [*CHECKS, negative_data_rejection] if is_wrong else CHECKS
        case.call_and_validate(headers=ground.headers, checks=checks)

    send()


@pytest.mark.parametrize(("method", "path"), FILTERED)
def test_no_filter_and_no_order_is_a_fault_of_ours(ground, method, path):
    def put(case, text, order):
        case.query = {**(case.query or {}), "filter": text}
        case.query.pop("page_token", None)
        if "order_by" in case.query:
            case.query["order_by"] = order

    orders = st.lists(st.sampled_from([*ORDERS, "tags.x"]), min_size=1, max_size=3).map(", ".join)
    ask(ground, method, path, PARSED, change=put, text=filter_texts(), order=orders)


def test_a_filter_in_a_body_is_read_like_one_in_an_address(ground):
    def put(case, text):
        case.body = {"filter": text, "format": "csv"}

    ask(ground, "post", "/v1/exports", EXAMPLES, change=put, text=filter_texts())


@pytest.mark.parametrize("path", LISTS)
def test_no_position_is_a_fault_of_ours(ground, path):
    def put(case, token):
        case.query = {"page_token": token}

    tokens = st.one_of(
        st.text(st.sampled_from("abcdefABCDEF0123456789-_.="), max_size=80),
        st.lists(st.integers() | st.text(max_size=5) | st.none(), max_size=3).map(write_unsigned),
    )
    ask(ground, "get", path, EXAMPLES, change=put, token=tokens)


def write_unsigned(keys: list[object]) -> str:
    """Return what a position looks like before it is signed, with no signature of ours."""
    return urlsafe_b64encode(json.dumps(keys).encode()).decode().rstrip("=") + "." + "A" * 22
