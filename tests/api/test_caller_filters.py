"""A filter tells a key nothing that its scopes would not."""

import pytest

from fakesieve.database import Database
from fakesieve.scopes import ALL_SCOPES
from tests.api.callers import Caller, make_caller, reason_of


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/analyses?filter=NOT%20(score>2%20OR%20disposition:*)", None),
        ("GET", "/v1/analyses:count?filter=disposition:escalated", None),
        ("GET", "/v1/analyses:count?by=verdict,disposition", None),
        ("GET", "/v1/analyses:export?filter=disposition=null", None),
        ("POST", "/v1/exports", {"format": "csv", "filter": "disposition:*"}),
        ("GET", "/v1/models:compare?filter=disposition:*", None),
        ("POST", "/v1/policies/strict:preview", {"filter": "disposition:*"}),
        ("POST", "/v1/policies/strict:apply", {"filter": "disposition:*"}),
        ("POST", "/v1/analyses:rescore", {"model": "champion", "filter": "disposition:*"}),
    ],
)
def test_what_people_said_is_asked_for_with_the_scope_that_reads_it(
    module_database: Database, acme: Caller, method: str, path: str, body: object
) -> None:
    rights = ALL_SCOPES - {"review:read"}
    weak = make_caller(acme.client, module_database, tenant_id=acme.tenant_id, scopes=rights)
    answer = weak.send(method, path, body)
    assert reason_of(answer) == (403, "MISSING_SCOPE")
    assert "review:read" in answer.json()["detail"]
