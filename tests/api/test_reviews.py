"""Reviews, feedback, calibrations and the audit log over HTTP, each route from both sides of the border."""

import csv
import io
import json

import pytest
from sqlalchemy import text

from fakesieve.database import Database
from fakesieve.reviews import fill
from fakesieve.reviews.queues import load_queue
from tests.api.callers import Caller, make_caller, reason_of
from tests.api.decided import decide_many
from tests.fakesieve.reviews.conftest import make_analyses

DECISION = {"disposition": "confirmed_authentic", "reason_code": "source_verified"}
FORGED = {
    "disposition": "confirmed_manipulated",
    "reason_code": "other",
    "comment": "=cmd()",
    "tracks": [{"ordinal": 0, "disposition": "confirmed_manipulated", "reason_code": "visible_artefacts"}],
}


@pytest.fixture
def analyses(acme: Caller, module_database: Database) -> tuple[str, ...]:
    return make_analyses(module_database, acme.tenant_id)


def make_queue(caller: Caller, **options: object) -> str:
    made = caller.post("/v1/review-queues", {"name": "all", **options})
    assert made.status_code == 201, made.text
    return made.json()["id"]


def claim(caller: Caller, queue: str) -> dict[str, object]:
    return caller.post(f"/v1/review-queues/{queue}:claim").json()["review"]


def test_nobody_is_told_that_nothing_waits_while_a_queue_is_filled(
    acme: Caller,
    analyses: tuple[str, ...],
    module_database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fill, "FILL_WAIT_S", 0.05)
    queue = make_queue(acme, order="oldest")
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        assert fill.fill_queue(session, load_queue(session, queue)) == len(analyses)
        refused = acme.post(f"/v1/review-queues/{queue}:claim")
    assert reason_of(refused) == (503, "DATABASE_UNAVAILABLE")
    assert (refused.headers["retry-after"], refused.json()["hint"]) == ("5", "ask again in a moment")
    assert claim(acme, queue)["analysis_id"] == analyses[0]


def test_a_review_from_the_queue_to_the_export(acme: Caller, analyses: tuple[str, ...]) -> None:
    queue = make_queue(acme, rule={"score_min": 0.4, "score_max": 0.46}, order="highest_score")
    review = claim(acme, queue)
    assert (review["analysis_id"], review["state"], review["claimed_by"]) == (
        analyses[0],
        "claimed",
        acme.key_id,
    )
    assert review["finding"] == {"outcome": "partially_scored", "score": 0.45, "verdict": "inconclusive"}
    decided = acme.post(f"/v1/reviews/{review['id']}:decide", FORGED).json()
    assert (decided["state"], decided["disposition"]) == ("decided", "confirmed_manipulated")
    assert claim(acme, queue) is None
    assert acme.get(f"/v1/review-queues/{queue}").json()["items"] == {
        "open": 0,
        "claimed": 0,
        "decided": 1,
        "skipped": 0,
    }
    (entry,) = acme.get("/v1/review-entries", kind="decision").json()["data"]
    assert (entry["comment"], entry["automated_means"], entry["tracks"][0]["ordinal"]) == (
        "=cmd()",
        "partial",
        0,
    )


def test_a63_no_cell_of_the_export_is_a_formula(acme: Caller, analyses: tuple[str, ...]) -> None:
    review = claim(acme, make_queue(acme))
    acme.post(f"/v1/reviews/{review['id']}:decide", FORGED)
    answer = acme.get("/v1/review-entries:export", format="csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert (row["comment"], row["tracks"]) == ("'=cmd()", "0=confirmed_manipulated/visible_artefacts")
    lines = acme.get("/v1/review-entries:export", format="jsonl").text.splitlines()
    assert [json.loads(line)["comment"] for line in lines] == ["=cmd()"]


def test_a_decision_is_taken_back_and_another_one_made(
    acme: Caller, analyses: tuple[str, ...], long_undo: None
) -> None:
    review = claim(acme, make_queue(acme))
    path = f"/v1/reviews/{review['id']}"
    acme.post(f"{path}:decide", DECISION)
    assert acme.post(f"{path}:undo").json()["state"] == "claimed"
    assert reason_of(acme.post(f"{path}:undo")) == (409, "STATE_CONFLICT")
    assert acme.post(f"{path}:release").json()["state"] == "open"
    assert reason_of(acme.post(f"{path}:decide", DECISION)) == (409, "STATE_CONFLICT")
    assert acme.post(f"{path}:claim").json()["state"] == "claimed"
    assert acme.post(f"{path}:skip", {"reason_code": "needs_expert"}).json()["state"] == "open"
    assert reason_of(acme.post(f"{path}:reopen")) == (409, "STATE_CONFLICT")


def test_a_blind_review_hides_its_score_until_a_first_word(acme: Caller, analyses: tuple[str, ...]) -> None:
    review = claim(acme, make_queue(acme, is_blind=True))
    assert (review["is_hidden"], review["finding"]) == (True, None)
    for line in acme.get("/v1/reviews").json()["data"]:
        assert line["finding"] is None
    shown = acme.post(f"/v1/reviews/{review['id']}:reveal", {"disposition": "inconclusive"}).json()
    assert shown["finding"]["score"] == 0.45


def test_a_second_opinion_and_an_appeal_go_to_somebody_else(
    acme: Caller, analyses: tuple[str, ...], module_database: Database
) -> None:
    queue = make_queue(acme)
    path = f"/v1/reviews/{claim(acme, queue)['id']}"
    acme.post(f"{path}:decide", DECISION)
    second = acme.post(f"{path}:second_opinion")
    appeal = acme.post(f"{path}:appeal", {"statement": "it is me"}).json()
    assert (second.status_code, second.json()["kind"], appeal["statement"]) == (
        201,
        "second_opinion",
        "it is me",
    )
    assert reason_of(acme.post(f"/v1/reviews/{second.json()['id']}:claim")) == (409, "STATE_CONFLICT")
    colleague = make_caller(acme.client, module_database, tenant_id=acme.tenant_id)
    assert claim(colleague, queue)["id"] in (second.json()["id"], appeal["id"])


def test_a_closed_queue_gives_nothing_out(acme: Caller, analyses: tuple[str, ...]) -> None:
    queue = make_queue(acme)
    assert acme.post(f"/v1/review-queues/{queue}:close").json()["is_active"] is False
    assert reason_of(acme.post(f"/v1/review-queues/{queue}:claim")) == (409, "STATE_CONFLICT")
    assert acme.post(f"/v1/review-queues/{queue}:open").json()["is_active"] is True
    assert reason_of(acme.post("/v1/review-queues", {"name": "all"})) == (409, "STATE_CONFLICT")


def test_lists_page_without_gaps(acme: Caller, analyses: tuple[str, ...]) -> None:
    queue = make_queue(acme)
    claim(acme, queue)
    seen: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = acme.get("/v1/reviews", queue_id=queue, page_size=1, **token).json()
        seen += [line["analysis_id"] for line in page["data"]]
        if page["next_page_token"] is None:
            break
        token = {"page_token": page["next_page_token"]}
    assert sorted(seen) == sorted(analyses)
    assert acme.get("/v1/reviews", state="claimed").json()["data"][0]["claimed_by"] == acme.key_id


BAD = [
    {"disposition": "fake", "reason_code": "other"},
    {"disposition": "escalated"},
    {"disposition": "escalated", "reason_code": "other"},
    {"disposition": "escalated", "reason_code": "needs_expert", "comment": "x" * 4001},
    {"disposition": "escalated", "reason_code": "needs_expert", "comment": "a\u0000b"},
    {"disposition": "escalated", "reason_code": "needs_expert", "reviewer": "usr_b"},
    {"disposition": "escalated", "reason_code": "needs_expert", "seconds_spent": 1},
    {"disposition": "escalated", "reason_code": "needs_expert", "tracks": [{"ordinal": True}]},
]


@pytest.mark.parametrize("body", BAD)
def test_a09_a_decision_that_is_none_is_refused(acme: Caller, body: dict[str, object]) -> None:
    assert reason_of(acme.post("/v1/reviews/rev_x:decide", body)) == (422, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "rule", [{"score_min": 2}, {"score_min": 0.9, "score_max": 0.1}, {"sample_rate": 0}, {"sql": "1=1"}]
)
def test_a_rule_that_makes_no_sense_is_refused(acme: Caller, rule: dict[str, object]) -> None:
    assert reason_of(acme.post("/v1/review-queues", {"name": "x", "rule": rule})) == (422, "INVALID_REQUEST")


@pytest.mark.parametrize("words", ["'; DROP TABLE review_item; --", "<script>alert(1)</script>", "a\r\nb: c"])
def test_a15_a18_a19_words_of_any_kind_are_kept_as_they_are(
    acme: Caller, analyses: tuple[str, ...], words: str
) -> None:
    review = claim(acme, make_queue(acme))
    acme.post(f"/v1/reviews/{review['id']}:decide", {**DECISION, "comment": words})
    assert acme.get("/v1/review-entries").json()["data"][0]["comment"] == words


def test_feedback_lies_beside_the_decisions(acme: Caller, analyses: tuple[str, ...]) -> None:
    body = {"analysis_id": analyses[0], "category": "false_positive", "comment": "that is our advert"}
    made = acme.post("/v1/feedback", body)
    assert made.status_code == 201
    (entry,) = acme.get("/v1/review-entries", kind="feedback", analysis_id=analyses[0]).json()["data"]
    assert (entry["id"], entry["category"]) == (made.json()["id"], "false_positive")
    assert (
        acme.get(made.headers["location"]).json()
        == made.json()
        == {
            "object": "feedback",
            "id": entry["id"],
            **body,
            "create_time": entry["create_time"],
        }
    )


def test_feedback_is_shown_to_the_key_that_gave_it_alone(
    acme: Caller, analyses: tuple[str, ...], module_database: Database
) -> None:
    made = acme.post("/v1/feedback", {"analysis_id": analyses[0], "category": "other"})
    colleague = make_caller(acme.client, module_database, tenant_id=acme.tenant_id)
    assert reason_of(colleague.get(made.headers["location"])) == (404, "NOT_FOUND")
    review = claim(acme, make_queue(acme))
    said = acme.post(f"/v1/reviews/{review['id']}:decide", DECISION).json()["decision_id"]
    assert reason_of(acme.get(f"/v1/feedback/{said}")) == (404, "NOT_FOUND")  # a decision is none


def test_feedback_is_shown_to_the_key_that_has_taken_over(acme: Caller, analyses: tuple[str, ...]) -> None:
    made = acme.post("/v1/feedback", {"analysis_id": analyses[0], "category": "other"})
    newer = acme.post(f"/v1/keys/{acme.key_id}:rotate", {}).json()
    heir = Caller(acme.client, acme.tenant_id, newer["id"], newer["secret"])
    assert heir.get(made.headers["location"]).json()["id"] == made.json()["id"]


REVIEW_PATHS = [
    ("GET", "/v1/reviews/{review}", None),
    ("POST", "/v1/reviews/{review}:claim", None),
    ("POST", "/v1/reviews/{review}:release", None),
    ("POST", "/v1/reviews/{review}:reveal", {"disposition": "inconclusive"}),
    ("POST", "/v1/reviews/{review}:decide", DECISION),
    ("POST", "/v1/reviews/{review}:undo", None),
    ("POST", "/v1/reviews/{review}:skip", {"reason_code": "needs_expert"}),
    ("POST", "/v1/reviews/{review}:reopen", None),
    ("POST", "/v1/reviews/{review}:second_opinion", None),
    ("POST", "/v1/reviews/{review}:appeal", {"statement": "no"}),
    ("GET", "/v1/review-queues/{queue}", None),
    ("POST", "/v1/review-queues/{queue}:claim", None),
    ("POST", "/v1/review-queues/{queue}:open", None),
    ("POST", "/v1/review-queues/{queue}:close", None),
    ("POST", "/v1/feedback", {"analysis_id": "{analysis}", "category": "other"}),
]


def test_a06_a08_nothing_of_another_tenant_is_seen_or_moved(
    acme: Caller, other: Caller, analyses: tuple[str, ...]
) -> None:
    queue = make_queue(acme)
    review = claim(acme, queue)
    acme.post("/v1/feedback", {"analysis_id": analyses[0], "category": "other"})
    names = {"review": review["id"], "queue": queue, "analysis": analyses[0]}
    for method, path, body in REVIEW_PATHS:
        sent = json.loads(json.dumps(body).replace("{analysis}", analyses[0]))
        assert reason_of(other.send(method, path.format(**names), sent)) == (404, "NOT_FOUND"), path
    for path in (
        "/v1/reviews",
        "/v1/review-queues",
        "/v1/review-entries",
        "/v1/audit-log",
        "/v1/calibrations",
    ):
        assert other.get(path).json()["data"] == [], path
        assert other.get(path, tenant_id=acme.tenant_id).json()["data"] == []
    assert other.get("/v1/review-entries:export", format="jsonl").text == ""
    assert acme.get(f"/v1/reviews/{review['id']}").json() == review


def scope_of(method: str, path: str) -> str:
    if path.startswith("/v1/review-queues") and path.endswith((":open", ":close")):
        return "review:admin"
    return "review:read" if method == "GET" else "review:write"


SCOPED = [
    *[(each[0], each[1], scope_of(each[0], each[1])) for each in REVIEW_PATHS[:-1]],
    ("GET", "/v1/reviews", "review:read"),
    ("POST", "/v1/review-queues", "review:admin"),
    ("GET", "/v1/review-queues", "review:read"),
    ("GET", "/v1/review-entries", "review:read"),
    ("GET", "/v1/review-entries:export", "review:read"),
    ("POST", "/v1/feedback", "results:read"),
    ("POST", "/v1/calibrations", "models:admin"),
    ("GET", "/v1/feedback/dec_1", "results:read"),
    ("GET", "/v1/calibrations", "results:read"),
    ("GET", "/v1/calibrations/cal_1", "results:read"),
    ("GET", "/v1/audit-log", "keys:admin"),
    ("GET", "/v1/audit-log:check", "keys:admin"),
]  # fmt: skip


def test_a05_a_key_without_the_scope_is_told_which(app_client, module_database) -> None:
    caller = make_caller(app_client, module_database, scopes=frozenset())
    for method, path, scope in SCOPED:
        answer = caller.send(method, path, {} if method == "POST" else None)
        assert reason_of(answer) == (403, "MISSING_SCOPE"), path
        assert scope in answer.json()["detail"], path


def test_a16_a_page_token_that_was_changed_is_refused(acme: Caller, analyses: tuple[str, ...]) -> None:
    claim(acme, make_queue(acme))
    token = acme.get("/v1/reviews", page_size=1).json()["next_page_token"]
    for path, wrong in (("/v1/reviews", token[:-1]), ("/v1/review-entries", token)):
        assert reason_of(acme.get(path, page_token=wrong)) == (422, "INVALID_PAGE_TOKEN")


def test_the_audit_log_says_who_did_what_and_checks(acme: Caller, analyses: tuple[str, ...]) -> None:
    review = claim(acme, make_queue(acme))
    acme.post(f"/v1/reviews/{review['id']}:decide", DECISION)
    lines = acme.get("/v1/audit-log", subject=review["id"], page_size=1).json()
    assert [(line["action"], line["actor"]) for line in lines["data"]] == [("review.decided", acme.key_id)]
    rest = acme.get(
        "/v1/audit-log", subject=review["id"], page_size=1, page_token=lines["next_page_token"]
    ).json()
    assert [line["action"] for line in rest["data"]] == ["review.claimed"]
    check = acme.get("/v1/audit-log:check").json()
    assert check["broken_at"] is None
    assert check["head_sha256"] == lines["data"][0]["sha256"]


def test_the_audit_log_is_asked_by_key_act_and_time(acme: Caller, analyses: tuple[str, ...]) -> None:
    review = claim(acme, make_queue(acme))
    acme.post(f"/v1/reviews/{review['id']}:decide", DECISION)

    def ask(**asked: str) -> list[str]:
        lines = acme.get("/v1/audit-log", actor=acme.key_id, **asked).json()["data"]
        return [line["action"] for line in lines if line["subject"] == review["id"]]

    assert ask() == ["review.decided", "review.claimed"]
    assert ask(action="review.claimed") == ["review.claimed"]
    claimed = acme.get("/v1/audit-log", subject=review["id"]).json()["data"][-1]["create_time"]
    assert ask(start_time=claimed) == ["review.decided", "review.claimed"]
    assert ask(end_time=claimed) == []
    assert acme.get("/v1/audit-log", actor="usr_nobody").json()["data"] == []
    for wrong in ("yesterday", "2026-01-31T12:00:00"):  # the second has no zone
        assert reason_of(acme.get("/v1/audit-log", start_time=wrong)) == (422, "INVALID_REQUEST")
    for far in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        assert acme.get("/v1/audit-log", start_time=far).status_code == 200


def test_a_calibration_is_fitted_from_what_people_decided(
    acme: Caller, analyses: tuple[str, ...], module_database: Database
) -> None:
    queue = make_queue(acme)
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        model = session.scalar(text("SELECT model_id FROM analysis LIMIT 1"))
    few = acme.post("/v1/calibrations", {"model_id": model})
    assert reason_of(few) == (409, "TOO_FEW_DECISIONS")
    assert "0 manipulated and 0 authentic" in few.json()["detail"]
    assert reason_of(acme.post("/v1/calibrations", {"model_id": "champion"})) == (404, "NOT_FOUND")
    assert acme.post(f"/v1/models/{model}:promote").status_code == 200
    called = acme.post("/v1/calibrations", {"model_id": "champion"})
    assert (reason_of(called), called.json()["detail"]) == (reason_of(few), few.json()["detail"])
    decide_many(module_database, acme.tenant_id, analyses[0], queue)
    made = acme.post("/v1/calibrations", {"model_id": model, "method": "platt"})
    fit = made.json()
    assert acme.get(made.headers["location"]).json() == fit
    # Each video was scored and decided twice, and counts once.
    assert (fit["n"], fit["n_manipulated"], fit["method"]) == (160, 80, "platt")
    # Two normal distributions of width 2 at -2 and 2 have the log odds of their own logit.
    assert fit["slope"] == pytest.approx(1.0, abs=0.3)
    assert fit["intercept"] == pytest.approx(0.0, abs=0.5)
    low, high = fit["ece_interval"]
    assert 0 <= low <= fit["ece_after"] <= high < 0.3
    assert [line["id"] for line in acme.get("/v1/calibrations", model_id=model).json()["data"]] == [fit["id"]]
    assert reason_of(acme.post("/v1/calibrations", {"model_id": "mdl_x"})) == (404, "NOT_FOUND")
