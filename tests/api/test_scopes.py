"""What a key without scopes may do, asked of every operation that the document names."""

import json
import re
from pathlib import Path

from sqlalchemy import func, select

from fakesieve.database import Database
from fakesieve.records.registry import METADATA
from tests.api.callers import make_caller, reason_of

DOCUMENT = Path(__file__).parents[2] / "docs/reference/openapi.json"
FOR_ANY_KEY = {("get", "/v1/whoami"), ("get", "/v1/limits")}
PROBES = "/health/"


def read_operations() -> dict[tuple[str, str], list[str]]:
    """Return the scopes of every operation of the checked-in document."""
    paths = json.loads(DOCUMENT.read_text(encoding="utf-8"))["paths"]
    return {
        (method, path): [scope for need in operation.get("security", ()) for scope in need.get("key", ())]
        for path, operations in paths.items()
        for method, operation in operations.items()
    }


def count_rows(database: Database) -> dict[str, int]:
    """Return how many rows each table has."""
    with database.transaction(tenant_id=None) as session:
        return {
            table.name: session.execute(select(func.count()).select_from(table)).scalar_one()
            for table in METADATA.sorted_tables
        }


def test_a05_without_its_scope_no_operation_does_anything(app_client, module_database):
    caller = make_caller(app_client, module_database, scopes=frozenset())
    operations, before = read_operations(), count_rows(module_database)
    scoped = {each: scopes for each, scopes in operations.items() if scopes}
    assert {each for each in operations if each not in scoped and PROBES not in each[1]} == FOR_ANY_KEY
    for (method, path), scopes in scoped.items():
        body = None if method == "get" else {}
        answer = caller.send(method.upper(), re.sub(r"\{\w+\}", "1", path), body)
        assert reason_of(answer) == (403, "MISSING_SCOPE"), (method, path)
        assert any(scope in answer.json()["detail"] for scope in scopes), (method, path)
    assert count_rows(module_database) == before
