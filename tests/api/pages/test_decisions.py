import re
import secrets
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update

from api.app import create_app
from api.pages.people import sign_form
from fakesieve.database import Database
from fakesieve.embedded.postgres import APP_ROLE, PostgresServer
from fakesieve.records.audit import AuditEntry
from fakesieve.records.reviews import ReviewDecision, ReviewItem, TrackDecision
from fakesieve.reviews.claim import claim_next
from fakesieve.reviews.decide import SKIPS_MAX, skip_item
from fakesieve.reviews.items import find_dispositions
from fakesieve.reviews.queues import create_queue
from fakesieve.values.people import UserRole
from fakesieve.values.reviews import EntryKind, QueueDraft, QueueRule, ReasonCode
from tests.api.pages.stage import Scene, enter, find_token, make_scene, make_settings

DECISION = {
    "disposition": "confirmed_manipulated",
    "reason": "visible_artefacts",
    "comment": "the lips <b>slip</b>",
}


@pytest.fixture
def own(module_database: Database, request: pytest.FixtureRequest) -> Scene:
    """A tenant of this test alone."""
    return make_scene(
        module_database, f"tenant-{secrets.token_hex(4)}", is_blind="blind" in request.node.name
    )


@pytest.fixture
def reviewer(client: TestClient, own: Scene) -> TestClient:
    """A reviewer who holds the item."""
    enter(client, own, UserRole.REVIEWER)
    token = find_token(client.get("/queue").text)
    answer = client.post(f"/queue/{own.queue_id}/next", data={"form_token": token}, follow_redirects=False)
    assert answer.headers["location"] == f"/r/{own.analysis_id}"
    return client


def act(client: TestClient, own: Scene, name: str, fields: dict[str, str]):
    page = client.get(f"/r/{own.analysis_id}").text
    item = page.split('name="item" value="', 1)[1].split('"', 1)[0]
    form = {"form_token": find_token(page), "item": item} | fields
    return client.post(f"/r/{own.analysis_id}/{name}", data=form, follow_redirects=False)


def list_kinds(database: Database, own: Scene) -> list[EntryKind]:
    with database.transaction(tenant_id=own.tenant_id) as session:
        return list(session.scalars(select(ReviewDecision.kind).order_by(ReviewDecision.id)))


def test_a_decision_is_kept_with_its_reason(
    reviewer: TestClient, own: Scene, module_database: Database, long_undo: None
):
    answer = act(
        reviewer, own, "decide", DECISION | {"face_0": "inconclusive", "face_0_reason": "quality_too_low"}
    )
    told = answer.headers["location"]
    assert told.startswith(f"/r/{own.analysis_id}?done=decided&")
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        kept = session.scalars(select(ReviewDecision)).one()
        face = session.scalars(select(TrackDecision)).one()
        assert (kept.disposition, kept.reason_code, kept.comment) == tuple(DECISION.values())
        assert (face.ordinal, face.disposition, face.reason_code) == (0, "inconclusive", "quality_too_low")
        assert kept.reviewer.startswith("usr_")
    page = reviewer.get(told).text
    assert "Your decision is stored." in page
    assert "the lips &lt;b&gt;slip&lt;/b&gt;" in page
    assert "Take it back" in page


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"reason": ""}, "choose a value for reason"),
        ({"disposition": ""}, "choose a value for disposition"),
        ({"disposition": "fake"}, "disposition is none of its choices"),
        ({"reason": "other", "comment": ""}, "needs a comment"),
        ({"face_0": "inconclusive"}, "choose a value for face_0_reason"),
        ({"comment": "x" * 5000}, "a comment has 1 to 4000 letters"),
    ],
)
def test_half_a_decision_is_refused_and_nothing_is_kept(
    reviewer: TestClient, own: Scene, module_database: Database, wrong: dict[str, str], said: str
):
    answer = act(reviewer, own, "decide", DECISION | wrong)
    assert answer.status_code == 422
    assert said in answer.text
    assert list_kinds(module_database, own) == []


def test_a_refused_decision_leads_back_and_keeps_what_was_typed(
    reviewer: TestClient, own: Scene, module_database: Database
):
    page = reviewer.get(f"/r/{own.analysis_id}").text
    item = page.split('name="item" value="', 1)[1].split('"', 1)[0]
    form = {"form_token": find_token(page), "item": item} | DECISION
    act(reviewer, own, "release", {})  # in another tab
    came_from = {"Referer": f"http://testserver/r/{own.analysis_id}?done=claimed&proof=1.2&t=3"}
    refused = reviewer.post(f"/r/{own.analysis_id}/decide", data=form, headers=came_from)
    assert refused.status_code == 409
    assert "<h1>This was not done</h1>" in refused.text
    assert f'href="/r/{own.analysis_id}?t=3">Back to the form</a>' in refused.text
    assert "<td>the lips &lt;b&gt;slip&lt;/b&gt;</td>" in refused.text
    typed = refused.text.split('id="typed"', 1)[1]
    assert form["form_token"] not in typed
    assert list_kinds(module_database, own) == []


TYPED = "<td>the lips &lt;b&gt;slip&lt;/b&gt;</td>"


def test_a_decision_without_a_database_was_not_begun_and_keeps_what_was_typed():
    settings = make_settings("postgresql://nobody@127.0.0.1:1/none")
    with TestClient(create_app(settings), headers={"Accept": "text/html"}) as client:
        client.cookies.set("fakesieve", "a session")
        refused = client.post("/r/an_1/decide", data=DECISION | {"form_token": sign_form("a session")})
        guessed = client.post("/r/an_1/decide", data=DECISION | {"form_token": sign_form("another")})
    assert refused.status_code == guessed.status_code == 503
    assert "<h1>This was not done</h1>" in refused.text
    assert TYPED in refused.text
    assert "the lips" not in guessed.text


def test_a_decision_above_the_rate_keeps_what_was_typed(
    postgres: PostgresServer, module_database_name: str, own: Scene
):
    database_url = postgres.url(APP_ROLE, module_database_name)
    settings = make_settings(database_url, api_burst=1, api_rate_per_s=0.001)
    with TestClient(create_app(settings), headers={"Accept": "text/html"}) as client:
        enter(client, own, UserRole.REVIEWER)
        while client.get("/queue").status_code == 200:
            pass
        token = sign_form(client.cookies["fakesieve"])
        refused = client.post(f"/r/{own.analysis_id}/decide", data=DECISION | {"form_token": token})
    assert refused.status_code == 429
    assert "<h1>This was not done</h1>" in refused.text
    assert TYPED in refused.text


@pytest.mark.parametrize(
    "referer", ["https://elsewhere.example/r/1", "http://testserver.example/", "", "http://["]
)
def test_a_refusal_leads_to_no_page_but_ours(reviewer: TestClient, own: Scene, referer: str):
    token = find_token(reviewer.get("/queue").text)
    form = {"form_token": token, "item": "rev_none"}
    refused = reviewer.post(f"/r/{own.analysis_id}/decide", data=form, headers={"Referer": referer})
    assert refused.status_code == 404
    assert "Back to the form" not in refused.text
    assert '<a href="/">To the first page</a>' in refused.text


@pytest.mark.parametrize("path", ["//evil.example/x", "/\\evil.example/x", "\\/\\evil.example/x"])
def test_the_way_back_names_no_other_host(reviewer: TestClient, own: Scene, path: str):
    form = {"form_token": find_token(reviewer.get("/queue").text), "item": "rev_none"}
    came_from = {"Referer": f"http://testserver/{path}"}
    refused = reviewer.post(f"/r/{own.analysis_id}/decide", data=form, headers=came_from)
    assert 'href="/evil.example/x">Back to the form</a>' in refused.text


def test_what_only_a_form_itself_fills_in_is_not_said_to_be_typed(reviewer: TestClient, own: Scene):
    form = {
        "form_token": find_token(reviewer.get("/queue").text),
        "expected": "17",
        "due": "1",
        "next": "/r/9",
    }
    refused = reviewer.post(f"/r/{own.analysis_id}/decide", data=form | DECISION | {"item": "rev_none"})
    typed = refused.text.split('id="typed"', 1)[1]
    assert re.findall('<th scope="row">(.*?)</th>', typed) == list(DECISION)


def test_a_form_of_another_site_is_not_repeated(reviewer: TestClient, own: Scene):
    form = {"form_token": "guessed", "comment": "call this number"}
    refused = reviewer.post(f"/r/{own.analysis_id}/decide", data=form)
    assert refused.status_code == 403
    assert "call this number" not in refused.text


def test_a_decision_can_be_taken_back_and_made_anew(
    reviewer: TestClient, own: Scene, module_database: Database, long_undo: None
):
    act(reviewer, own, "decide", DECISION)
    assert act(reviewer, own, "undo", {}).headers["location"].startswith(f"/r/{own.analysis_id}?done=undone&")
    assert "yours until" in reviewer.get(f"/r/{own.analysis_id}").text
    act(reviewer, own, "decide", DECISION)
    assert list_kinds(module_database, own) == [EntryKind.DECISION, EntryKind.UNDO, EntryKind.DECISION]


def test_ten_seconds_later_it_can_not(reviewer: TestClient, own: Scene, module_database: Database):
    act(reviewer, own, "decide", DECISION)
    page = reviewer.get(f"/r/{own.analysis_id}").text
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        session.execute(update(ReviewItem).values(decide_time=func.now() - timedelta(seconds=11)))
    assert "Take it back" not in reviewer.get(f"/r/{own.analysis_id}").text
    item = page.split('name="item" value="', 1)[1].split('"', 1)[0]
    form = {"form_token": find_token(page), "item": item}
    assert reviewer.post(f"/r/{own.analysis_id}/undo", data=form).status_code == 409


def test_a_skip_needs_a_reason_too(reviewer: TestClient, own: Scene, module_database: Database):
    assert act(reviewer, own, "skip", {}).status_code == 422
    skipped = act(reviewer, own, "skip", {"reason": "needs_expert"})
    assert skipped.headers["location"].startswith("/queue?done=skipped&")
    assert list_kinds(module_database, own) == [EntryKind.SKIP]


def pass_over(database: Database, own: Scene) -> None:
    """Have as many people skip the scene's item as it takes for it to be offered to nobody."""
    for number in range(SKIPS_MAX):
        who = f"usr_{number}"
        with database.transaction(tenant_id=own.tenant_id, viewer=who) as session:
            item = claim_next(session, own.queue_id, who)
            assert item is not None
            skip_item(session, item, who, ReasonCode.NEEDS_EXPERT)


def find_reopener(database: Database, own: Scene) -> list[str]:
    """Who has offered an item again, as the audit log has it."""
    with database.transaction(tenant_id=own.tenant_id) as session:
        return list(session.scalars(select(AuditEntry.actor).where(AuditEntry.action == "review.reopened")))


def test_what_three_people_have_skipped_is_offered_again_from_its_page(
    client: TestClient, own: Scene, module_database: Database
):
    pass_over(module_database, own)
    enter(client, own, UserRole.VIEWER)
    assert "Offer it again" not in client.get(f"/r/{own.analysis_id}").text
    enter(client, own, UserRole.REVIEWER)
    assert "skipped by 3 people, so it is offered to nobody" in client.get(f"/r/{own.analysis_id}").text
    told = act(client, own, "reopen", {}).headers["location"]
    page = client.get(told).text
    assert "It is offered again, also to those who have skipped it." in page
    assert "Nobody holds this." in page
    assert [who.startswith("usr_01") for who in find_reopener(module_database, own)] == [True]
    assert act(client, own, "reopen", {}).status_code == 409


def test_what_three_people_have_skipped_is_offered_again_from_its_queue(
    client: TestClient, own: Scene, module_database: Database
):
    pass_over(module_database, own)
    enter(client, own, UserRole.VIEWER)
    skipped = f"/queue/{own.queue_id}?state=skipped"
    assert "Offer again" not in client.get(skipped).text
    enter(client, own, UserRole.REVIEWER)
    page = client.get(skipped).text
    item = page.split('name="item" value="', 1)[1].split('"', 1)[0]
    form = {"form_token": find_token(page), "item": item}
    other = make_queue(module_database, own)
    assert client.post(f"/queue/{other}/reopen", data=form).status_code == 404
    told = client.post(f"/queue/{own.queue_id}/reopen", data=form)
    assert "The item is offered again" in told.text
    assert "No item of this queue fits." in told.text
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        assert session.scalars(select(ReviewItem.state)).all() == ["open"]


def test_a_second_look_that_three_people_have_skipped_is_offered_again(
    reviewer: TestClient, own: Scene, module_database: Database
):
    act(reviewer, own, "decide", DECISION)
    act(reviewer, own, "second", {})
    pass_over(module_database, own)
    page = reviewer.get(f"/r/{own.analysis_id}").text
    assert "A second opinion was asked for, which was skipped by 3 people" in page
    reopen = page.split("/reopen", 1)[1]
    item = reopen.split('name="item" value="', 1)[1].split('"', 1)[0]
    form = {"form_token": find_token(page), "item": item}
    page = reviewer.post(f"/r/{own.analysis_id}/reopen", data=form).text
    assert "A second opinion waits for somebody who has not decided." in page


def make_queue(database: Database, own: Scene) -> str:
    with database.transaction(tenant_id=own.tenant_id) as session:
        return create_queue(session, own.tenant_id, QueueDraft("other", QueueRule()), actor="usr_admin").id


def test_two_people_never_hold_one_item(reviewer: TestClient, own: Scene):
    page = reviewer.get(f"/r/{own.analysis_id}").text
    item = page.split('name="item" value="', 1)[1].split('"', 1)[0]
    enter(reviewer, own, UserRole.ADMIN)
    page = reviewer.get(f"/r/{own.analysis_id}").text
    assert "Somebody else holds this" in page
    form = {"form_token": find_token(page), "item": item} | DECISION
    assert reviewer.post(f"/r/{own.analysis_id}/claim", data=form).status_code == 409
    assert reviewer.post(f"/r/{own.analysis_id}/decide", data=form).status_code == 409


def test_an_item_given_back_is_free_again(reviewer: TestClient, own: Scene):
    act(reviewer, own, "release", {})
    page = reviewer.get(f"/r/{own.analysis_id}").text
    assert "Nobody holds this" in page
    assert (
        act(reviewer, own, "claim", {}).headers["location"].startswith(f"/r/{own.analysis_id}?done=claimed&")
    )


def test_blind_first_shows_no_score_before_the_first_word(
    reviewer: TestClient, own: Scene, module_database: Database
):
    page = reviewer.get(f"/r/{own.analysis_id}").text
    assert "Score hidden until you have said what you see" in page
    for told in ("likely manipulated", "0.45", "HIGH_TRACK", "0.90", "suspicious:", "mouth"):
        assert told not in page.split("<footer", 1)[0], told
    octets = {"Accept": "application/octet-stream"}
    assert reviewer.get(f"/r/{own.analysis_id}/lanes", headers=octets).status_code == 409
    faces = reviewer.get(f"/r/{own.analysis_id}/faces/0", headers=octets).content
    assert int.from_bytes(faces[24:28], "little") == 0  # maps of the first face
    assert act(reviewer, own, "decide", DECISION).status_code == 409
    act(reviewer, own, "reveal", {"disposition": "inconclusive"})
    assert "Score over time" in reviewer.get(f"/r/{own.analysis_id}").text
    assert reviewer.get(f"/r/{own.analysis_id}/lanes", headers=octets).status_code == 200
    act(reviewer, own, "decide", DECISION)
    assert list_kinds(module_database, own) == [EntryKind.BLIND, EntryKind.DECISION]


def test_a_second_opinion_goes_to_somebody_else(reviewer: TestClient, own: Scene):
    act(reviewer, own, "decide", DECISION)
    assert (
        act(reviewer, own, "second", {}).headers["location"].startswith(f"/r/{own.analysis_id}?done=asked&")
    )
    token = find_token(reviewer.get("/queue").text)
    mine = reviewer.post(f"/queue/{own.queue_id}/next", data={"form_token": token}, follow_redirects=False)
    assert mine.headers["location"].startswith("/queue?done=empty&")
    enter(reviewer, own, UserRole.ADMIN)
    token = find_token(reviewer.get("/queue").text)
    theirs = reviewer.post(f"/queue/{own.queue_id}/next", data={"form_token": token}, follow_redirects=False)
    assert theirs.headers["location"] == f"/r/{own.analysis_id}"


def test_an_appeal_goes_to_somebody_else_with_what_was_said(
    reviewer: TestClient, own: Scene, module_database: Database
):
    act(reviewer, own, "decide", DECISION)
    for wrong in ("", "  ", "x" * 4001):
        assert act(reviewer, own, "appeal", {"statement": wrong}).status_code == 422
    told = act(reviewer, own, "appeal", {"statement": "that is <b>me</b>"}).headers["location"]
    page = reviewer.get(told).text
    assert "The appeal is stored." in page
    assert "An appeal waits for somebody who has not decided." in page
    assert "Appeal …" not in page  # there is one
    assert "Take it" not in page.replace("Take it back", "")  # it is not for whoever decided
    assert act(reviewer, own, "appeal", {"statement": "again"}).status_code == 409
    enter(reviewer, own, UserRole.ADMIN)
    act(reviewer, own, "claim", {})
    assert (
        "The appeal says: <q>that is &lt;b&gt;me&lt;/b&gt;</q>" in reviewer.get(f"/r/{own.analysis_id}").text
    )
    act(reviewer, own, "decide", DECISION | {"disposition": "confirmed_authentic"})
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        said = find_dispositions(session, [own.analysis_id])
        noted = session.scalars(select(AuditEntry).where(AuditEntry.action == "review.appealed")).all()
    assert said == {own.analysis_id: "confirmed_authentic"}
    assert [entry.actor[:4] for entry in noted] == ["usr_"]


def test_what_was_passed_on_is_found_in_its_queue_and_shown_to_somebody_else(
    reviewer: TestClient, own: Scene
):
    passed_on = {"disposition": "escalated", "reason": "needs_expert", "comment": "a <b>filter</b>?"}
    page = reviewer.get(act(reviewer, own, "decide", DECISION | passed_on).headers["location"]).text
    assert "A second opinion waits for somebody who has not decided." in page
    narrowed = f"/queue/{own.queue_id}?said=escalated"
    assert f"/r/{own.analysis_id}" in reviewer.get(narrowed).text
    enter(reviewer, own, UserRole.ADMIN)
    act(reviewer, own, "claim", {})
    shown = reviewer.get(f"/r/{own.analysis_id}").text
    assert "It was passed on with the words: <q>a &lt;b&gt;filter&lt;/b&gt;?</q>" in shown
    act(reviewer, own, "decide", DECISION)
    assert f"/r/{own.analysis_id}" not in reviewer.get(f"{narrowed}&state=any").text


def test_what_one_may_not_judge_again_is_not_offered(reviewer: TestClient, own: Scene):
    act(reviewer, own, "decide", DECISION)
    act(reviewer, own, "second", {})
    page = reviewer.get(f"/r/{own.analysis_id}").text
    assert "A second opinion waits for somebody who has not decided." in page
    assert "Ask for a second opinion" not in page
    enter(reviewer, own, UserRole.ADMIN)
    assert "Nobody holds this" in reviewer.get(f"/r/{own.analysis_id}").text


def test_what_a_person_prefers_comes_back(reviewer: TestClient, own: Scene):
    token = find_token(reviewer.get("/queue").text)
    form = {"form_token": token, "blur": "true", "grey": "true", "mute": "false"}
    assert reviewer.post("/preferences", data=form).status_code == 204
    page = reviewer.get(f"/r/{own.analysis_id}").text
    assert 'id="blur" aria-pressed="true"' in page
    assert 'id="mute" aria-pressed="false"' in page
    assert 'id="shortcuts" aria-pressed="true"' in page  # as a page that does not name it leaves it
