"""Neither a filter nor an answer tells a key anything that its scopes would not."""

import csv
import io
import json

import pytest
from pyarrow import parquet

from fakesieve.database import Database
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.objects import VideoRef
from fakesieve.result_files import COLUMNS
from fakesieve.reviews.claim import claim_next
from fakesieve.scopes import ALL_SCOPES
from tests.api.callers import Caller, make_caller, reason_of
from tests.fakesieve.reviews.conftest import make_analyses

FORMS = ("csv", "jsonl", "parquet")
READING = frozenset({"results:read", "review:read", "review:write"})


@pytest.fixture
def weak(acme: Caller, module_database: Database) -> Caller:
    """A caller who may do all but read what people said."""
    rights = ALL_SCOPES - {"review:read"}
    return make_caller(acme.client, module_database, tenant_id=acme.tenant_id, scopes=rights)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/analyses?filter=NOT%20(score>2%20OR%20disposition:*)", None),
        ("GET", "/v1/analyses?fields=id,disposition", None),
        ("GET", "/v1/analyses/ana_x?fields=disposition", None),
        ("GET", "/v1/analyses/ana_x?view=full&fields=tracks,disposition", None),
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
    weak: Caller, method: str, path: str, body: object
) -> None:
    answer = weak.send(method, path, body)
    assert reason_of(answer) == (403, "MISSING_SCOPE")
    assert "review:read" in answer.json()["detail"]


def decide_first(caller: Caller, **queue: object) -> str:
    """Have a caller say that the first analysis of a new queue is manipulated, and return it."""
    made = caller.post("/v1/review-queues", {"name": "all", **queue}).json()["id"]
    item = caller.post(f"/v1/review-queues/{made}:claim").json()["review"]
    said = {"disposition": "confirmed_manipulated", "reason_code": "visible_artefacts"}
    assert caller.post(f"/v1/reviews/{item['id']}:decide", said).status_code == 200
    return item["analysis_id"]


def read_export(caller: Caller, form: str, **query: str) -> list[dict[str, object]]:
    """Return the rows of a streamed file; an empty cell of CSV is None, as in the other forms."""
    content = caller.get("/v1/analyses:export", format=form, **query).content
    if form == "parquet":
        return parquet.read_table(io.BytesIO(content)).to_pylist()
    if form == "jsonl":
        return [json.loads(line) for line in content.splitlines()]
    rows = csv.DictReader(io.StringIO(content.decode()))
    return [{name: cell or None for name, cell in row.items()} for row in rows]


def test_answers_tell_what_people_say(acme: Caller, module_database: Database) -> None:
    analyses = make_analyses(module_database, acme.tenant_id)
    decided = decide_first(acme)
    words = dict.fromkeys(analyses) | {decided: "confirmed_manipulated"}
    for ask in ({}, {"fields": "disposition,id"}, {"order_by": "score"}):
        data = acme.get("/v1/analyses", **ask).json()["data"]
        assert {each["id"]: each["disposition"] for each in data} == words, ask
    for analysis, said in words.items():
        for ask in (
            {},
            {"view": "full"},
            {"fields": "disposition"},
            {"view": "full", "fields": "disposition"},
        ):
            assert acme.get(f"/v1/analyses/{analysis}", **ask).json()["disposition"] == said, ask
    for form in FORMS:
        assert {row["id"]: row["disposition"] for row in read_export(acme, form)} == words, form
        (row,) = read_export(acme, form, filter="disposition = confirmed_manipulated")
        assert (row["id"], row["disposition"]) == (decided, "confirmed_manipulated"), form


def test_answers_tell_nothing_of_it_without_the_scope(
    acme: Caller, weak: Caller, module_database: Database
) -> None:
    make_analyses(module_database, acme.tenant_id)
    decided = decide_first(acme)
    told = acme.get(f"/v1/analyses/{decided}", view="full").json()
    untold = weak.get(f"/v1/analyses/{decided}", view="full").json()
    assert set(told) - set(untold) == {"disposition"}
    assert untold == {name: told[name] for name in untold}
    lines = [*weak.get("/v1/analyses").json()["data"], weak.get(f"/v1/analyses/{decided}").json()]
    assert len(lines) == 4
    assert not any("disposition" in line for line in lines)
    assert weak.get(f"/v1/analyses/{decided}", fields="id").json() == {"id": decided}
    for form in FORMS:
        assert [tuple(row) for row in read_export(weak, form)] == [COLUMNS] * 3, form


def test_a_file_in_the_store_that_every_key_may_read_says_nothing_of_it(
    acme: Caller, module_database: Database, store: S3Objects
) -> None:
    make_analyses(module_database, acme.tenant_id)
    decide_first(acme)
    made = acme.post("/v1/exports", {"format": "csv"}).json()
    content = store.read_range(VideoRef.parse_uri(made["uri"]), 0, made["size_bytes"]).decode()
    assert next(csv.reader(io.StringIO(content))) == [*COLUMNS]
    assert "confirmed_manipulated" not in content


def test_a_file_in_the_store_is_not_chosen_by_what_people_say(acme: Caller) -> None:
    for wanted in ("disposition = confirmed_manipulated", "score > 0 AND NOT disposition:*"):
        refused = acme.post("/v1/exports", {"format": "csv", "filter": wanted})
        assert reason_of(refused) == (422, "INVALID_REQUEST")
        assert refused.json()["hint"] == "stream the file instead: GET /v1/analyses:export"


def test_what_is_said_of_a_known_analysis_is_told_to_who_said_it(
    acme: Caller, module_database: Database
) -> None:
    *_, known = make_analyses(module_database, acme.tenant_id)
    reviewer = make_caller(acme.client, module_database, tenant_id=acme.tenant_id, scopes=READING)
    truth = {"analysis_id": known, "truth": "confirmed_manipulated", "note": "we made it"}
    acme.post("/v1/known-analyses", truth)
    queue = acme.post("/v1/review-queues", {"name": "trained", "known_share": 0.2}).json()["id"]
    with module_database.transaction(tenant_id=acme.tenant_id, viewer=reviewer.key_id) as session:
        item = claim_next(session, queue, reviewer.key_id, draw=lambda: 0.0)
    said = {"disposition": "confirmed_authentic", "reason_code": "no_sign_found"}
    assert reviewer.post(f"/v1/reviews/{item}:decide", said).json()["analysis_id"] == known
    for caller, told in ((reviewer, "confirmed_authentic"), (acme, None)):
        assert caller.get(f"/v1/analyses/{known}").json()["disposition"] == told
        listed = {each["id"]: each["disposition"] for each in caller.get("/v1/analyses").json()["data"]}
        assert listed[known] == told
        found = caller.get("/v1/analyses", filter="disposition:*").json()["data"]
        assert [each["id"] for each in found] == ([known] if told else [])
        for form in FORMS:
            exported = {row["id"]: row["disposition"] for row in read_export(caller, form)}
            assert exported[known] == told, form


def test_what_a_key_is_to_judge_blindly_tells_it_nothing(acme: Caller, module_database: Database) -> None:
    make_analyses(module_database, acme.tenant_id, (0.9,))
    decided = decide_first(acme)
    other = make_caller(acme.client, module_database, tenant_id=acme.tenant_id, scopes=READING)
    queue = acme.post("/v1/review-queues", {"name": "blind", "is_blind": True}).json()["id"]
    before = [row["disposition"] for row in read_export(other, "csv")]
    held = other.post(f"/v1/review-queues/{queue}:claim").json()["review"]["analysis_id"]
    assert (before, held) == (["confirmed_manipulated"], decided)
    assert other.get("/v1/analyses").json()["data"] == []
    assert reason_of(other.get(f"/v1/analyses/{decided}", fields="disposition")) == (409, "STATE_CONFLICT")
    assert [read_export(other, form) for form in FORMS] == [[], [], []]
    assert acme.get(f"/v1/analyses/{decided}").json()["disposition"] == "confirmed_manipulated"
