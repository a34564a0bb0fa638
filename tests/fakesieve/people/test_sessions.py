from datetime import timedelta

import pytest
from sqlalchemy import event, func, select, update

from fakesieve.database import Database
from fakesieve.embedded.postgres import APP_ROLE, PostgresServer
from fakesieve.errors import RequestRefused
from fakesieve.people.accounts import (
    Preferences,
    change_password,
    change_role,
    create_user,
    disable_user,
    find_user,
    list_users,
    load_preferences,
    store_preferences,
)
from fakesieve.people.addresses import KNOWN_S
from fakesieve.people.passwords import hash_password, is_password
from fakesieve.people.sessions import FAILURES_MAX, IDLE_S, end_session, find_session, sign_in
from fakesieve.reasons import Reason
from fakesieve.records.audit import list_audit
from fakesieve.records.users import AppSession, AppUser, KnownAddress
from fakesieve.values.people import UserRole
from tests.databases import opened
from tests.factories import make_tenant

PASSWORD = "correct horse battery"


@pytest.fixture
def app(postgres: PostgresServer, database_name: str, database: Database):
    with opened(postgres, database_name, APP_ROLE) as found:
        yield found


@pytest.fixture
def tenant(database: Database) -> str:
    tenant_id = make_tenant(database)
    with database.transaction(tenant_id=tenant_id) as session:
        create_user(
            session, tenant_id, email="Ana@Example.com ", name="Ana", role=UserRole.REVIEWER,
            password=PASSWORD, actor="cli",
        )  # fmt: skip
    return tenant_id


def test_who_knows_the_password_gets_a_session(app: Database, tenant: str):
    begun = sign_in(app, "acme", "ana@example.com", PASSWORD)
    assert begun is not None
    found = find_session(app, begun.token)
    assert found is not None
    assert (found.tenant_id, found.role, found.email, found.name) == (
        tenant, UserRole.REVIEWER, "ana@example.com", "Ana",
    )  # fmt: skip


def test_the_token_itself_is_not_kept(app: Database, database: Database, tenant: str):
    begun = sign_in(app, "acme", "ana@example.com", PASSWORD)
    assert begun is not None
    with database.transaction(tenant_id=None) as session:
        assert begun.token not in session.scalars(select(AppSession.token_sha256)).one()


@pytest.mark.parametrize(
    ("name", "email", "password"),
    [
        ("acme", "ana@example.com", "wrong"),
        ("acme", "bob@example.com", PASSWORD),
        ("other", "ana@example.com", PASSWORD),
        ("acme", "ana@example.com", ""),
        ("acme\0", "ana@example.com", PASSWORD),
        ("acme", "ana@example.com", PASSWORD + "\0"),
        ("acme", "ana@example.com", "x" * 100_000),
    ],
)
def test_nobody_else_gets_a_session(app: Database, tenant: str, name: str, email: str, password: str):
    assert sign_in(app, name, email, password) is None


def test_a_name_without_an_account_is_asked_about_as_one_with_a_wrong_password(app: Database, tenant: str):
    def list_statements(name: str, email: str) -> list[str]:
        asked = list[str]()

        def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            asked.append(statement)

        event.listen(app.pool, "before_cursor_execute", note)
        assert sign_in(app, name, email, "wrong", "192.0.2.1") is None
        event.remove(app.pool, "before_cursor_execute", note)
        return asked

    wrong = list_statements("acme", "ana@example.com")
    assert any("UPDATE app_user" in statement for statement in wrong)
    assert list_statements("acme", "bob@example.com") == wrong
    assert list_statements("other", "ana@example.com") == wrong


def test_a_session_ends_when_it_is_ended(app: Database, tenant: str):
    begun = sign_in(app, "acme", "ana@example.com", PASSWORD)
    assert begun is not None
    with app.transaction(tenant_id=tenant) as session:
        end_session(session, begun.token)
    assert find_session(app, begun.token) is None


@pytest.mark.parametrize(
    ("column", "age"), [("use_time", timedelta(seconds=IDLE_S + 1)), ("expire_time", timedelta(days=2))]
)
def test_a_session_ends_when_idle_and_in_any_case(
    app: Database, database: Database, tenant: str, column: str, age: timedelta
):
    begun = sign_in(app, "acme", "ana@example.com", PASSWORD)
    assert begun is not None
    with database.transaction(tenant_id=tenant) as session:
        session.execute(update(AppSession).values({column: func.now() - age}))
    assert find_session(app, begun.token) is None


def test_use_keeps_a_session_awake(app: Database, database: Database, tenant: str):
    begun = sign_in(app, "acme", "ana@example.com", PASSWORD)
    assert begun is not None
    with database.transaction(tenant_id=tenant) as session:
        session.execute(update(AppSession).values(use_time=func.now() - timedelta(seconds=IDLE_S - 60)))
    assert find_session(app, begun.token) is not None
    with database.transaction(tenant_id=tenant) as session:
        idle = session.scalars(select(func.now() - AppSession.use_time)).one()
    assert idle < timedelta(minutes=1)


def guess(app: Database, times: int = 1, address: str | None = None) -> None:
    for _ in range(times):
        assert sign_in(app, "acme", "ana@example.com", "wrong", address) is None


def set_user(database: Database, tenant: str, **values: object) -> None:
    with database.transaction(tenant_id=tenant) as session:
        session.execute(update(AppUser).values(**values))


def test_many_wrong_passwords_shut_the_account_and_each_further_one_again(
    app: Database, database: Database, tenant: str
):
    set_user(database, tenant, failures=FAILURES_MAX - 2)
    guess(app)
    assert sign_in(app, "acme", "ana@example.com", PASSWORD, "192.0.2.1") is not None  # counts from 0 again
    set_user(database, tenant, failures=FAILURES_MAX - 1)
    guess(app)
    for _ in range(2):
        assert sign_in(app, "acme", "ana@example.com", PASSWORD, "192.0.2.9") is None
        set_user(database, tenant, locked_until=func.now() - timedelta(seconds=1))
        guess(app)
    set_user(database, tenant, locked_until=func.now() - timedelta(seconds=1))
    assert sign_in(app, "acme", "ana@example.com", PASSWORD, "192.0.2.9") is not None


def test_nobody_shuts_a_person_out_where_they_have_signed_in_before(
    app: Database, database: Database, tenant: str
):
    assert sign_in(app, "acme", "ana@example.com", PASSWORD, "192.0.2.1") is not None
    set_user(database, tenant, failures=FAILURES_MAX - 1)
    guess(app, address="198.51.100.7")
    assert sign_in(app, "acme", "ana@example.com", PASSWORD, "198.51.100.7") is None
    assert sign_in(app, "acme", "ana@example.com", PASSWORD, "192.0.2.1") is not None
    with database.transaction(tenant_id=tenant) as session:
        assert "192.0.2.1" not in session.scalars(select(KnownAddress.address_sha256)).one()
        old = func.now() - timedelta(seconds=KNOWN_S + 1)
        session.execute(update(KnownAddress).values(use_time=old))
        session.execute(update(AppUser).values(locked_until=func.now() + timedelta(minutes=5)))
    assert sign_in(app, "acme", "ana@example.com", PASSWORD, "192.0.2.1") is None


def test_wrong_passwords_from_a_known_address_are_counted_for_it_alone(
    app: Database, database: Database, tenant: str
):
    assert sign_in(app, "acme", "ana@example.com", PASSWORD, "192.0.2.1") is not None
    with database.transaction(tenant_id=tenant) as session:
        session.execute(update(KnownAddress).values(failures=FAILURES_MAX - 1))
    guess(app, address="192.0.2.1")
    with database.transaction(tenant_id=tenant) as session:
        assert session.scalars(select(AppUser.failures)).one() == 0
        assert session.scalars(select(KnownAddress.user_id)).all() == []
        assert list_audit(session)[0].action == "user.address_forgotten"


def test_a_role_is_changed_in_the_log_and_the_last_admin_stays_one(database: Database, tenant: str):
    with database.transaction(tenant_id=tenant) as session:
        ana = find_user(session, tenant, "ana@example.com")
        change_role(session, tenant, ana, UserRole.ADMIN, actor="command")
        line = list_audit(session)[0]
        assert (line.action, line.actor, line.subject) == ("user.role_changed", "command", ana)
        assert line.details == {"before": "reviewer", "role": "admin"}
    with (
        pytest.raises(RequestRefused, match="last admin"),
        database.transaction(tenant_id=tenant) as session,
    ):
        change_role(session, tenant, ana, UserRole.VIEWER, actor="command")
    with database.transaction(tenant_id=tenant) as session:
        assert list_users(session, tenant)[0].role is UserRole.ADMIN
        with pytest.raises(RequestRefused, match="no account usr_none"):
            change_role(session, tenant, "usr_none", UserRole.VIEWER, actor="command")


def test_a_closed_account_is_out_at_once(app: Database, database: Database, tenant: str):
    begun = sign_in(app, "acme", "ana@example.com", PASSWORD)
    assert begun is not None
    with database.transaction(tenant_id=tenant) as session:
        disable_user(session, tenant, "ana@example.com", actor="cli")
    assert find_session(app, begun.token) is None
    assert sign_in(app, "acme", "ana@example.com", PASSWORD) is None


def test_a_new_password_ends_sessions_and_opens_the_account(app: Database, database: Database, tenant: str):
    begun = sign_in(app, "acme", "ana@example.com", PASSWORD)
    assert begun is not None
    with database.transaction(tenant_id=tenant) as session:
        disable_user(session, tenant, "ana@example.com", actor="cli")
        change_password(session, tenant, "ana@example.com", "another long phrase", actor="cli")
    assert find_session(app, begun.token) is None
    assert sign_in(app, "acme", "ana@example.com", PASSWORD) is None
    assert sign_in(app, "acme", "ana@example.com", "another long phrase") is not None


def test_a_new_password_works_at_once_where_the_person_was_though_somebody_guesses(
    app: Database, database: Database, tenant: str
):
    new = "another long phrase"
    assert sign_in(app, "acme", "ana@example.com", PASSWORD, "192.0.2.1") is not None
    with database.transaction(tenant_id=tenant) as session:
        session.execute(update(KnownAddress).values(failures=FAILURES_MAX - 1))
        change_password(session, tenant, "ana@example.com", new, actor="cli")
        session.execute(update(AppUser).values(locked_until=func.now() + timedelta(minutes=5)))
    guess(app, address="192.0.2.1")  # the old password, from habit: counted from nothing again
    assert sign_in(app, "acme", "ana@example.com", new, "198.51.100.9") is None
    assert sign_in(app, "acme", "ana@example.com", new, "192.0.2.1") is not None


def test_an_address_has_one_account(database: Database, tenant: str):
    with pytest.raises(RequestRefused) as refused, database.transaction(tenant_id=tenant) as session:
        create_user(
            session, tenant, email="ana@EXAMPLE.com", name="Other", role=UserRole.ADMIN,
            password=PASSWORD, actor="cli",
        )  # fmt: skip
    assert refused.value.reason is Reason.STATE_CONFLICT


@pytest.mark.parametrize("email", ["ana", "@example.com", "a b@example.com", "a@b\n.com", "x@" + "y" * 300])
def test_what_is_no_address_is_refused(database: Database, tenant: str, email: str):
    with pytest.raises(RequestRefused), database.transaction(tenant_id=tenant) as session:
        create_user(
            session, tenant, email=email, name="Other", role=UserRole.ADMIN, password=PASSWORD, actor="cli"
        )


def test_people_of_another_tenant_are_not_listed(database: Database, tenant: str):
    other = make_tenant(database, "other")
    with database.transaction(tenant_id=tenant) as session:
        assert [person.email for person in list_users(session, tenant)] == ["ana@example.com"]
    with database.transaction(tenant_id=other) as session:
        assert list_users(session, other) == []


def test_preferences_are_kept(database: Database, tenant: str):
    with database.transaction(tenant_id=tenant) as session:
        user_id = list_users(session, tenant)[0].id
        assert load_preferences(session, user_id) == Preferences(is_muted=True)
        wanted = Preferences(is_blurred=True, is_grey=True, is_muted=False, has_keys=False)
        store_preferences(session, user_id, wanted)
    with database.transaction(tenant_id=tenant) as session:
        assert load_preferences(session, user_id) == wanted


def test_a_password_is_kept_as_argon2id():
    kept = hash_password(PASSWORD)
    assert kept.startswith("$argon2id$")
    assert PASSWORD not in kept
    assert is_password(PASSWORD, kept)
    assert not is_password(PASSWORD, None)


@pytest.mark.parametrize("password", ["short", "x" * 201, "long enough but \0"])
def test_a_password_that_will_not_do_is_refused(password: str):
    with pytest.raises(RequestRefused):
        hash_password(password)
