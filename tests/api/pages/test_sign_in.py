import re
from html import unescape

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Page, expect
from sqlalchemy import delete

from api.limits import GUESSES_BURST
from api.pages.routes.sign_in import choose_target
from fakesieve.database import Database
from fakesieve.records.policies import list_policies
from fakesieve.records.users import AppSession
from fakesieve.values.people import UserRole
from tests.api.pages.browsing import enter as enter_in_browser
from tests.api.pages.browsing import focus, focus_field
from tests.api.pages.stage import PASSWORD, Scene, enter, find_token


def give(client: TestClient, scene: Scene, **others: str):
    token = find_token(client.get("/sign-in").text)
    form = {
        "form_token": token,
        "organisation": scene.tenant,
        "email": scene.email(UserRole.REVIEWER),
        "password": PASSWORD,
        "next": "/queue",
    }
    return client.post("/sign-in", data=form | others, follow_redirects=False)


def test_a_page_asks_strangers_to_sign_in_and_brings_them_back(client: TestClient, scene: Scene):
    answer = client.get(f"/r/{scene.analysis_id}?t=1.5&track=0", follow_redirects=False)
    assert answer.status_code == 303
    target = answer.headers["location"]
    assert target == f"/sign-in?next=/r/{scene.analysis_id}%3Ft%3D1.5%26track%3D0"
    assert f'value="/r/{scene.analysis_id}?t=1.5&amp;track=0"' in client.get(target).text


def test_a_module_is_told_that_nobody_has_signed_in(client: TestClient, scene: Scene):
    answer = client.get(f"/r/{scene.analysis_id}/lanes", headers={"Accept": "application/octet-stream"})
    assert (answer.status_code, answer.json()["reason"]) == (401, "UNAUTHENTICATED")


def test_signing_in_gives_a_new_token_that_no_script_reads(client: TestClient, scene: Scene):
    client.get("/sign-in")
    before = client.cookies["fakesieve"]
    answer = give(client, scene)
    assert (answer.status_code, answer.headers["location"]) == (303, "/queue")
    cookie = answer.headers["set-cookie"]
    assert client.cookies["fakesieve"] != before
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie  # plain HTTP, as on one machine


def test_who_has_signed_in_keeps_the_whole_session_at_the_form(client: TestClient, scene: Scene):
    enter(client, scene, UserRole.REVIEWER)
    token = find_token(client.get("/queue").text)
    shown = client.get("/sign-in?next=/results", follow_redirects=False)
    assert (shown.status_code, shown.headers["location"]) == (303, "/results")
    assert "set-cookie" not in shown.headers
    wrong = {"form_token": token, "organisation": scene.tenant, "email": "x@y.example", "password": "wrong"}
    refused = client.post("/sign-in", data=wrong)
    assert (refused.status_code, refused.headers.get("set-cookie")) == (401, None)
    assert client.get("/queue", follow_redirects=False).status_code == 200


def test_signing_in_again_ends_the_session_before(client: TestClient, scene: Scene):
    enter(client, scene, UserRole.REVIEWER)
    kept, token = client.cookies["fakesieve"], find_token(client.get("/queue").text)
    form = {"organisation": scene.tenant, "email": scene.email(UserRole.ADMIN), "password": PASSWORD}
    assert client.post("/sign-in", data=form | {"form_token": token}).status_code == 200
    assert client.cookies["fakesieve"] != kept
    client.cookies.clear()
    client.cookies.set("fakesieve", kept)
    assert client.get("/queue", follow_redirects=False).status_code == 303


def test_too_many_tries_say_on_the_page_when_to_come_again(scene: Scene, app: FastAPI):
    with TestClient(app, client=("192.0.2.7", 1), headers={"Accept": "text/html"}) as stranger:
        for _ in range(50):  # one more try is let in each second, which a slow machine may need for this one
            while not app.state.services.limits.strangers.take("192.0.2.7").is_refused:
                pass
            refused = give(stranger, scene)
            stranger.cookies.clear()
            if refused.status_code == 429:
                break
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1


def test_wrong_passwords_from_one_network_keep_no_other_one_out(scene: Scene, app: FastAPI):
    guesser = TestClient(app, client=("198.51.100.8", 1), headers={"Accept": "text/html"})
    with guesser, TestClient(app, client=("198.51.100.9", 1), headers={"Accept": "text/html"}) as other:
        tries = 0
        while give(guesser, scene, password="wrong password").status_code == 401:
            tries += 1
            assert tries < 3 * GUESSES_BURST  # a few come back while a slow machine compares passwords
        assert tries >= GUESSES_BURST
        assert give(guesser, scene, email=scene.email(UserRole.ADMIN)).status_code == 303
        assert give(other, scene).status_code == 303


def test_over_tls_the_cookie_is_bound_to_the_host(client: TestClient):
    cookie = client.get("https://testserver/sign-in").headers["set-cookie"]
    assert cookie.startswith("__Host-fakesieve=")
    assert "Secure" in cookie


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "wrong password"},
        {"email": "nobody@acme.example"},
        {"organisation": "nowhere"},
        {"organisation": "' OR 1=1 --"},
    ],
)
def test_a_wrong_part_is_not_told_from_another(client: TestClient, scene: Scene, wrong: dict[str, str]):
    answer = give(client, scene, **wrong)
    assert answer.status_code == 401
    assert "That is not right: check the organisation, the address and the password." in answer.text


@pytest.mark.parametrize("token", ["", "0" * 64, "\u00e9"])
def test_a_form_of_another_site_signs_nobody_in(client: TestClient, scene: Scene, token: str):
    assert give(client, scene, form_token=token).status_code == 403


def test_a_form_from_another_origin_is_refused_whatever_it_carries(client: TestClient, scene: Scene):
    enter(client, scene, UserRole.ADMIN)
    token = find_token(client.get("/queue").text)
    form = {"form_token": token, "name": "stolen", "order": "oldest"}
    answer = client.post("/queue", data=form, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert "stolen" not in client.get("/queue").text


def test_signing_out_ends_the_session_on_the_server_too(client: TestClient, scene: Scene):
    enter(client, scene, UserRole.REVIEWER)
    kept = client.cookies["fakesieve"]
    token = find_token(client.get("/queue").text)
    answer = client.post("/sign-out", data={"form_token": token}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    client.cookies.set("fakesieve", kept)
    assert client.get("/queue", follow_redirects=False).status_code == 303


@pytest.mark.parametrize("cookie", ["x", "x" * 5000, "%00", "'; DROP TABLE app_session --"])
def test_a_made_up_cookie_is_nobody(client: TestClient, cookie: str):
    client.cookies.set("fakesieve", cookie)
    assert client.get("/queue", follow_redirects=False).status_code == 303


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        ("/queue?done=x", "/queue?done=x"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: x", "/"),
        ("", "/"),
    ],
)
def test_nobody_is_sent_to_another_host(wanted: str, target: str):
    assert choose_target(wanted) == target


def test_every_form_field_is_read_in_one_way(client: TestClient, scene: Scene):
    enter(client, scene, UserRole.REVIEWER)
    token = find_token(client.get("/queue").text)
    headers = {"X-Form-Token": token, "Content-Type": "application/x-www-form-urlencoded"}
    cases = [b"a=%00", b"a=%ED%A0%80", b"&".join(b"a=1" for _ in range(500)), b"\xff=1"]
    assert [client.post("/preferences", content=body, headers=headers).status_code for body in cases] == [
        422, 422, 422, 422,
    ]  # fmt: skip
    long = client.post("/preferences", content=b"a=" + b"x" * 70_000, headers=headers)
    assert long.status_code == 413
    strange = client.post(
        "/preferences", content=b"{}", headers=headers | {"Content-Type": "application/json"}
    )
    assert strange.status_code == 415


def send_late(client: TestClient, scene: Scene, fields: dict[str, str | list[str]], **headers: str):
    """Send a form of a page whose session was ended meanwhile, as an admin of the scene."""
    enter(client, scene, UserRole.ADMIN)
    token, kept = find_token(client.get("/queue").text), client.cookies["fakesieve"]
    client.post("/sign-out", data={"form_token": token}, follow_redirects=False)
    client.cookies.set("fakesieve", kept, domain="testserver.local")
    sent = {"Referer": "http://testserver/policies?low=0.4"} | headers
    return client.post("/policies", data={"form_token": token} | fields, headers=sent, follow_redirects=False)


TYPED = {
    "name": "night",
    "low": "0.4",
    "note": "for <b>us</b>\r\nat \u201cnight\u201d",
    "new_password": "hush",
}


def test_a_form_behind_the_end_of_its_session_is_given_back_after_signing_in(
    client: TestClient, scene: Scene, module_database: Database
):
    late = send_late(client, scene, dict(TYPED))
    assert (late.status_code, "<h1>Your session has ended</h1>" in late.text) == (401, True)
    held = [unescape(each) for each in re.findall(r'name="held" value="([^"]*)"', late.text)]
    assert held == ["name", "night", "low", "0.4", "note", TYPED["note"]]
    form = {
        "form_token": find_token(late.text),
        "organisation": scene.tenant,
        "email": scene.email(UserRole.ADMIN),
        "next": unescape(re.findall(r'name="next" value="([^"]*)"', late.text)[0]),
        "held": held,
    }
    wrong = client.post("/sign-in", data=form | {"password": "wrong password"})
    assert (wrong.status_code, wrong.text.count('name="held"')) == (401, 6)
    back = client.post("/sign-in", data=form | {"password": PASSWORD})
    assert back.status_code == 200
    assert '<a class="button main" href="/policies?low=0.4">Back to the form</a>' in back.text
    assert "<td>for &lt;b&gt;us&lt;/b&gt;<br>at \u201cnight\u201d</td>" in back.text
    assert "hush" not in late.text + back.text
    assert client.get("/policies", follow_redirects=False).status_code == 200
    with module_database.transaction(tenant_id=scene.tenant_id) as session:
        assert "night" not in {line.policy.name for line in list_policies(session)}


def test_a_module_is_told_that_the_session_of_its_form_has_ended(client: TestClient, scene: Scene):
    late = send_late(client, scene, dict(TYPED), Accept="application/json")
    assert (late.status_code, late.json()["reason"]) == (401, "UNAUTHENTICATED")


def test_a_form_whose_cookie_the_browser_has_dropped_is_given_back_too(client: TestClient):
    sent = {"Origin": "http://testserver", "Referer": "http://testserver/queue"}
    late = client.post("/policies", data=TYPED | {"form_token": "of a session"}, headers=sent)
    assert (late.status_code, late.text.count('name="held"')) == (401, 6)
    assert client.cookies["fakesieve"] != ""


@pytest.mark.parametrize("origin", [None, "https://elsewhere.example", "null"])
def test_a_form_of_another_site_is_not_shown_and_replaces_no_cookie(client: TestClient, origin: str | None):
    """Browsers send it without the cookie, which the person may well have."""
    headers = {} if origin is None else {"Origin": origin}
    late = client.post("/policies", data={"note": "call this number"}, headers=headers)
    assert (late.status_code, "set-cookie" in late.headers, "call this number" in late.text) == (
        401,
        False,
        False,
    )
    assert 'href="/sign-in?next=%2F">Sign in</a>' in late.text


def test_more_than_can_be_sent_along_is_shown_and_not_sent(client: TestClient, scene: Scene):
    late = send_late(client, scene, {"note": "\u00e9" * 8000})
    assert (late.status_code, late.text.count('name="held"')) == (401, 0)
    assert "copy what you need again before you sign in" in late.text
    assert "\u00e9" * 8000 in late.text


def test_a_comment_behind_many_faces_is_given_back(client: TestClient, scene: Scene):
    faces = {f"face_{number}": "confirmed_authentic" for number in range(70)}
    late = send_late(client, scene, faces | {"comment": "the mouth slides"})
    form = {
        "form_token": find_token(late.text),
        "organisation": scene.tenant,
        "email": scene.email(UserRole.ADMIN),
        "password": PASSWORD,
        "held": [unescape(each) for each in re.findall(r'name="held" value="([^"]*)"', late.text)],
    }
    back = client.post("/sign-in", data=form)
    for page in (late.text, back.text):
        assert page.count("<td>confirmed_authentic</td>") == 70
        assert "<td>the mouth slides</td>" in page


def test_more_fields_than_a_form_to_sign_in_has_are_shown_and_not_sent(client: TestClient, scene: Scene):
    late = send_late(client, scene, {f"face_{number}": "x" for number in range(390)})
    assert (late.text.count("<td>x</td>"), late.text.count('name="held"')) == (390, 0)
    assert "copy what you need again before you sign in" in late.text


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"note": "x" * 70_000}, "the form has more than 64 KiB."),
        ({f"face_{number}": "x" for number in range(400)}, "the form has more than 400 fields."),
    ],
)
def test_a_form_that_was_too_much_to_read_is_said_to_be_lost(
    client: TestClient, scene: Scene, fields: dict[str, str | list[str]], why: str
):
    late = send_late(client, scene, fields)
    assert late.status_code == 401
    assert f"Nothing of it can be given back: {why}" in late.text
    assert "What the form held" not in late.text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "https://ana:hunter2@hooks.example/a?to=ben@example.org",
            "https://hooks.example/a?to=ben@example.org",
        ),
        ("HTTPS:ana:hun@ter2@hooks.example", "HTTPS:hooks.example"),
    ],
)
def test_the_password_in_an_address_is_not_given_back(client: TestClient, scene: Scene, url: str, shown: str):
    late = send_late(client, scene, {"url": url, "note": "of ana@example.org"})
    held = [unescape(each) for each in re.findall(r'name="held" value="([^"]*)"', late.text)]
    assert held == ["url", shown, "note", "of ana@example.org"]
    assert "hunter2" not in late.text


def test_signing_out_behind_the_end_of_a_session_is_no_failure(client: TestClient):
    ended = client.post("/sign-out", data={"form_token": "x"}, follow_redirects=False)
    assert (ended.status_code, ended.headers["location"]) == (303, "/sign-in")


def test_a_form_sent_behind_the_end_of_its_session_is_given_back(
    page: Page, scene: Scene, module_database: Database
):
    enter_in_browser(page, scene, UserRole.ADMIN, "/policies?low=0.3")
    page.get_by_label("name", exact=True).fill("night-desk")
    page.get_by_label("note", exact=True).fill("only what is as good as certain")
    with module_database.transaction(tenant_id=scene.tenant_id) as session:
        session.execute(delete(AppSession).where(AppSession.tenant_id == scene.tenant_id))
    page.get_by_role("button", name="Keep as a policy").click()
    expect(page.locator("h1")).to_have_text("Your session has ended")
    for field, value in (
        ("organisation", scene.tenant),
        ("email", scene.email(UserRole.ADMIN)),
        ("password", PASSWORD),
    ):
        focus_field(page, field)
        page.keyboard.type(value)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("You are signed in")
    expect(page.locator("#typed ~ table")).to_contain_text("only what is as good as certain")
    focus(page, "Back to the form")
    page.keyboard.press("Enter")
    page.wait_for_url("**/policies?low=0.3")
    expect(page.locator("h1")).to_have_text("Policies")
