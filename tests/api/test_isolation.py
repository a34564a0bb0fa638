"""Every operation of the document, asked by another tenant with the ids of this one: all stays closed."""

import json
import re
from collections.abc import Callable

import pytest
from sqlalchemy import text

from fakesieve.database import Database
from fakesieve.object_stores.s3 import S3Objects
from tests.api.callers import Caller
from tests.api.owned import make_one_of_each
from tools.openapi import render

PATHS: dict[str, dict[str, object]] = json.loads(render())["paths"]
# What they name is shared by all, or a name that each tenant has for itself: here only nothing must move.
NAMES = {"model", "policy", "name"}
BODIES: dict[str, object] = {
    "PATCH /v1/videos/{video_id}": {"tags": {"a": "b"}},
    "POST /v1/videos/{video_id}:classify": {"retention_class": None},
    "POST /v1/reviews/{review_id}:decide": {
        "disposition": "confirmed_authentic",
        "reason_code": "source_verified",
    },
    "POST /v1/reviews/{review_id}:reveal": {"disposition": "inconclusive"},
    "POST /v1/reviews/{review_id}:skip": {"reason_code": "needs_expert"},
    "POST /v1/reviews/{review_id}:appeal": {"statement": "it is me"},
    "PUT /v1/webhooks/{webhook_id}": {"url": "https://hooks.example/"},
    "PUT /v1/retention-classes/{name}": {"keep_s": 100_000},
}


@pytest.fixture
def owned(
    acme: Caller, clip: Callable[[str], str], module_database: Database, store: S3Objects
) -> dict[str, str]:
    """One of everything that has an id, by the name that the document gives its place."""
    return make_one_of_each(acme, module_database, clip)


def digest_rows(database: Database, tenant_id: str) -> dict[str, str]:
    """Return a hash of a tenant's rows in each table."""
    listed = (
        "SELECT relname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid"
        " WHERE attname = 'tenant_id' AND relkind IN ('r', 'p') AND NOT relispartition"
    )
    rows = "SELECT md5(string_agg(x::text, '|' ORDER BY x::text)) FROM {} x WHERE tenant_id = :id"
    with database.transaction(tenant_id=None) as session:
        return {
            table: str(session.scalar(text(rows.format(table)), {"id": tenant_id}))
            for table in session.scalars(text(listed))
        }


def test_a06_a08_no_operation_tells_another_tenant_of_this_one_or_moves_it(
    acme: Caller, other: Caller, owned: dict[str, str], module_database: Database
) -> None:
    ids = [value for name, value in owned.items() if "_" in value and name not in NAMES]
    before = digest_rows(module_database, acme.tenant_id)
    for path, methods in PATHS.items():
        places = re.findall(r"\{(\w+)\}", path)
        address = re.sub(r"\{(\w+)\}", lambda place: owned[place[1]], path)  # a new name has to be made above
        for method in methods:
            label = f"{method.upper()} {path}"
            body = BODIES.get(label, {} if method in ("post", "put", "patch") else None)
            answer = other.send(method.upper(), address, body)
            if places and not NAMES & set(places):
                assert answer.status_code == 404, (label, answer.text)
            told = [each for each in ids if each in answer.text and each not in address]
            assert told == [], (label, answer.text)
    changed = {
        name for name, seen in digest_rows(module_database, acme.tenant_id).items() if seen != before[name]
    }
    assert changed == set()


@pytest.mark.parametrize(
    ("path", "query", "place"),
    [
        ("/v1/jobs", "batch_id", "batch_id"),
        ("/v1/reviews", "queue_id", "queue_id"),
        ("/v1/review-entries", "analysis_id", "analysis_id"),
        ("/v1/audit-log", "subject", "video_id"),
        ("/v1/webhooks/deliveries", "webhook_id", "webhook_id"),
    ],
)
def test_a06_lists_by_an_id_of_another_tenant_are_empty(
    other: Caller, owned: dict[str, str], path: str, query: str, place: str
) -> None:
    assert other.get(path, **{query: owned[place]}).json()["data"] == []
