"""What a retention class erases is said before it is made, changed or removed, and nothing more is erased."""

import secrets
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from fastapi.testclient import TestClient

from fakesieve.database import Database
from fakesieve.erasure import foresight, removal
from fakesieve.erasure.removal import free_videos
from fakesieve.erasure.retention import hold_video
from fakesieve.people.accounts import find_user
from fakesieve.records.audit import AuditSearch, list_audit
from fakesieve.records.videos import upsert_video
from fakesieve.values.people import UserRole
from tests.api.pages.keeping import (
    ask_class,
    is_due,
    make_older,
    post,
    read_classes,
    read_fields,
    send_class,
    set_class,
)
from tests.api.pages.stage import Scene, enter, find_token, make_scene


@pytest.fixture
def own(module_database: Database) -> Scene:
    return make_scene(module_database, f"tenant-{secrets.token_hex(4)}")


def test_what_a_shorter_class_erases_is_said_and_nothing_more_is_erased(
    client: TestClient, own: Scene, module_database: Database
):
    make_older(module_database, own, 40)
    enter(client, own, UserRole.ADMIN)
    asked = client.get("/videos/retention/set?name=default&keep=30&unit=days").text
    assert "It holds for all videos without a class, which are kept without an end now." in asked
    assert "erased at once</dt><dd>1<" in asked
    assert f'href="/videos/{own.video_id}"' in asked
    assert "Make it and erase 1 video<" in asked
    unsaid = send_class(client, ask_class(client, "default", 30), due="0")
    assert (unsaid.status_code, "this would erase 1 video at once" in unsaid.text) == (409, True)
    assert (read_classes(module_database, own), is_due(module_database, own)) == ({}, False)
    assert "<td>50 days</td>" in set_class(client, "default", 50).text
    assert not is_due(module_database, own)
    assert set_class(client, "default", 30).status_code == 200
    assert is_due(module_database, own)
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        admin = find_user(session, own.tenant_id, own.email(UserRole.ADMIN))
        told = [
            (line.actor, line.action, line.details) for line in list_audit(session, AuditSearch("default"))
        ]
    assert told == [
        (admin, "retention.set", {"name": "default", "keep_s": days * 86_400}) for days in (30, 50)
    ]


def test_a_class_that_is_removed_leaves_its_videos_to_the_default_one(
    client: TestClient, own: Scene, module_database: Database
):
    make_older(module_database, own, 40)
    enter(client, own, UserRole.ADMIN)
    set_class(client, "news", 365)
    post(client, own, "classify", retention_class="news")
    set_class(client, "default", 30)
    assert (
        "kept by the default class from then on: 30 days" in client.get("/videos/retention/news/remove").text
    )
    form = read_fields(client.get("/videos/retention/news/remove").text)
    assert form["due"] == "1"
    assert client.post("/videos/retention/news/remove", data=form | {"due": "0"}).status_code == 409
    assert not is_due(module_database, own)
    post(client, own, "hold")
    held = client.get("/videos/retention/news/remove").text
    assert "over that time, but under a legal hold</dt><dd>1<" in held
    assert "Nothing is erased at once." in held
    gone = client.post("/videos/retention/news/remove", data=read_fields(held))
    assert "The class is gone." in gone.text
    assert set(read_classes(module_database, own)) == {"default"}
    assert client.get("/videos/retention/news/remove").status_code == 404


def test_a_class_of_many_videos_is_shown_as_being_removed_until_all_have_left_it(
    client: TestClient, own: Scene, module_database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(removal, "AT_ONCE", 0)
    make_older(module_database, own, 40)
    enter(client, own, UserRole.ADMIN)
    for name, days in (("default", 365), ("news", 100)):
        set_class(client, name, days)
    post(client, own, "classify", retention_class="news")
    form = read_fields(client.get("/videos/retention/news/remove").text)
    shorter = ask_class(client, "default", 30)
    assert (form["due"], shorter["due"]) == ("0", "0")
    for _ in range(2):  # the button is pressed twice
        shown = client.post("/videos/retention/news/remove", data=form).text
        assert "The class keeps nothing any more and is gone once its videos have left it." in shown
    assert '<td>nothing any more</td><td class="number">1 to leave<' in shown
    assert "being removed since" in shown
    assert "kept by the default one already" in shown
    assert "/videos/retention/news/remove" not in shown
    for asked in ("news/remove", "set?name=news&keep=1&unit=days"):
        assert client.get(f"/videos/retention/{asked}").status_code == 409
    page = client.get(f"/videos/{own.video_id}").text
    assert "none: the default one holds, where there is one" in page
    assert '<option value="news"' not in page
    assert client.get(f"/videos/{own.video_id}/classify?retention_class=news").status_code == 409
    now = client.get(f"/videos/{own.video_id}/classify?retention_class=default").text
    assert "<td>the default class, 365 days: until" in now
    assert send_class(client, shorter).status_code == 409
    assert ask_class(client, "default", 30)["due"] == "1"
    assert set_class(client, "default", 30).status_code == 200
    assert is_due(module_database, own)
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        assert free_videos(session, own.tenant_id, "news", 10).is_gone
    assert is_due(module_database, own)


def test_what_ages_while_an_admin_reads_does_not_stop_a_class(
    client: TestClient, own: Scene, module_database: Database
):
    """The form counts as of its page: on a busy tenant the count of a later instant is always another."""
    enter(client, own, UserRole.ADMIN)
    form = ask_class(client, "default", 30)
    read = datetime.fromisoformat(form["time"]) - timedelta(minutes=20)
    make_older(module_database, own, days=30, minutes=10)
    assert send_class(client, form).status_code == 409
    assert "The class holds from now on." in send_class(client, form, time=read.isoformat()).text
    assert is_due(module_database, own)


def test_a_video_that_takes_the_place_of_another_is_not_erased_unsaid(
    client: TestClient, own: Scene, module_database: Database
):
    enter(client, own, UserRole.ADMIN)
    make_older(module_database, own, 40)
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        held = upsert_video(session, tenant_id=own.tenant_id, sha256="ef" * 32, size_bytes=5, media={})
        hold_video(session, held, "key_a", is_held=True)
    make_older(module_database, replace(own, video_id=held), 50)
    form = ask_class(client, "default", 30)
    assert form["due"] == "1"
    post(client, own, "hold")
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        hold_video(session, held, "key_a", is_held=False)
    refused = send_class(client, form)
    assert (refused.status_code, "have come to the class since" in refused.text) == (409, True)
    assert read_classes(module_database, own) == {}
    assert set_class(client, "default", 30).status_code == 200
    assert not is_due(module_database, own)


def test_older_held_videos_do_not_hide_what_is_erased(
    client: TestClient, own: Scene, module_database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(foresight, "FORESEEN_MAX", 1)
    make_older(module_database, own, 40)
    for days, digits in ((60, "ef"), (50, "fe")):
        with module_database.transaction(tenant_id=own.tenant_id) as session:
            held = upsert_video(session, tenant_id=own.tenant_id, sha256=digits * 32, size_bytes=5, media={})
            hold_video(session, held, "key_a", is_held=True)
        make_older(module_database, replace(own, video_id=held), days)
    enter(client, own, UserRole.ADMIN)
    asked = client.get("/videos/retention/set?name=default&keep=30&unit=days").text
    assert "erased at once</dt><dd>1<" in asked
    assert "Make it and erase 1 video<" in asked
    assert "Nothing is erased at once." not in asked
    assert (read_fields(asked)["due"], read_fields(asked)["more"]) == ("1", "")


@pytest.mark.parametrize("minutes", [-1, 61])
def test_what_a_page_has_said_holds_for_an_hour(
    client: TestClient, own: Scene, module_database: Database, minutes: int
):
    enter(client, own, UserRole.ADMIN)
    form = ask_class(client, "default", 30)
    read = datetime.fromisoformat(form["time"]) - timedelta(minutes=minutes)
    for time in (read.isoformat(), "2026-01-31", "soon", ""):
        answer = send_class(client, form, time=time)
        assert (answer.status_code, "nothing has changed" in answer.text) == (409, True), time
    assert read_classes(module_database, own) == {}


def test_a_class_is_not_removed_where_another_keeps_its_videos_than_was_said(
    client: TestClient, own: Scene, module_database: Database
):
    enter(client, own, UserRole.ADMIN)
    set_class(client, "news", 365)
    form = read_fields(client.get("/videos/retention/news/remove").text)
    set_class(client, "default", 1000)
    assert client.post("/videos/retention/news/remove", data=form).status_code == 409
    assert set(read_classes(module_database, own)) == {"default", "news"}


@pytest.mark.parametrize(
    ("name", "keep", "unit"), [("Short", "1", "days"), ("short", "0", "days"), ("short", "36501", "days")]
)
def test_what_no_class_can_be_is_refused(
    client: TestClient, own: Scene, module_database: Database, name: str, keep: str, unit: str
):
    enter(client, own, UserRole.ADMIN)
    form = {"name": name, "keep": keep, "unit": unit}
    assert client.get("/videos/retention/set", params=form).status_code == 422
    token = {"form_token": find_token(client.get("/queue").text)}
    assert client.post("/videos/retention/set", data=token | form).status_code == 422
    assert read_classes(module_database, own) == {}
