"""Headers in the OpenAPI document: what it declares is what the API reads and sends."""

import json
import re
from collections.abc import Callable

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from api.app import create_app
from fakesieve.database import Database
from fakesieve.embedded.postgres import PostgresServer
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.records.idempotency import lock_key
from tests.api.callers import Caller, make_caller, make_settings
from tests.api.owned import make_one_of_each
from tools.openapi import render

DOCUMENT = json.loads(render())
PATHS = DOCUMENT["paths"]
OURS = {
    *("content-disposition", "etag", "idempotency-replayed", "location", "ratelimit", "ratelimit-policy"),
    *("retry-after", "traceparent", "www-authenticate", "x-request-id"),
}
"""All that the API sends beside what HTTP and browsers go by."""


def read_parameters(operation: dict) -> set[str]:
    """Return the names of what a request may bring."""
    shared = DOCUMENT["components"]["parameters"]
    return {
        (shared[each["$ref"].rpartition("/")[2]] if "$ref" in each else each)["name"].lower()
        for each in operation.get("parameters", ())
    }


def read_headers(answer: dict) -> dict[str, bool]:
    """Return the headers that an answer is declared to have, and of each whether it is always there."""
    shared = DOCUMENT["components"]["headers"]
    return {
        name.lower(): shared[each["$ref"].rpartition("/")[2]]["required"]
        for name, each in answer["headers"].items()
    }


def check(method: str, path: str, status: int, answer: Response) -> set[str]:
    """Compare the headers of an answer with those that the document declares; return those that came."""
    assert answer.status_code == status, answer.text
    declared = read_headers(PATHS[path][method.lower()]["responses"][str(status)])
    sent = OURS & {name.lower() for name in answer.headers}
    assert {name for name, is_sure in declared.items() if is_sure} <= sent <= declared.keys(), path
    return sent


@pytest.fixture
def owned(acme: Caller, clip: Callable[[str], str], module_database: Database) -> dict[str, str]:
    return make_one_of_each(acme, module_database, clip)


def test_just_the_requests_that_read_an_idempotency_key_declare_it(
    acme: Caller, owned: dict[str, str]
) -> None:
    """A key that is too long is refused before anything else is looked at, wherever one is read."""
    schema = DOCUMENT["components"]["parameters"]["Idempotency-Key"]["schema"]
    key = {"Idempotency-Key": "x" * (schema["maxLength"] + 1)}
    reading = set[tuple[str, str]]()
    for path, methods in PATHS.items():
        address = re.sub(r"\{(\w+)\}", lambda place: owned[place[1]], path)
        for method in methods:
            if not path.endswith("/events"):  # streams, which would not end; a GET reads no key
                answer = acme.send(method.upper(), address, None if method in ("get", "delete") else {}, key)
                if "idempotency-key has 1 to" in answer.text:
                    reading.add((method, path))
    declaring = {
        (method, path)
        for path, methods in PATHS.items()
        for method, operation in methods.items()
        if "idempotency-key" in read_parameters(operation)
    }
    assert reading == declaring
    assert {path for method, path in declaring if method == "post"} == {
        path for path, methods in PATHS.items() if "post" in methods
    }


MADE = [
    ("/v1/jobs", 202, {"uri": "s3://videos/isolation/a.mp4"}),
    ("/v1/batches", 202, {"name": "n", "items": [{"uri": "s3://videos/isolation/b.mp4"}]}),
    ("/v1/uploads", 201, {"size_bytes": 100, "content_type": "video/mp4", "sha256": "0" * 64}),
    ("/v1/exports", 201, {"format": "csv"}),
    ("/v1/policies", 201, {"name": "mine", "low": 0.2, "high": 0.8}),
    ("/v1/keys", 201, {"name": "k", "scopes": ["jobs:read"]}),
    ("/v1/keys/{key_id}:rotate", 201, {}),
    ("/v1/review-queues", 201, {"name": "another"}),
    ("/v1/reviews/{review_id}:second_opinion", 201, {}),
    ("/v1/reviews/{review_id}:appeal", 201, {"statement": "it is me"}),
    (
        "/v1/known-analyses",
        201,
        {"analysis_id": "{analysis_id}", "truth": "confirmed_manipulated", "note": "n"},
    ),
    ("/v1/feedback", 201, {"analysis_id": "{analysis_id}", "category": "other", "comment": "it is ours"}),
    ("/v1/webhooks", 201, {"url": "https://hooks.example/another"}),
    ("/v1/webhooks/{webhook_id}:test", 202, {}),
    ("/v1/jobs/{job_id}:retry", 202, {}),
    ("/v1/batches/{batch_id}:retry", 202, {}),
    ("/v1/videos/{video_id}:erase", 200, {}),
]
NAMED = ("id", "analysis_id", "batch_id")  # what the answer calls that which its Location shows


def prepare_what_is_made(caller: Caller, owned: dict[str, str]) -> None:
    """Bring what is asked about again into the state in which it can be."""
    said = {"disposition": "confirmed_manipulated", "reason_code": "visible_artefacts"}
    for path, body in (
        ("/v1/reviews/{review_id}:decide", said),
        ("/v1/jobs/{job_id}:cancel", None),
        ("/v1/batches/{batch_id}:cancel", None),
    ):
        answer = caller.post(path.format(**owned), body)
        assert answer.status_code == 200, answer.text
    assert caller.send("DELETE", f"/v1/known-analyses/{owned['analysis_id']}").status_code == 204


def test_whatever_is_made_says_where_it_is_and_under_its_key_that_it_was_made_before(
    acme: Caller, owned: dict[str, str]
) -> None:
    prepare_what_is_made(acme, owned)
    for path, status, body in MADE:
        wanted = {
            name: str(value).format(**owned) if name == "analysis_id" else value
            for name, value in body.items()
        }
        for times in range(2):
            answer = acme.post(path.format(**owned), wanted, {"Idempotency-Key": path.replace("/", ".")})
            sent = check("POST", path, status, answer)
            assert "location" in sent
            assert ("idempotency-replayed" in sent) == (times == 1)
            made, found = answer.json(), acme.get(answer.headers["location"])
            assert found.status_code == 200, path
            (name,) = [name for name in NAMED if name in made][:1]
            assert made[name] == (found.json()[name] if name in found.json() else found.json()["id"]), path


def test_no_answer_201_or_202_leaves_out_where_its_thing_is() -> None:
    """By RFC 9110 section 15.3.2 a 201 without a Location says that the address asked is what was made."""
    making = {
        (path, int(status)): "location" in read_headers(answer)
        for path, methods in PATHS.items()
        for operation in methods.values()
        for status, answer in operation["responses"].items()
        if status in ("201", "202")
    }
    assert all(making.values()), [path for (path, _), is_told in making.items() if not is_told]
    # Asked elsewhere, as they need a hundred decisions, hosts with a model, and a store that does not answer.
    elsewhere = {
        ("/v1/calibrations", 201),
        ("/v1/analyses:rescore", 202),
        ("/v1/videos/{video_id}:erase", 202),
    }
    assert {(path, status) for path, status, _ in MADE if status != 200} | elsewhere == making.keys()


READ = [
    ("/v1/videos/{video_id}", {}),
    ("/v1/analyses", {}),
    ("/v1/analyses/{analysis_id}", {"fields": "score"}),
    ("/v1/analyses/{analysis_id}/tracks/{ordinal}/maps", {"format": "npy"}),
    ("/v1/jobs/{job_id}", {}),
    ("/v1/limits", {}),
]


def test_who_has_an_answer_is_told_so(acme: Caller, owned: dict[str, str]) -> None:
    for path, query in READ:
        first = acme.get(path.format(**owned), **query)
        assert "etag" in check("GET", path, 200, first)
        known = {"If-None-Match": first.headers["etag"]}
        assert "if-none-match" in read_parameters(PATHS[path]["get"])
        check("GET", path, 304, acme.get(path.format(**owned), known, **query))


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/v1/analyses:export", {"content-disposition"}),
        ("/v1/review-entries:export", {"content-disposition"}),
        ("/v1/exports/{export_id}", set()),
        ("/v1/analyses/{analysis_id}/artifacts", set()),
    ],
)
def test_what_is_not_to_be_kept_has_no_etag(
    acme: Caller, owned: dict[str, str], path: str, own: set[str]
) -> None:
    sent = check("GET", path, 200, acme.get(path.format(**owned)))
    assert sent - own == {"ratelimit", "ratelimit-policy", "traceparent", "x-request-id"}
    assert "if-none-match" not in read_parameters(PATHS[path]["get"])


def test_refusals_and_probes_have_the_headers_that_they_declare(
    acme: Caller, owned: dict[str, str], app_client: TestClient, module_database: Database
) -> None:
    check("GET", "/health/live", 200, app_client.get("/health/live"))
    check("GET", "/v1/whoami", 401, app_client.get("/v1/whoami"))
    check("GET", "/v1/jobs/{job_id}", 404, acme.get("/v1/jobs/job_1"))
    lone = make_caller(app_client, module_database, scopes=frozenset())
    check("GET", "/v1/jobs", 403, lone.get("/v1/jobs"))
    path = "/v1/videos/{video_id}"
    headers = {"If-Match": '"other"'}
    check("PATCH", path, 412, acme.send("PATCH", path.format(**owned), {}, headers))
    assert "etag" in check("PATCH", path, 200, acme.send("PATCH", path.format(**owned), {}))
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        assert lock_key(session, acme.tenant_id, "held")
        answer = acme.post("/v1/bucket-events", {}, {"Idempotency-Key": "held"})
    assert "retry-after" in check("POST", "/v1/bucket-events", 409, answer)


def test_a_key_over_its_rate_is_told_when_to_come_again(
    postgres: PostgresServer, s3: SeaweedServer, module_database_name: str, module_database: Database
) -> None:
    slow = make_settings(postgres, s3, module_database_name, api_burst=1, api_rate_per_s=0.001)
    with TestClient(create_app(slow)) as http:
        caller = make_caller(http, module_database)
        check("GET", "/v1/whoami", 200, caller.get("/v1/whoami"))
        sent = check("GET", "/v1/whoami", 429, caller.get("/v1/whoami"))
    assert {"ratelimit", "ratelimit-policy", "retry-after"} <= sent
