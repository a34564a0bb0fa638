"""Queues item by item, many decisions at once, saved filters, and the log of what was said."""

import csv
import html
import io
import json
import re
import secrets
from dataclasses import fields
from datetime import UTC, datetime
from types import ModuleType
from urllib.parse import urlencode

import pytest
from fastapi.testclient import TestClient
from pyarrow import parquet
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.pages.routes import rescore, results, results_export
from api.pages.routes.queue_items import Asked
from api.pages.routes.views import FIELDS, write_address
from engine.results import FaceRegion, Outcome
from fakesieve.database import Database
from fakesieve.people.accounts import name_people
from fakesieve.records.analyses import store_analysis
from fakesieve.records.audit import AuditSearch, list_audit
from fakesieve.records.reviews import ReviewDecision, ReviewItem, ReviewQueue
from fakesieve.records.saved_views import ViewPage
from fakesieve.records.statement_bounds import bounded
from fakesieve.values.people import UserRole
from fakesieve.values.reviews import QueueRule, ReviewState
from tests.api.pages.stage import Scene, enter, find_token, make_scene
from tests.factories import make_empty_score, make_record, make_score, make_video


@pytest.fixture
def own(module_database: Database, request: pytest.FixtureRequest) -> Scene:
    """A tenant with a queue of three items: scores 0.45, 0.3 and 0.05 after calibration."""
    made = make_scene(
        module_database, f"tenant-{secrets.token_hex(4)}", is_blind="blind" in request.node.name
    )
    for name, raw in (("b", 0.6), ("c", 0.1)):
        with module_database.transaction(tenant_id=made.tenant_id) as session:
            video_id = make_video(session, made.tenant_id, name)
            store_analysis(session, make_record(made.tenant_id, video_id, score=make_score(raw)))
    return made


@pytest.fixture
def reviewer(client: TestClient, own: Scene) -> TestClient:
    """A reviewer who has taken in what matches."""
    enter(client, own, UserRole.REVIEWER)
    page = f"/queue/{own.queue_id}"
    assert "3 matches were taken in." in post(client, page, f"{page}/fill").text
    return client


def post(client: TestClient, at: str, path: str, **fields: object):
    return client.post(path, data={"form_token": find_token(client.get(at).text)} | fields)


def count_rows(html: str) -> int:
    return html.count('<td><a href="/r/ana_')


def list_states(database: Database, own: Scene) -> list[ReviewState]:
    with database.transaction(tenant_id=own.tenant_id) as session:
        return sorted(session.scalars(select(ReviewItem.state)))


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("", 3),
        ("score_min=0.2", 2),
        ("score_max=0.2", 1),
        ("score_min=0.2&score_max=0.4", 1),
        ("region=mouth", 3),
        ("region=nose", 0),
        ("coverage_max=0.1", 0),
        ("age_h=1", 0),
        ("disputed=yes", 0),
        ("said=escalated", 0),
        ("state=decided", 0),
        ("state=any", 3),
    ],
)
def test_a_queue_is_narrowed(reviewer: TestClient, own: Scene, query: str, rows: int):
    assert count_rows(reviewer.get(f"/queue/{own.queue_id}?{query}").text) == rows


@pytest.mark.parametrize(
    "query", ["score_min=x", "score_min=2", "verdict=fake", "age_h=-1", "state=lost", "said=x"]
)
def test_a_filter_that_is_none_is_refused(reviewer: TestClient, own: Scene, query: str):
    assert reviewer.get(f"/queue/{own.queue_id}?{query}").status_code == 422


def test_items_of_which_models_disagree_are_found(
    reviewer: TestClient, own: Scene, module_database: Database
):
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        other = make_record(own.tenant_id, own.video_id, score=make_empty_score(), fingerprint="pipeline-2")
        store_analysis(session, other)
    assert count_rows(reviewer.get(f"/queue/{own.queue_id}?disputed=yes").text) == 1


def test_many_are_decided_at_once_and_each_is_kept(
    reviewer: TestClient, own: Scene, module_database: Database
):
    page = f"/queue/{own.queue_id}?score_min=0.2"
    assert "This decides <strong>2 items</strong>" in reviewer.get(page).text
    said = {"disposition": "confirmed_manipulated", "reason": "visible_artefacts", "score_min": "0.2"}
    path = f"/queue/{own.queue_id}/decide"
    assert post(reviewer, page, path, **said, expected=3, state="open").status_code == 409
    done = post(reviewer, page, path, **said, expected=2, state="open")
    assert "2 items were decided." in done.text
    assert list_states(module_database, own) == ["decided", "decided", "open"]
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        kept = session.scalars(select(ReviewDecision)).all()
    assert {(each.disposition, each.reason_code) for each in kept} == {
        ("confirmed_manipulated", "visible_artefacts")
    }
    assert len({each.item_id for each in kept}) == 2


def test_what_somebody_holds_is_not_decided_with_the_rest(reviewer: TestClient, own: Scene):
    page = f"/queue/{own.queue_id}"
    enter(reviewer, own, UserRole.ADMIN)
    post(reviewer, page, f"{page}/next")
    enter(reviewer, own, UserRole.REVIEWER)
    assert "This decides <strong>2 items</strong>" in reviewer.get(page).text


def test_viewers_decide_nothing(reviewer: TestClient, own: Scene):
    enter(reviewer, own, UserRole.VIEWER)
    page = f"/queue/{own.queue_id}"
    assert "Decide all that fit" not in reviewer.get(page).text
    assert post(reviewer, page, f"{page}/decide", expected=3).status_code == 403


def test_a_blind_queue_neither_filters_by_scores_nor_decides_many(reviewer: TestClient, own: Scene):
    page = f"/queue/{own.queue_id}"
    shown = reviewer.get(page).text
    assert count_rows(shown) == 3
    assert shown.count("<td>hidden</td>") == 3
    assert "Decide all that fit" not in shown
    assert reviewer.get(f"{page}?score_min=0.2").status_code == 422
    assert reviewer.get(f"{page}?disputed=yes").status_code == 422
    said = {"disposition": "inconclusive", "reason": "no_sign_found", "expected": 3, "state": "open"}
    assert post(reviewer, page, f"{page}/decide", **said).status_code == 409


def test_a_filter_is_kept_shared_and_removed(client: TestClient, own: Scene):
    enter(client, own, UserRole.REVIEWER)
    kept = post(
        client, "/results", "/views", page="results", name="high <b>", filter="score>0.4", shared="yes"
    )
    assert kept.url.path == "/results"
    assert kept.url.params["filter"] == "score>0.4"
    assert "high &lt;b&gt;" in client.get("/results").text
    post(client, "/results", "/views", page="results", name="mine", filter="score>0.1")
    enter(client, own, UserRole.VIEWER)
    shown = client.get("/results").text
    assert "high &lt;b&gt;" in shown
    assert "mine" not in shown
    assert "/remove" not in shown
    enter(client, own, UserRole.REVIEWER)
    remove = client.get("/results").text.split('action="/views/', 1)[1].split('"', 1)[0]
    assert post(client, "/results", f"/views/{remove}", page="results").status_code == 200
    assert "high &lt;b&gt;" not in client.get("/results").text
    assert post(client, "/results", "/views/viw_none/remove", page="results").status_code == 404


@pytest.mark.parametrize(
    ("page", "query", "address"),
    [
        (ViewPage.RESULTS, {"filter": "a=b", "next": "//evil"}, "/results?filter=a%3Db"),
        (ViewPage.QUEUE, {"queue": "que_1", "state": "open"}, "/queue/que_1?state=open"),
        (ViewPage.QUEUE, {"queue": "../../sign-out"}, "/queue"),
        (ViewPage.QUEUE, {"queue": "/evil.example"}, "/queue"),
    ],
)
def test_a_saved_filter_leads_to_our_lists_alone(page: ViewPage, query: dict[str, str], address: str):
    assert write_address(page, query) == address


def test_a_saved_filter_of_items_keeps_all_by_which_they_can_be_narrowed() -> None:
    assert {field.name for field in fields(Asked)} <= set(FIELDS[ViewPage.QUEUE])


def test_all_that_was_said_is_listed_and_sent_as_a_file(reviewer: TestClient, own: Scene):
    page = f"/queue/{own.queue_id}"
    said = {"disposition": "inconclusive", "reason": "other", "comment": "=1+1", "expected": 3}
    post(reviewer, page, f"{page}/decide", **said, state="open")
    shown = reviewer.get("/decisions?kind=decision").text
    assert shown.count("decided inconclusive") == 3
    assert "Nothing yet." in reviewer.get("/decisions?kind=skip").text
    rows = list(csv.DictReader(io.StringIO(reviewer.get("/decisions.csv").text)))
    assert [row["comment"] for row in rows] == ["'=1+1"] * 3
    results = csv.DictReader(io.StringIO(export(reviewer).text))
    assert [row["disposition"] for row in results] == ["inconclusive"] * 3


def export(client: TestClient, **fields: str):
    at = f"/results/export?{urlencode({name: fields[name] for name in fields if name != 'format'})}"
    return post(client, at, "/results/export", **{"format": "csv", "order": "create_time desc"} | fields)


def list_exports(database: Database, own: Scene) -> list[tuple[str, object]]:
    """Who has taken results out, in which form, as the audit log has it."""
    with database.transaction(tenant_id=own.tenant_id) as session:
        lines = list_audit(session, AuditSearch(own.tenant_id))
        names = name_people(session, {line.actor for line in lines})
    return [
        (names[line.actor], line.details["format"]) for line in lines if line.action == "results.exported"
    ]


@pytest.mark.parametrize("role", list(UserRole))
def test_what_a_filter_finds_is_counted_and_then_sent_as_it_was_counted(
    client: TestClient, own: Scene, module_database: Database, role: UserRole
):
    enter(client, own, role)
    asked = {"filter": "score>0.2", "order": "score"}
    assert (
        f"/results/export?{urlencode(asked)}".replace("&", "&amp;")
        in client.get(f"/results?{urlencode(asked)}").text
    )
    assert "<strong>2</strong>, counted now" in client.get(f"/results/export?{urlencode(asked)}").text
    sent = export(client, **asked)
    rows = list(csv.DictReader(io.StringIO(sent.text)))
    assert [round(float(row["score_calibrated"]), 2) for row in rows] == [0.3, 0.45]
    assert sent.headers["content-disposition"] == 'attachment; filename="results.csv"'
    assert list_exports(module_database, own) == [(f"{role.value.capitalize()} of {own.tenant}", "csv")]


def test_what_takes_too_long_to_count_is_sent_all_the_same(
    client: TestClient, own: Scene, monkeypatch: pytest.MonkeyPatch
):
    def wait(session: Session, query: object, limit: int, limit_ms: int) -> int:
        del query, limit
        with bounded(session, limit_ms // 200):
            return session.scalar(select(func.pg_sleep(5))) or 0

    enter(client, own, UserRole.VIEWER)
    monkeypatch.setattr(results_export, "count_up_to", wait)
    page = client.get("/results/export").text
    assert "not counted: the filter takes too long for that" in page
    assert "Download Parquet" in page
    assert export(client).text.count("ana_") == 3


@pytest.mark.parametrize(
    ("page", "name", "address"),
    [(results, "list_analyses", "/results"), (rescore, "_count", "/models/rescore?model={model}")],
)
def test_a_filter_that_takes_too_long_is_blamed_on_its_page(
    client: TestClient, own: Scene, monkeypatch: pytest.MonkeyPatch, page: ModuleType, name: str, address: str
):
    def wait(session: Session, *_: object) -> None:
        with bounded(session, 10):
            session.execute(select(func.pg_sleep(5)))

    enter(client, own, UserRole.ADMIN)
    model = re.findall(r'<option value="(mdl_[^"]+)"', client.get("/models/rescore").text)[0]
    monkeypatch.setattr(page, name, wait)
    answer = client.get(address.format(model=model))
    assert answer.status_code == 422
    assert "the filter took longer than" in html.unescape(answer.text).casefold()
    assert "INVALID_FILTER" in answer.text


def test_results_are_sent_as_json_lines_and_parquet_too(client: TestClient, own: Scene):
    enter(client, own, UserRole.VIEWER)
    lines = export(client, format="jsonl").text.splitlines()
    table = parquet.read_table(io.BytesIO(export(client, format="parquet").content))
    assert sorted(json.loads(line)["id"] for line in lines) == sorted(table["id"].to_pylist())
    assert table.num_rows == 3


def test_a_blind_reviewer_takes_out_nothing_that_is_to_be_judged(client: TestClient, own: Scene):
    enter(client, own, UserRole.REVIEWER)
    post(client, "/queue", f"/queue/{own.queue_id}/fill")
    page = client.get("/results/export").text
    assert "there is nothing to export" in page
    assert "They are not in the file either." in page
    token = find_token(client.get("/queue").text)
    form = {"form_token": token, "format": "csv", "order": "score"}
    assert client.post("/results/export", data=form).text.count("ana_") == 0
    enter(client, own, UserRole.VIEWER)  # reviews nothing, so nothing is kept from them
    assert export(client).text.count("ana_") == 3


@pytest.mark.parametrize("wrong", [{"filter": "score>"}, {"order": "colour"}, {"format": "exe"}])
def test_an_export_that_cannot_be_read_is_refused_and_not_noted(
    client: TestClient, own: Scene, module_database: Database, wrong: dict[str, str]
):
    enter(client, own, UserRole.VIEWER)
    form = {"form_token": find_token(client.get("/results").text), "format": "csv", "order": "score"}
    assert client.post("/results/export", data=form | wrong).status_code == 422
    assert list_exports(module_database, own) == []


@pytest.mark.parametrize("address", ["/results", "/policies", "/queue"])
def test_what_is_left_out_of_a_blind_reviewers_numbers_is_said(client: TestClient, own: Scene, address: str):
    enter(client, own, UserRole.REVIEWER)
    assert "left out here for you" not in client.get(address).text
    post(client, "/queue", f"/queue/{own.queue_id}/fill")
    page = client.get(address).text
    assert "3 analyses are left out here for you: their videos wait until you have said" in page
    enter(client, own, UserRole.VIEWER)  # reviews nothing, so nothing is kept from them
    assert "left out here for you" not in client.get(address).text


def test_a_queue_is_made_with_every_part_of_a_rule(client: TestClient, own: Scene, module_database: Database):
    enter(client, own, UserRole.ADMIN)
    fields = {"name": "near misses", "order": "highest_score", "score_max": "0.5", "coverage_max": "0.9"}
    more = {"region": "mouth", "tag": "kind = advert\r\n\r\nland=se", "sample_rate": "0.25", "second": "0.1"}
    rest = {"outcome": ["scored", "partially_scored"], "since": "2026-02-03", "lease_min": "2.5"}
    page = post(client, "/queue", "/queue", **fields, **more, **rest, region_share_min="0.2").text
    assert "scored or partially scored, score to 0.5, coverage to 90%, mouth from 20%" in page
    assert "since 2026-02-03, a share of 0.25; highest score first, held for 2.5 min, 10% looked at" in page
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        kept = session.scalars(select(ReviewQueue).where(ReviewQueue.name == "near misses")).one()
        rule = QueueRule.from_json(kept.rule)
        lease_s = kept.lease_s
    assert rule == QueueRule(
        outcomes=(Outcome.SCORED, Outcome.PARTIALLY_SCORED),
        score_max=0.5,
        coverage_max=0.9,
        region=FaceRegion.MOUTH,
        region_share_min=0.2,
        tags=(("kind", "advert"), ("land", "se")),
        since=datetime(2026, 2, 3, tzinfo=UTC),
        sample_rate=0.25,
    )
    assert lease_s == 150
    wrong = post(client, "/queue", "/queue", **fields | {"name": "wrong"}, tag="advert")
    assert (wrong.status_code, "written as name=value" in wrong.text) == (422, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [("since", "yesterday"), ("lease_min", "inf"), ("lease_min", "0.1"), ("outcome", "fine")],
)
def test_a_rule_that_cannot_be_is_refused(client: TestClient, own: Scene, name: str, value: str):
    enter(client, own, UserRole.ADMIN)
    answer = post(client, "/queue", "/queue", **{"name": "wrong", "order": "oldest", name: value})
    assert answer.status_code == 422
