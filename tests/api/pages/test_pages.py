import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from api.pages.files import FILES
from api.pages.pages import ROUTERS
from api.pages.people import PersonDep
from api.pages.router import PageRouter, PageTransaction
from api.pages.templates import PLACES
from api.problems import Problem
from fakesieve.database import Database
from fakesieve.reasons import Reason
from fakesieve.records.audit import list_audit, record_audit
from fakesieve.values.people import UserRole
from tests.api.pages.stage import Scene, enter, find_token, make_scene

HOSTILE = "clips/<img src=x onerror=alert(1)>\"'{{7*7}}\u202egpj.mp4"
_OPEN = {"/sign-in", "/sign-in/provider", "/sign-in/callback", "/static/{digest}/{name}"}


def list_routes() -> Iterator[tuple[str, str]]:
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute):
                for method in sorted(route.methods):
                    yield method, route.path


def fill(path: str, scene: Scene) -> str:
    ids = {
        "analysis_id": scene.analysis_id,
        "queue_id": scene.queue_id,
        "segment": "0",
        "digest": FILES.digest,
        "name": "console.css",
    }
    return re.sub(r"\{(\w+)\}", lambda found: ids.get(found[1], "job_none"), path)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.title)
@pytest.mark.parametrize("role", list(UserRole))
def test_every_page_of_the_navigation_opens_for_those_who_may(
    client: TestClient, scene: Scene, place, role: UserRole
):
    enter(client, scene, role)
    answer = client.get(place.address)
    may = list(UserRole).index(role) >= list(UserRole).index(place.role)
    assert answer.status_code == (200 if may else 403)


@pytest.mark.parametrize(
    ("address", "title"),
    [
        ("/jobs", "Jobs"),
        ("/jobs/{job_id}", "Jobs"),
        ("/batches/{batch_id}", "Jobs"),
        ("/queue/{queue_id}", "Queues"),
        ("/decisions", "Queues"),
        ("/known", "Queues"),
        ("/models/calibrations", "Models"),
    ],
)
def test_the_menu_marks_the_place_of_a_page(client: TestClient, scene: Scene, address: str, title: str):
    enter(client, scene, UserRole.ADMIN)
    page = client.get(fill(address, scene)).text
    assert re.findall('aria-current="page">([^<]+)</a>', page) == [title]


@pytest.mark.parametrize(("method", "path"), list(list_routes()))
def test_no_route_is_open_by_accident(client: TestClient, scene: Scene, method: str, path: str):
    if path in _OPEN:
        return
    answer = client.request(method, fill(path, scene), follow_redirects=False)
    assert answer.status_code in (303, 401)
    if answer.status_code == 303:
        assert answer.headers["location"].startswith("/sign-in")


@pytest.mark.parametrize(("method", "path"), [pair for pair in list_routes() if pair[0] == "POST"])
def test_no_form_works_without_its_token(client: TestClient, scene: Scene, method: str, path: str):
    enter(client, scene, UserRole.ADMIN)
    answer = client.post(fill(path, scene), data={"item": "rev_none"}, follow_redirects=False)
    assert answer.status_code == 403
    assert "does not belong to your session" in answer.text


@pytest.mark.parametrize("address", ["/sign-in", "/queue", "/r/{analysis_id}", "/r/ana_none", "/queue/x"])
def test_every_page_forbids_foreign_and_inline_scripts(client: TestClient, scene: Scene, address: str):
    enter(client, scene, UserRole.REVIEWER)
    answer = client.get(fill(address, scene))
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    if answer.status_code != 405 and "html" in answer.headers["content-type"]:
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(r"<[^>]+\s(on\w+|style)=", answer.text)
        assert not re.search(r"<script(?![^>]*\bsrc=)", answer.text)
        assert not re.search(r"(src|href|action)=\"(https?:)?//", answer.text)


def test_the_review_page_may_play_from_the_object_store_alone(client: TestClient, scene: Scene):
    enter(client, scene, UserRole.REVIEWER)
    policy = client.get(f"/r/{scene.analysis_id}").headers["content-security-policy"]
    assert "media-src http://127.0.0.1:9;" in policy
    assert "connect-src 'self';" in policy


def test_the_review_page_says_which_frames_were_not_decoded_and_why(client: TestClient, scene: Scene):
    enter(client, scene, UserRole.REVIEWER)
    page = client.get(f"/r/{scene.analysis_id}").text
    assert "Not decoded: 1 frame at 0:02.0: DECODE_TIMEOUT: took too long." in page


def test_a_file_is_kept_for_ever_under_its_digest_only(client: TestClient):
    answer = client.get(FILES.name_address("console.css"))
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    assert client.get("/static/0000000000000000/console.css").status_code == 404
    assert client.get(f"/static/{FILES.digest}/..%2Ffiles.py").status_code == 404


@pytest.mark.parametrize("role", [UserRole.VIEWER])
def test_viewers_look_and_change_nothing(client: TestClient, scene: Scene, role: UserRole):
    enter(client, scene, role)
    page = client.get(f"/r/{scene.analysis_id}")
    assert "Your role is viewer" in page.text
    token = find_token(page.text)
    answers = [
        client.post(f"/r/{scene.analysis_id}/{act}", data={"form_token": token, "item": "rev_none"})
        for act in ("claim", "decide", "skip", "undo", "reveal", "release", "second", "appeal", "reopen")
    ]
    answers += [
        client.post(f"/queue/{scene.queue_id}/{act}", data={"form_token": token})
        for act in ("next", "reopen")
    ]
    assert {answer.status_code for answer in answers} == {403}


def test_only_admins_make_queues(client: TestClient, scene: Scene):
    enter(client, scene, UserRole.REVIEWER)
    form = {"form_token": find_token(client.get("/queue").text), "name": "mine", "order": "oldest"}
    assert client.post("/queue", data=form).status_code == 403
    enter(client, scene, UserRole.ADMIN)
    form["form_token"] = find_token(client.get("/queue").text)
    assert client.post("/queue", data=form).status_code == 200
    assert "mine" in client.get("/queue").text


def test_names_are_shown_and_never_run(client: TestClient, app: FastAPI, module_database: Database):
    hostile = make_scene(module_database, "<b>hostile</b>", key=HOSTILE)
    client.cookies.clear()
    enter(client, hostile, UserRole.REVIEWER)
    page = client.get(f"/r/{hostile.analysis_id}").text
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "{{7*7}}" in page
    assert "\u202e" not in page
    assert "<b>hostile</b>" not in page


def test_a_page_that_is_not_there_says_so_in_words(client: TestClient, scene: Scene):
    enter(client, scene, UserRole.REVIEWER)
    answer = client.get("/r/ana_none")
    assert answer.status_code == 404
    assert "This page cannot be shown" in answer.text
    assert "there is no analysis ana_none" in answer.text


def test_a_refusal_undoes_what_was_written_before_it(
    client: TestClient, app: FastAPI, scene: Scene, module_database: Database
):
    router = PageRouter()

    @router.get("/writes-and-refuses")
    def write_and_refuse(person: PersonDep, session: PageTransaction) -> None:  # pyright: ignore[reportUnusedFunction] - the router has it
        record_audit(session, tenant_id=person.tenant_id, actor=person.id, action="key.created", subject="x")
        raise Problem(Reason.STATE_CONFLICT, "refused after all")

    app.include_router(router)
    enter(client, scene, UserRole.VIEWER)
    refused = client.get("/writes-and-refuses")
    assert (refused.status_code, "refused after all" in refused.text) == (409, True)
    with module_database.transaction(tenant_id=scene.tenant_id) as session:
        assert [each for each in list_audit(session) if each.subject == "x"] == []
