"""Bodies of requests are read in one pass, whatever stands in them; what is not understood is named."""

import time

import pytest
from starlette.testclient import TestClient

from api.bodies import read_json
from api.problems import Problem
from tests.api.callers import Caller, reason_of


def test_a_name_that_stands_twice_among_many_is_found_at_once() -> None:
    names = [b'"%x":1' % number for number in range(60_000)]
    begun_s = time.thread_time()
    with pytest.raises(Problem, match="'ffff' stands twice"):
        read_json(b"{" + b",".join([b'"ffff":0', *names, b'"ffff":1']) + b"}")
    assert time.thread_time() - begun_s < 10  # of the processor; in quadratic time it took minutes


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        pytest.param(b"[" * 10_000 + b"]" * 10_000, None, id="a11-lists"),
        pytest.param(b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "it is nested too deeply", id="a11-objects"),
        pytest.param(b'{"uri": NaN}', "NaN is no number of JSON", id="a12-nan"),
        pytest.param(b'{"deadline_s": 1e999}', "the number 1e999 is without end", id="a12-1e999"),
        pytest.param(
            b'{"deadline_s": 9223372036854775808}',
            "the integer 9223372036854775808 does not fit into 64 bits",
            id="a12-2^63",
        ),
        pytest.param(
            b'{"deadline_s": ' + b"9" * 5000 + b"}",
            f"the integer {'9' * 30} does not fit into 64 bits",
            id="a12-long",
        ),
        pytest.param(
            b'{"uri": "s3://videos/a", "uri": "s3://videos/b"}',
            "the name 'uri' stands twice in an object",
            id="a13-double",
        ),
        pytest.param(
            b'{"uri": "s3://videos/\\u0000"}', "a text holds NUL or half of a character", id="a19-nul"
        ),
        pytest.param(b'{"uri": "s3://videos/\\ud800"}', "a text holds NUL or half of a character", id="half"),
        pytest.param(b'{"uri": ["\\ud800"]}', "a text holds NUL or half of a character", id="half-in-list"),
        pytest.param(b'{"uri": "s3://videos/\xff"}', "byte 21 is not UTF-8", id="no-utf8"),
        pytest.param(
            b"{",
            "no JSON: Expecting property name enclosed in double quotes at letter 1",
            id="cut",
        ),
        pytest.param(
            b"\xef\xbb\xbf{}", "no JSON: Unexpected UTF-8 BOM (decode using utf-8-sig) at letter 0", id="bom"
        ),
        pytest.param(b"null", None, id="null"),
    ],
)
def test_a11_a12_a13_json_that_is_read_in_several_ways_is_refused(
    acme: Caller, body: bytes, seen: str | None
) -> None:
    headers = {"Authorization": f"Bearer {acme.secret}", "Content-Type": "application/json"}
    answer = acme.client.post("/v1/jobs", content=body, headers=headers)
    assert reason_of(answer) == (422, "INVALID_REQUEST")
    if seen is not None:  # else it is plain JSON of another shape
        assert answer.json()["detail"] == f"the body cannot be read: {seen}"


MISSPELT = [
    ("GET", "/v1/analyses:export?format=csv&filtr=score%3E0.9", "filtr", "did you mean filter?"),
    ("GET", "/v1/analyses:count?by=verdict&filtr=score%3E0.9", "filtr", "did you mean filter?"),
    ("GET", "/v1/analyses?view=full", "view", "there are fields, filter, order_by, page_size, page_token"),
    ("GET", "/v1/jobs?batch=btc_1", "batch", "did you mean batch_id?"),
    ("DELETE", "/v1/videos/vid_1?purge=60", "purge", "did you mean purge_s?"),
    ("GET", "/v1/whoami?page=2", "page", "leave it out; this address has no parameters"),
]


@pytest.mark.parametrize(("method", "address", "name", "hint"), MISSPELT)
def test_a_name_in_the_query_that_nobody_knows_is_refused(
    acme: Caller, method: str, address: str, name: str, hint: str
) -> None:
    answer = acme.send(method, address)
    assert reason_of(answer) == (422, "INVALID_REQUEST")
    told = "there is no such parameter at this address"
    assert answer.json()["errors"] == [
        {"pointer": f"query:{name}", "code": "unknown_parameter", "detail": told}
    ]
    assert (answer.json()["detail"], answer.json()["hint"]) == (f"query:{name}: {told}", hint)


def test_names_in_the_query_tell_nothing_to_who_has_no_key(app_client: TestClient) -> None:
    assert reason_of(app_client.get("/v1/jobs?batch=x")) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    "uri", ["http://169.254.169.254/", "https://example.com/a.mp4", "file:///etc/passwd"]
)
def test_a21_a27_an_address_of_another_kind_is_not_allowed(acme: Caller, uri: str) -> None:
    answer = acme.post("/v1/jobs", {"uri": uri})
    assert reason_of(answer) == (422, "URL_NOT_ALLOWED")
    assert answer.json()["errors"] == [
        {
            "pointer": "/uri",
            "code": "URL_NOT_ALLOWED",
            "detail": "not the address of an object; it looks like s3://bucket/clip.mp4",
        }
    ]
    listed = acme.post("/v1/batches", {"name": "x", "items": [{"uri": "s3://videos/a"}, {"uri": uri}]})
    assert (reason_of(listed), listed.json()["errors"][0]["pointer"]) == (
        (422, "URL_NOT_ALLOWED"),
        "/items/1/uri",
    )
