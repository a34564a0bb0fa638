"""Signing in at an identity provider, which is a process of its own and speaks HTTP."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from api.app import create_app
from api.provider import AWAY_S, KEYS_AGAIN_S, IdentityProvider, ProviderRules
from api.tickets import ProviderAway, Ticket
from fakesieve.database import Database
from fakesieve.errors import RequestRefused, SetupRefused
from fakesieve.people.accounts import create_user, disable_user
from fakesieve.records.audit import list_audit
from fakesieve.settings import read_settings
from fakesieve.values.people import UserRole
from tests.api.callers import make_settings
from tests.factories import make_tenant
from tests.fakesieve.test_settings import environment  # noqa: F401 - a fixture
from tests.identity_provider import Provider, providing
from tests.waiting import PATIENCE_S

BACK = "http://testserver/sign-in/callback"
SECRET = "the secret of this installation"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the provider, which is a process of this busy machine, for longer than for one far away."""
    monkeypatch.setattr("api.provider.TIMEOUT_S", PATIENCE_S)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with providing(tmp_path_factory.mktemp("provider")) as running:
        yield running


@dataclass(frozen=True)
class Desk:
    """An installation whose people sign in at the provider, and a browser."""

    browser: TestClient
    provider: Provider
    database: Database
    tenant_id: str

    def go(self, subject: str, target: str = "/results") -> str:
        """Sign in there; return where the browser comes back."""
        sent = self.browser.get("/sign-in/provider", params={"next": target}, follow_redirects=False)
        assert sent.status_code == 303, sent.text
        return self.provider.approve(sent.headers["location"], subject)

    def sign_in(self, subject: str) -> tuple[int, str]:
        """Sign in; return the status and what the page says, or where it leads."""
        answer = self.browser.get(self.go(subject), follow_redirects=False)
        return answer.status_code, answer.headers.get("location", answer.text)

    def list_people(self) -> list[tuple[str, str, str | None]]:
        with self.database.transaction(tenant_id=self.tenant_id) as session:
            rows = session.execute(text("SELECT email, role, oidc_subject FROM app_user ORDER BY email"))
            return [tuple(row) for row in rows]


@pytest.fixture
def desk(provider, postgres, s3, module_database, module_database_name) -> Iterator[Desk]:
    name = f"tenant-{uuid.uuid4().hex[:8]}"
    tenant_id = make_tenant(module_database, name)
    settings = make_settings(
        postgres, s3, module_database_name,
        oidc_issuer=provider.issuer,
        oidc_client_id="fakesieve",
        oidc_client_secret=SECRET,
        oidc_redirect_url=BACK,
        oidc_tenant=name,
        oidc_roles="trust=reviewer,sieve admins=admin",
        oidc_label="Acme",
    )  # fmt: skip
    with TestClient(create_app(settings), raise_server_exceptions=False) as browser:
        yield Desk(browser, provider, module_database, tenant_id)


def claims(name: str, *groups: str, **more: object) -> dict[str, object]:
    return {
        "email": f"{name}@acme.example",
        "email_verified": True,
        "name": name,
        "groups": list(groups),
    } | more


def test_the_page_leads_there_and_the_request_is_bound_to_the_browser(desk: Desk) -> None:
    page = desk.browser.get("/sign-in", params={"next": "/results?x=1"}).text
    assert 'href="/sign-in/provider?next=%2Fresults%3Fx%3D1">Sign in with Acme</a>' in page
    sent = desk.browser.get("/sign-in/provider", follow_redirects=False)
    asked = parse_qs(urlsplit(sent.headers["location"]).query)
    assert asked["client_id"] == ["fakesieve"]
    assert asked["redirect_uri"] == [BACK]
    assert asked["response_type"] == ["code"]
    assert asked["code_challenge_method"] == ["S256"]
    assert all(len(asked[name][0]) >= 43 for name in ("state", "nonce", "code_challenge"))
    cookie = sent.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()
    assert SECRET not in sent.headers["location"] + cookie


def test_a_new_person_gets_an_account_with_the_role_of_their_groups(desk: Desk) -> None:
    desk.provider.put("s-ada", **claims("ada", "trust", "others"))
    assert desk.sign_in("s-ada") == (303, "/results")
    assert desk.browser.get("/results").status_code == 200
    assert desk.list_people() == [("ada@acme.example", "reviewer", "s-ada")]
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        acts = [line.action for line in list_audit(session)]
    assert acts == ["session.started", "user.created"]


def test_the_role_follows_the_groups_and_the_address_does_not_say_who_it_is(desk: Desk) -> None:
    desk.provider.put("s-bob", **claims("bob", "trust"))
    desk.sign_in("s-bob")
    desk.provider.put("s-bob", **claims("robert", "sieve admins", "trust"))
    assert desk.sign_in("s-bob") == (303, "/results")
    assert desk.list_people() == [("bob@acme.example", "admin", "s-bob")]
    desk.provider.put("s-bob", **claims("bob", "others"))
    status, page = desk.sign_in("s-bob")
    assert status == 401
    assert "Your groups give no access here" in page


def test_an_account_without_a_password_waits_for_its_person(desk: Desk) -> None:
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        create_user(
            session, desk.tenant_id, email="eve@acme.example", name="Eve", role=UserRole.VIEWER,
            password=None, actor="command",
        )  # fmt: skip
    desk.provider.put("s-eve", **claims("eve", "trust", email_verified=False))
    assert "has not verified your address" in desk.sign_in("s-eve")[1]
    desk.provider.put("s-eve", **claims("eve", "trust"))
    assert desk.sign_in("s-eve") == (303, "/results")
    assert desk.list_people() == [("eve@acme.example", "reviewer", "s-eve")]
    desk.provider.put("s-other", **claims("eve", "trust"))
    assert "your address has another account" in desk.sign_in("s-other")[1].lower()


def test_an_account_with_a_password_is_not_taken_over(desk: Desk) -> None:
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        create_user(
            session, desk.tenant_id, email="mia@acme.example", name="Mia", role=UserRole.ADMIN,
            password="correct horse battery", actor="command",
        )  # fmt: skip
    desk.provider.put("s-mia", **claims("mia", "trust"))
    status, page = desk.sign_in("s-mia")
    assert (status, "another account here" in page) == (401, True)
    assert desk.list_people() == [("mia@acme.example", "admin", None)]


def test_a_closed_account_stays_closed(desk: Desk) -> None:
    desk.provider.put("s-tim", **claims("tim", "trust"))
    desk.sign_in("s-tim")
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        disable_user(session, desk.tenant_id, "tim@acme.example", actor="command")
    assert "account here is closed" in desk.sign_in("s-tim")[1]


def test_an_answer_is_good_once_and_in_its_browser_alone(desk: Desk) -> None:
    desk.provider.put("s-zoe", **claims("zoe", "trust"))
    back = desk.go("s-zoe")
    state = dict(parse_qsl(urlsplit(back).query))["state"]
    swapped = back.replace(state, "x" * len(state))
    assert "not begun in this browser" in desk.browser.get(swapped).text
    stranger = TestClient(desk.browser.app, raise_server_exceptions=False)
    assert stranger.get(back).status_code == 400
    back = desk.go("s-zoe")
    assert desk.browser.get(back, follow_redirects=False).status_code == 303
    assert desk.browser.get(back).status_code == 400  # what bound it is gone


def test_who_says_no_there_is_told_so(desk: Desk) -> None:
    sent = desk.browser.get("/sign-in/provider", follow_redirects=False)
    answer = desk.browser.get(desk.provider.deny(sent.headers["location"]))
    assert answer.status_code in (400, 401)
    assert "<form" in answer.text


def test_it_leads_nowhere_else(desk: Desk) -> None:
    desk.provider.put("s-lea", **claims("lea", "trust"))
    answer = desk.browser.get(desk.go("s-lea", "//evil.example/"), follow_redirects=False)
    assert answer.headers["location"] == "/"


@dataclass
class Times:
    """Clocks that a test moves."""

    clock_s: float = 1000.0
    ahead_s: float = 0.0


def make_client(provider: Provider, times: Times, **changes: str) -> IdentityProvider:
    rules = ProviderRules(provider.issuer, "fakesieve", BACK, SECRET)
    return IdentityProvider(
        replace(rules, **changes), lambda: times.clock_s, lambda: time.time() + times.ahead_s
    )


def answer(provider: Provider, client: IdentityProvider, ticket: Ticket) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(provider.approve(client.begin(ticket), "s-ada")).query))


def test_a_token_for_another_request_or_of_another_time_is_refused(provider: Provider) -> None:
    times, ticket = Times(), Ticket.make()
    client = make_client(provider, times)
    assert client.finish(ticket, answer(provider, client, ticket)).subject == "s-ada"
    other = replace(ticket, nonce=Ticket.make().nonce)
    with pytest.raises(RequestRefused, match="does not hold"):
        client.finish(other, answer(provider, client, ticket))
    times.ahead_s = 3 * 3600
    with pytest.raises(RequestRefused, match="does not hold"):
        client.finish(ticket, answer(provider, client, ticket))


def test_a_token_for_somebody_else_is_refused(provider: Provider) -> None:
    ticket = Ticket.make()
    theirs = make_client(provider, Times(), client_id="another client")
    facts = theirs._find_facts()
    code = answer(provider, theirs, ticket)["code"]
    token = str(theirs._exchange(facts, code, ticket.verifier)["id_token"])
    with pytest.raises(RequestRefused, match="does not hold"):
        make_client(provider, Times())._read_token(facts, token, ticket, None)
    head, body, _ = token.split(".")
    for forged in (f"{head}.{body}.", f"{head}.{body}.AAAA", "", "x.y.z"):
        with pytest.raises(RequestRefused, match="does not hold"):
            theirs._read_token(facts, forged, ticket, None)


def test_the_answer_of_another_provider_is_refused(provider: Provider) -> None:
    client, ticket = make_client(provider, Times()), Ticket.make()
    given = answer(provider, client, ticket) | {"iss": "https://evil.example"}
    with pytest.raises(RequestRefused, match="another provider"):
        client.finish(ticket, given)
    renamed = make_client(provider, Times(), issuer=f"{provider.issuer}/")
    with pytest.raises(ProviderAway, match="names itself otherwise"):
        renamed.begin(ticket)


def test_new_keys_of_the_provider_are_taken_up(provider: Provider) -> None:
    times, ticket = Times(), Ticket.make()
    client = make_client(provider, times)
    client.finish(ticket, answer(provider, client, ticket))
    provider.restart()
    with pytest.raises(RequestRefused, match="does not hold"):  # not asked for again with each wrong token
        client.finish(ticket, answer(provider, client, ticket))
    times.clock_s += KEYS_AGAIN_S
    assert client.finish(ticket, answer(provider, client, ticket)).subject == "s-ada"


def test_a_provider_that_does_not_answer_is_left_alone_for_a_while(provider: Provider) -> None:
    times, ticket = Times(), Ticket.make()
    client = make_client(provider, times)
    provider.stop()
    try:
        with pytest.raises(ProviderAway, match="does not answer"):
            client.begin(ticket)
    finally:
        provider.start()
    with pytest.raises(ProviderAway, match="does not answer"):  # it was not asked
        client.begin(ticket)
    times.clock_s += AWAY_S
    assert client.finish(ticket, answer(provider, client, ticket)).subject == "s-ada"


def test_without_its_provider_an_installation_offers_the_password(desk: Desk) -> None:
    desk.provider.stop()
    try:
        page = desk.browser.get("/sign-in/provider")
        assert page.status_code == 503
        assert "Sign in with a password" in page.text
    finally:
        desk.provider.start()


def test_half_a_provider_is_no_setting(environment) -> None:  # noqa: F811 - the fixture
    environment.setenv("FAKESIEVE_OIDC_ISSUER", "https://id.example")
    with pytest.raises(SetupRefused, match="oidc_issuer needs oidc_client_id too"):
        read_settings()
    for name, value in (("CLIENT_ID", "x"), ("REDIRECT_URL", BACK), ("TENANT", "acme")):
        environment.setenv(f"FAKESIEVE_OIDC_{name}", value)
    assert read_settings().oidc_tenant == "acme"
    environment.setenv("FAKESIEVE_OIDC_ISSUER", "http://id.example")
    with pytest.raises(SetupRefused, match="begins with https"):
        read_settings()
    environment.setenv("FAKESIEVE_OIDC_ISSUER", "https://id.example")
    environment.setenv("FAKESIEVE_OIDC_ROLES", "staff=king")
    with pytest.raises(SetupRefused, match="is not group=role"):
        read_settings()
