"""The OpenAPI document: whole, and kept by the API when it is asked anything that it allows.

More examples for each operation: FAKESIEVE_EXAMPLES=200 pytest tests/api/test_document.py
"""

import json
import os

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance
from starlette.testclient import TestClient

from api.app import create_app
from tests.api.callers import make_caller, make_settings
from tools.openapi import render

EXAMPLES = int(os.environ.get("FAKESIEVE_EXAMPLES", "3"))
DOCUMENT = json.loads(render())
OPERATIONS = [
    (method, path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
CHECKS = [not_a_server_error, response_schema_conformance, status_code_conformance]
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


@pytest.mark.parametrize(("method", "path"), [each[:2] for each in OPERATIONS])
def test_nothing_that_the_document_allows_is_a_fault_of_ours(keyed_schema, method, path):
    schema, headers = keyed_schema
    operation = schema[path][method]

    @given(case=operation.as_strategy())
    @settings(
        max_examples=EXAMPLES,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case):
        if "wait" in (case.query or {}):
            case.query["wait"] = 0
        answer = case.call_and_validate(headers=headers, checks=CHECKS)
        assert answer.status_code != 401

    ask()
