"""Known analyses on the console, without a browser: forms, what a reviewer sees, and the figure."""

import secrets

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from fakesieve.database import Database
from fakesieve.records.analyses import store_analysis
from fakesieve.records.reviews import KnownAnalysis, ReviewItem, ReviewQueue
from fakesieve.records.users import AppUser
from fakesieve.reviews.accuracy import SURE_MIN
from fakesieve.reviews.claim import claim_next
from fakesieve.reviews.decide import decide_item
from fakesieve.reviews.known import declare_known
from fakesieve.values.people import UserRole
from fakesieve.values.reviews import DecisionDraft, Disposition, KnownDraft, ReasonCode, Truth
from tests.api.pages.stage import Scene, enter, find_token, make_scene
from tests.factories import make_record, make_score, make_video

QUEUE = {"name": "trained", "order": "oldest", "known": "0.2", "lease_min": "5"}
DECISION = {"disposition": "confirmed_authentic", "reason": "no_sign_found", "comment": "looks fine"}


def add_analysis(database: Database, scene: Scene, name: str) -> str:
    with database.transaction(tenant_id=scene.tenant_id) as session:
        video_id = make_video(session, scene.tenant_id, name)
        return store_analysis(session, make_record(scene.tenant_id, video_id, score=make_score(0.6)))[0]


@pytest.fixture
def own(module_database: Database) -> Scene:
    """A tenant with an analysis in a queue, and another whose truth somebody knows."""
    return make_scene(module_database, f"tenant-{secrets.token_hex(4)}")


def post(client: TestClient, at: str, path: str, **fields: object):
    return client.post(path, data={"form_token": find_token(client.get(at).text)} | fields)


def declare(client: TestClient, analysis: str, **changes: str):
    fields = {"analysis": analysis, "truth": "confirmed_manipulated", "note": "we <i>made</i> it"}
    return post(client, "/known", "/known", **fields | changes)


def test_an_admin_declares_a_truth_and_takes_it_back(
    client: TestClient, own: Scene, module_database: Database
) -> None:
    enter(client, own, UserRole.ADMIN)
    assert "Nothing is known for certain yet." in client.get("/known").text
    page = declare(client, own.analysis_id).text
    assert "Kept. Queues with a share of known answers show it to reviewers." in page
    assert "we &lt;i&gt;made&lt;/i&gt; it" in page
    assert own.analysis_id in page
    assert declare(client, own.analysis_id).status_code == 409
    assert declare(client, "ana_none").status_code == 404
    assert declare(client, own.analysis_id, truth="inconclusive").status_code == 422
    assert declare(client, own.analysis_id, note=" ").status_code == 422
    page = post(client, "/known", f"/known/{own.analysis_id}/remove").text
    assert "Forgotten." in page
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        assert session.scalars(select(KnownAnalysis)).all() == []


@pytest.mark.parametrize("role", [UserRole.REVIEWER, UserRole.VIEWER])
def test_nobody_else_is_told_of_them(client: TestClient, own: Scene, role: UserRole) -> None:
    enter(client, own, role)
    assert client.get("/known").status_code == 403
    token = find_token(client.get("/queue").text)
    for path in ("/known", f"/known/{own.analysis_id}/remove"):
        assert client.post(path, data={"form_token": token}).status_code == 403
    assert "How well people decide" not in client.get("/queue").text


def make_trained(client: TestClient, own: Scene, database: Database) -> str:
    """Make the queue by its form, as an admin, and return its id."""
    enter(client, own, UserRole.ADMIN)
    page = post(client, "/queue", "/queue", **QUEUE).text
    assert "20% of what is given out has a known answer" in page
    assert "Nobody has decided on one yet." in page
    with database.transaction(tenant_id=own.tenant_id) as session:
        return session.scalars(select(ReviewQueue.id).where(ReviewQueue.known_share == 0.2)).one()


def find_reviewer(database: Database, own: Scene) -> str:
    with database.transaction(tenant_id=own.tenant_id) as session:
        return session.scalars(select(AppUser.id).where(AppUser.role == UserRole.REVIEWER)).one()


def test_a_reviewer_decides_a_known_item_as_any_other_and_the_figure_names_it(
    client: TestClient, own: Scene, module_database: Database
) -> None:
    known = add_analysis(module_database, own, "known")
    queue_id = make_trained(client, own, module_database)
    declare(client, known)
    who = find_reviewer(module_database, own)
    with module_database.transaction(tenant_id=own.tenant_id, viewer=who) as session:
        item = claim_next(session, queue_id, who, draw=lambda: 0.0)
    enter(client, own, UserRole.REVIEWER)
    given = post(client, "/queue", f"/queue/{queue_id}/next")
    assert given.url.path == f"/r/{known}"
    for word in ("truth", "answer", "/known", who):
        assert word not in given.text, word
    assert f'name="item" value="{item}"' in given.text
    answer = post(client, f"/r/{known}", f"/r/{known}/decide", item=item, **DECISION)
    assert "Your decision is stored." in answer.text
    assert "looks fine" in answer.text
    assert "looks fine" in client.get("/decisions.csv").text
    line = f'<a class="mono" href="/r/{known}">{known}</a> (confirmed authentic)'
    assert line not in client.get("/queue").text
    enter(client, own, UserRole.ADMIN)
    page = client.get("/queue").text
    assert line in page
    assert "looks fine" not in client.get("/decisions.csv").text
    assert "looks fine" not in client.get(f"/r/{known}").text


@pytest.mark.parametrize(
    ("role", "is_told"), [(UserRole.VIEWER, False), (UserRole.REVIEWER, False), (UserRole.ADMIN, True)]
)
def test_what_waits_in_such_a_queue_is_listed_to_admins_alone(
    client: TestClient, own: Scene, module_database: Database, role: UserRole, is_told: bool
) -> None:
    queue_id = make_trained(client, own, module_database)
    post(client, "/queue", f"/queue/{queue_id}/fill")
    enter(client, own, role)
    page = client.get(f"/queue/{queue_id}").text
    assert (own.analysis_id in page) == is_told
    assert ("what waits in it is not listed" in page) != is_told


def test_a_page_does_not_say_that_nothing_waits_where_it_may_not_tell(
    client: TestClient, own: Scene, module_database: Database
) -> None:
    queue_id = make_trained(client, own, module_database)
    post(client, "/queue", f"/queue/{own.queue_id}/active", active="no")
    post(client, "/queue", f"/queue/{queue_id}/fill")
    enter(client, own, UserRole.REVIEWER)
    page = client.get(f"/r/{own.analysis_id}").text
    assert "is in no queue that is open" not in page
    assert "There is nothing to decide here for you" in page


def test_a_share_stands_from_twenty_sure_words_on(
    client: TestClient, own: Scene, module_database: Database
) -> None:
    queue_id = make_trained(client, own, module_database)
    who = find_reviewer(module_database, own)
    sure = KnownDraft(Truth.CONFIRMED_AUTHENTIC, "we filmed it")
    said = DecisionDraft(Disposition.CONFIRMED_AUTHENTIC, ReasonCode.NO_SIGN_FOUND)
    names = [add_analysis(module_database, own, f"clip {number}") for number in range(SURE_MIN)]
    for number, name in enumerate(names):
        with module_database.transaction(tenant_id=own.tenant_id) as session:
            declare_known(session, own.tenant_id, name, sure, actor="usr_lead")
            item = claim_next(session, queue_id, who, draw=lambda: 0.0)
            assert session.get_one(ReviewItem, item).made_for == who
            decide_item(session, str(item), who, said)
        if number == SURE_MIN - 2:
            assert "100 % (" not in client.get("/queue").text
    page = client.get("/queue").text
    assert "100 % (84 % to 100 %)" in page
