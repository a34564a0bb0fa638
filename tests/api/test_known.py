"""Known analyses over HTTP: who may declare them, what reviewers see, and the figures."""

import pytest

from fakesieve.database import Database
from fakesieve.reviews.claim import claim_next
from tests.api.callers import Caller, make_caller, reason_of
from tests.fakesieve.reviews.conftest import make_analyses

TRUTH = {"truth": "confirmed_manipulated", "note": "we made it ourselves"}
RIGHT = {"disposition": "confirmed_manipulated", "reason_code": "visible_artefacts"}
WRONG = {"disposition": "confirmed_authentic", "reason_code": "no_sign_found"}
REVIEWING = frozenset({"review:read", "review:write"})


@pytest.fixture
def analyses(acme: Caller, module_database: Database) -> tuple[str, ...]:
    return make_analyses(module_database, acme.tenant_id)


@pytest.fixture
def reviewer(acme: Caller, module_database: Database) -> Caller:
    return make_caller(acme.client, module_database, tenant_id=acme.tenant_id, scopes=REVIEWING)


def make_queue(caller: Caller, **options: object) -> str:
    made = caller.post("/v1/review-queues", {"name": "trained", "known_share": 0.2, **options})
    assert made.status_code == 201, made.text
    assert made.json()["known_share"] == 0.2
    return made.json()["id"]


def declare(caller: Caller, analysis: str) -> None:
    assert caller.post("/v1/known-analyses", {"analysis_id": analysis, **TRUTH}).status_code == 201


def give(database: Database, caller: Caller, queue: str) -> dict[str, object]:
    """Have chance give the caller the known analysis, and let them ask for what they hold."""
    with database.transaction(tenant_id=caller.tenant_id, viewer=caller.key_id) as session:
        assert claim_next(session, queue, caller.key_id, draw=lambda: 0.0) is not None
    return caller.post(f"/v1/review-queues/{queue}:claim").json()["review"]


def test_what_is_known_is_declared_listed_and_taken_back(acme: Caller, analyses: tuple[str, ...]) -> None:
    for analysis in analyses:
        declare(acme, analysis)
    first = acme.get("/v1/known-analyses", page_size=2).json()
    rest = acme.get("/v1/known-analyses", page_size=2, page_token=first["next_page_token"]).json()
    listed = first["data"] + rest["data"]
    assert [line["analysis_id"] for line in listed] == list(reversed(analyses))
    assert {(line["truth"], line["note"], line["declared_by"]) for line in listed} == {
        ("confirmed_manipulated", "we made it ourselves", acme.key_id)
    }
    again = acme.post("/v1/known-analyses", {"analysis_id": analyses[0], **TRUTH})
    assert reason_of(again) == (409, "STATE_CONFLICT")
    path = f"/v1/known-analyses/{analyses[0]}"
    assert acme.get(path).json() == listed[-1]
    assert acme.send("DELETE", path).status_code == 204
    assert reason_of(acme.send("DELETE", path)) == (404, "NOT_FOUND")
    assert reason_of(acme.get(path)) == (404, "NOT_FOUND")
    acts = [line["action"] for line in acme.get("/v1/audit-log", subject=analyses[0]).json()["data"]]
    assert acts == ["known.taken_back", "known.declared"]


@pytest.mark.parametrize(
    "wrong", [{"truth": "inconclusive"}, {"note": ""}, {"note": "x" * 1001}, {"note": "\x00"}, {"more": 1}]
)
def test_half_a_truth_is_refused(acme: Caller, analyses: tuple[str, ...], wrong: dict[str, object]) -> None:
    answer = acme.post("/v1/known-analyses", {"analysis_id": analyses[0], **TRUTH, **wrong})
    assert answer.status_code == 422
    assert acme.get("/v1/known-analyses").json()["data"] == []


@pytest.mark.parametrize("share", [-0.01, 0.21])
def test_a_share_out_of_range_is_refused(acme: Caller, share: float) -> None:
    answer = acme.post("/v1/review-queues", {"name": "x", "known_share": share})
    assert reason_of(answer) == (422, "INVALID_REQUEST")


def test_a06_nothing_of_it_is_another_tenants(acme: Caller, other: Caller, analyses: tuple[str, ...]) -> None:
    declare(acme, analyses[0])
    assert other.get("/v1/known-analyses").json()["data"] == []
    assert other.get("/v1/known-analyses:measure").json()["reviewers"] == []
    body = {"analysis_id": analyses[1], **TRUTH}
    assert reason_of(other.post("/v1/known-analyses", body)) == (404, "NOT_FOUND")
    assert reason_of(other.send("DELETE", f"/v1/known-analyses/{analyses[0]}")) == (404, "NOT_FOUND")
    assert len(acme.get("/v1/known-analyses").json()["data"]) == 1


def test_what_waits_is_on_the_list_of_a_lead_alone(
    acme: Caller, reviewer: Caller, analyses: tuple[str, ...], module_database: Database
) -> None:
    declare(acme, analyses[2])
    queue = make_queue(acme)
    known = give(module_database, reviewer, queue)
    for caller, rows in ((acme, 2), (reviewer, 0)):
        assert len(caller.get("/v1/reviews", queue_id=queue, state="open").json()["data"]) == rows
    (held,) = reviewer.get("/v1/reviews", queue_id=queue).json()["data"]
    assert held == known
    counts = {"open": 1, "claimed": 1, "decided": 0, "skipped": 0}
    assert reviewer.get(f"/v1/review-queues/{queue}").json()["items"] == counts


def test_a05_whoever_reviews_is_told_nothing(reviewer: Caller, analyses: tuple[str, ...]) -> None:
    for method, path in (
        ("POST", "/v1/known-analyses"),
        ("GET", "/v1/known-analyses"),
        ("GET", "/v1/known-analyses:measure"),
        ("GET", f"/v1/known-analyses/{analyses[0]}"),
        ("DELETE", f"/v1/known-analyses/{analyses[0]}"),
    ):
        answer = reviewer.send(method, path, {} if method == "POST" else None)
        assert reason_of(answer) == (403, "MISSING_SCOPE"), path
        assert "review:admin" in answer.json()["detail"]


def test_a_known_item_is_like_any_other_and_counts_for_its_reviewer_alone(
    acme: Caller,
    reviewer: Caller,
    analyses: tuple[str, ...],
    module_database: Database,
    long_undo: None,
) -> None:
    declare(acme, analyses[2])
    queue = make_queue(acme)
    real = acme.post(f"/v1/review-queues/{queue}:claim").json()["review"]
    known = give(module_database, reviewer, queue)
    assert (real["analysis_id"], known["analysis_id"]) == (analyses[0], analyses[2])
    for name in ("object", "kind", "state", "create_time", "parent_id", "is_blind", "queue_id"):
        assert known[name] == real[name], name
    path = f"/v1/reviews/{known['id']}"
    assert reason_of(acme.get(path)) == (404, "NOT_FOUND")
    assert reason_of(acme.post(f"{path}:claim")) == (404, "NOT_FOUND")
    decided = reviewer.post(f"{path}:decide", WRONG).json()
    assert (decided["state"], reviewer.get(path).json()) == ("decided", decided)
    assert [line["review_id"] for line in reviewer.get("/v1/review-entries").json()["data"]] == [known["id"]]
    # The file of whoever reviews holds what their list holds; the one for training holds nothing of it.
    (listed,) = reviewer.get("/v1/review-entries").json()["data"]
    assert reviewer.get("/v1/review-entries:export", format="jsonl").json() == listed
    assert acme.get("/v1/review-entries:export", format="jsonl").text == ""
    assert acme.get("/v1/review-entries").json()["data"] == []
    assert acme.get(f"/v1/review-queues/{queue}").json()["items"] == {
        "open": 1,
        "claimed": 1,
        "decided": 0,
        "skipped": 0,
    }
    (found,) = acme.get("/v1/known-analyses:measure").json()["reviewers"]
    (miss,) = found.pop("misses")
    assert (miss["review_id"], miss["analysis_id"], miss["truth"], miss["disposition"]) == (
        known["id"],
        analyses[2],
        TRUTH["truth"],
        WRONG["disposition"],
    )
    assert found == {
        "reviewer": reviewer.key_id,
        "decided": 1,
        "right": 0,
        "wrong": 1,
        "inconclusive": 0,
        "escalated": 0,
        "skipped": 0,
        "share": None,
        "interval": None,
    }
    reviewer.post(f"{path}:undo")
    reviewer.post(f"{path}:decide", RIGHT)
    (found,) = acme.get("/v1/known-analyses:measure").json()["reviewers"]
    assert (found["right"], found["wrong"], found["misses"]) == (1, 0, [])
