"""The audit log in the browser: who did what to what, page by page, and the check of its chain."""

import re
import secrets
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient

from fakesieve.database import Database
from fakesieve.embedded.postgres import PostgresServer
from fakesieve.key_changes import KeyDraft, create_tenant_key
from fakesieve.records.audit import check_chain, list_audit, record_audit
from fakesieve.reviews.again import ask_second_opinion
from fakesieve.reviews.claim import claim_next
from fakesieve.reviews.decide import decide_item
from fakesieve.scopes import Scope
from fakesieve.values.people import UserRole
from fakesieve.values.reviews import DecisionDraft, Disposition, ReasonCode
from tests.api.pages.stage import Scene, enter, find_token, make_scene

SAID = DecisionDraft(Disposition.CONFIRMED_AUTHENTIC, ReasonCode.NO_SIGN_FOUND)


@pytest.fixture
def own(module_database: Database, request: pytest.FixtureRequest) -> Scene:
    """A tenant of this test alone."""
    return make_scene(
        module_database, f"tenant-{secrets.token_hex(4)}", is_blind="blind" in request.node.name
    )


@pytest.fixture
def admin(client: TestClient, own: Scene) -> TestClient:
    enter(client, own, UserRole.ADMIN)
    return client


def find_row(html: str, action: str) -> str:
    """Return the newest line of an act."""
    return next(row for row in html.split("<tr>") if f">{action}<" in row)


def read_numbers(html: str) -> list[int]:
    return [int(found) for found in re.findall(r'<td class="number">(\d+)</td></tr>', html)]


def find_acts(html: str) -> list[str]:
    return re.findall(r'<tr><td><span class="mono">([a-z_.]+)</span>', html)


def decide(database: Database, own: Scene, who: str) -> str:
    """Have somebody decide the scene's item, and return its id."""
    with database.transaction(tenant_id=own.tenant_id, viewer=who) as session:
        item = claim_next(session, own.queue_id, who)
        assert item is not None
        decide_item(session, item, who, SAID)
    return item


def test_an_act_is_told_with_its_person_its_time_and_the_way_to_what_it_was_done_to(
    admin: TestClient, own: Scene
):
    path = f"/videos/{own.video_id}"
    admin.post(f"{path}/hold", data={"form_token": find_token(admin.get(path).text)})
    row = find_row(admin.get("/audit").text, "video.held")
    assert f"<bdi>Admin of {own.tenant}</bdi>" in row
    assert re.search(
        r'<time class="small nowrap" datetime="[^"]+\+00:00">\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC</time>', row
    )
    assert f'<a class="mono" href="{path}">{own.video_id}</a>' in row


def test_a_key_is_named_and_what_it_decided_is_told_in_words(
    admin: TestClient, own: Scene, module_database: Database
):
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        draft = KeyDraft("desk <b>", frozenset([Scope.REVIEW_WRITE]))
        key = create_tenant_key(session, own.tenant_id, draft, actor="usr_admin")
    item = decide(module_database, own, key.id)
    row = find_row(admin.get("/audit").text, "review.decided")
    assert "<bdi>desk &lt;b&gt;</bdi>" in row
    assert f'<a class="mono" href="/r/{own.analysis_id}">{item}</a>' in row
    assert "disposition: <bdi>confirmed_authentic</bdi>" in row
    assert "reason code: <bdi>no_sign_found</bdi>" in row


def test_the_log_is_narrowed_to_one_thing_and_goes_on_over_pages(
    admin: TestClient, own: Scene, module_database: Database
):
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        before = list_audit(session)[0].sequence
        for number in range(51):
            act = {"actor": "fleet", "action": "job.cancelled", "subject": "job_1"}
            record_audit(session, tenant_id=own.tenant_id, **act, details={"number": number})
    first = admin.get("/audit?subject=job_1").text
    more = re.findall(r'href="/audit\?(subject=job_1&amp;page=[^"]+)"', first)[0].replace("&amp;", "&")
    second = admin.get(f"/audit?{more}").text
    shown = read_numbers(first) + read_numbers(second)
    assert shown == list(range(before + 51, before, -1))
    assert "That is the end of the log." in second
    assert admin.get(f"/audit?{more.replace('job_1', 'job_2')}").status_code == 422
    assert "The log has no entry that fits." in admin.get("/audit?subject=job_2").text


def test_the_log_is_narrowed_to_a_person_an_act_and_days(
    admin: TestClient, own: Scene, module_database: Database
):
    decide(module_database, own, "usr_other")
    today, ids = datetime.now(UTC).date(), {"actor": "usr_other"}
    decided = admin.get("/audit", params=ids | {"action": "review.decided"}).text
    assert find_acts(decided) == ["review.decided"]
    assert find_acts(admin.get("/audit", params={"actor": own.tenant_id}).text) == []
    days = {"since": str(today - timedelta(days=1)), "until": str(today + timedelta(days=1))}
    assert find_acts(admin.get("/audit", params=ids | days).text) == ["review.decided", "review.claimed"]
    none = admin.get("/audit", params=ids | {"until": str(today - timedelta(days=2))})
    assert "The log has no entry that fits." in none.text


@pytest.mark.parametrize("day", ["yesterday", "2026-02-30", "9999-12-31"])
def test_a_day_that_is_none_is_refused(admin: TestClient, day: str):
    assert admin.get("/audit", params={"until": day}).status_code == 422


def test_what_was_said_of_a_blind_item_is_left_out_for_whoever_is_to_judge_it(
    admin: TestClient, own: Scene, module_database: Database
):
    first = decide(module_database, own, "usr_other")
    assert "confirmed_authentic" in find_row(admin.get("/audit").text, "review.decided")
    with module_database.transaction(tenant_id=own.tenant_id, viewer="usr_other") as session:
        ask_second_opinion(session, first, "usr_other")
    page = admin.get("/audit").text
    assert "left out here for you" in find_row(page, "review.decided")
    assert "confirmed_authentic" not in page


def test_a_whole_chain_is_said_to_be_and_its_end_can_be_kept(
    admin: TestClient, own: Scene, module_database: Database
):
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        found = check_chain(session, own.tenant_id)
    page = admin.get("/audit/check?after=0").text
    assert f"Entries 1 to {found.entries} fit: each holds the hash of the one before." in page
    assert found.head_sha256 is not None
    assert found.head_sha256 in page
    kept = f"/audit/check?after={found.entries}&kept={found.head_sha256}"
    page = admin.get(kept).text
    assert f"Entry {found.entries} has the hash that you have kept." in page
    assert f"There is no entry behind {found.entries}." in page
    another = kept[:-1] + ("1" if kept.endswith("0") else "0")
    assert "has another hash" in admin.get(another).text
    gone = admin.get(f"/audit/check?after={found.entries + 1}&kept={found.head_sha256}").text
    assert f"There is no entry {found.entries + 1}: the log does not go so far, or it was removed." in gone


def test_an_entry_that_was_changed_is_named(
    admin: TestClient, own: Scene, postgres: PostgresServer, module_database_name: str
):
    with closing(postgres.connect(module_database_name)) as superuser:
        superuser.execute("ALTER TABLE audit_log DISABLE TRIGGER ALL")
        superuser.execute(
            "UPDATE audit_log SET actor = 'usr_x' WHERE sequence = 2 AND tenant_id = %s", (own.tenant_id,)
        )
        superuser.execute("ALTER TABLE audit_log ENABLE TRIGGER ALL")
        superuser.commit()
    page = admin.get("/audit/check?after=0").text
    assert "Entry 2 does not fit: it was changed, or what came before it was removed." in page
    assert "Keep this outside" not in page


@pytest.mark.parametrize("query", ["after=x", "after=-1", "after=1&kept=xyz", f"after=0&kept={'0' * 64}"])
def test_a_check_that_cannot_be_is_refused(admin: TestClient, query: str):
    assert admin.get(f"/audit/check?{query}").status_code == 422
