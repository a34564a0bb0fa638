"""The OpenAPI document: whole, and kept by the API when it is asked anything that it allows.

A long run, with so many examples for each operation and ten times as many where a text is parsed:
FAKESIEVE_EXAMPLES=50 pytest tests/api/test_document.py
"""

import json
import os
from base64 import urlsafe_b64encode

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance
from starlette.testclient import TestClient

from api.app import create_app
from fakesieve.filters.fields import ORDERS
from tests.api.callers import make_caller, make_settings
from tests.filters import filter_texts
from tools.openapi import render

EXAMPLES = int(os.environ.get("FAKESIEVE_EXAMPLES", "3"))
PARSED = 10 * EXAMPLES
"""Where a filter or an order is read: nearly each is compiled to a statement of its own."""
BODIES = 2 * EXAMPLES
DOCUMENT = json.loads(render())
OPERATIONS = [
    (method, path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
CHECKS = [not_a_server_error, response_schema_conformance, status_code_conformance]
FILTERED = [
    each[:2] for each in OPERATIONS if "filter" in {one.get("name") for one in each[2].get("parameters", ())}
]
LISTS = [path for _, path, each in OPERATIONS if "page_token" in str(each.get("parameters"))]
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


@pytest.fixture(scope="module")
def keyed_schema(postgres, s3, module_database_name, module_database, store):
    """The document over an application, and a key with every scope."""
    app = create_app(make_settings(postgres, s3, module_database_name, api_rate_per_s=10_000))
    caller = make_caller(TestClient(app), module_database, places=("s3://videos/",))
    schema = schemathesis.openapi.from_asgi("/v1/openapi.json", app)
    return schema, {"Authorization": f"Bearer {caller.secret}"}


def ask(keyed_schema, method, path, examples, *, change=None, **drawn):
    """Send what the document allows, with what was drawn for it put in by ``change``; check every answer."""
    schema, headers = keyed_schema

    @given(case=schema[path][method].as_strategy(), **drawn)
    @settings(
        max_examples=examples,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def send(case, **found):
        if "wait" in (case.query or {}):
            case.query["wait"] = 0
        if change is not None:
            change(case, **found)
        answer = case.call_and_validate(headers=headers, checks=CHECKS)
        assert answer.status_code != 401

    send()


@pytest.mark.parametrize(("method", "path"), [each[:2] for each in OPERATIONS])
def test_nothing_that_the_document_allows_is_a_fault_of_ours(keyed_schema, method, path):
    ask(keyed_schema, method, path, BODIES if "requestBody" in DOCUMENT["paths"][path][method] else EXAMPLES)


@pytest.mark.parametrize(("method", "path"), FILTERED)
def test_no_filter_and_no_order_is_a_fault_of_ours(keyed_schema, method, path):
    def put(case, text, order):
        case.query = {**(case.query or {}), "filter": text}
        case.query.pop("page_token", None)
        if "order_by" in case.query:
            case.query["order_by"] = order

    orders = st.lists(st.sampled_from([*ORDERS, "tags.x"]), min_size=1, max_size=3).map(", ".join)
    ask(keyed_schema, method, path, PARSED, change=put, text=filter_texts(), order=orders)


def test_a_filter_in_a_body_is_read_like_one_in_an_address(keyed_schema):
    def put(case, text):
        case.body = {"filter": text, "format": "csv"}

    ask(keyed_schema, "post", "/v1/exports", EXAMPLES, change=put, text=filter_texts())


@pytest.mark.parametrize("path", LISTS)
def test_no_position_is_a_fault_of_ours(keyed_schema, path):
    def put(case, token):
        case.query = {"page_token": token}

    tokens = st.one_of(
        st.text(st.sampled_from("abcdefABCDEF0123456789-_.="), max_size=80),
        st.lists(st.integers() | st.text(max_size=5) | st.none(), max_size=3).map(write_unsigned),
    )
    ask(keyed_schema, "get", path, EXAMPLES, change=put, token=tokens)


def write_unsigned(keys: list[object]) -> str:
    """Return what a position looks like before it is signed, with no signature of ours."""
    return urlsafe_b64encode(json.dumps(keys).encode()).decode().rstrip("=") + "." + "A" * 22
