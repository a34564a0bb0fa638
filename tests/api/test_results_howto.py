"""The requests of the pages on results, policies and models, sent as they stand, in their order."""

import json
import re
from pathlib import Path

import pytest

from fakesieve.database import Database
from tests.api.callers import Caller
from tests.api.model_stage import NEWER
from tests.api.results import store_result, store_results
from tests.factories import make_score

PAGES = Path(__file__).parents[2] / "docs" / "howto"


def _read_requests(page: str) -> list[tuple[str, str, object]]:
    """Return method, address and body of each request of a page."""
    text = (PAGES / page).read_text()
    found: list[tuple[str, str, object]] = []
    for block in re.findall(r"^```http\n(.*?)^```", text, re.M | re.S):
        for line in block.splitlines():
            if line.startswith("{"):
                found[-1] = (*found[-1][:2], json.loads(line))
            else:
                method, address = line.split()
                found.append((method, address, None))
    return found


@pytest.mark.parametrize("page", ["filter-results.md", "policies.md", "rescore.md"])
def test_each_request_of_the_page_is_answered(
    module_database: Database, store: object, acme: Caller, page: str
) -> None:
    ids = store_results(module_database, acme.tenant_id)
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        store_result(session, acme.tenant_id, "high", make_score(0.2), model=NEWER)
    models = {each["weights_sha256"][:2]: each["id"] for each in acme.get("/v1/models").json()["data"]}
    names = {"high": ids["high"], "model": models["ab"], "newer": models["cd"]}
    requests = _read_requests(page)
    assert len(requests) >= 5
    for method, address, body in requests:
        path = re.sub(r"\{(\w+)\}", lambda name: names[name[1]], address)
        answer = acme.send(method, path, body)
        assert answer.status_code in (200, 201, 202), (method, path, answer.text)
