"""A tenant sees and writes its own rows alone, even through statements written by hand."""

from collections.abc import Iterator

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from fakesieve.database import TENANT_VARIABLE, VIEWER_VARIABLE, Database
from fakesieve.embedded.postgres import APP_ROLE, PostgresServer
from fakesieve.objects import VideoRef
from fakesieve.records.analyses import load_analysis, store_analysis
from fakesieve.records.registry import SHARED_TABLES, TENANT_COLUMNS
from fakesieve.records.standings import Standing
from fakesieve.records.tenants import (
    Caller,
    create_key,
    ensure_tenant,
    enter_with_key,
    find_caller,
    hash_key,
    revoke_key,
)
from fakesieve.records.videos import load_video, record_source
from tests.databases import opened
from tests.factories import make_record, make_tenant, make_video

FILLED = ["tenant", "api_key", "video", "source", "job", "analysis", "face_track", "frame_score"]
FILLED += ["patch_map", "segment", "verdict", "standing"]


def fill(database: Database, name: str) -> str:
    """Make a tenant with a row in many tables, and return its id."""
    tenant_id = make_tenant(database, name)
    with database.transaction(tenant_id=tenant_id) as session:
        create_key(session, tenant_id, "first", frozenset({"jobs:write"}))
        video_id = make_video(session, tenant_id)
        record_source(session, tenant_id=tenant_id, video_id=video_id, ref=VideoRef("videos", "clip.mp4"))
        store_analysis(session, make_record(tenant_id, video_id))
        session.execute(
            text(
                "INSERT INTO job (id, tenant_id, lane, source_kind, source_bucket, source_key, request_hash,"
                " time_limit_ms, deadline) VALUES ('job_' || :tenant, :tenant, 'bulk', 'api', 'videos',"
                " 'clip.mp4', 'h', 1000, now())"
            ),
            {"tenant": tenant_id},
        )
    return tenant_id


@pytest.fixture(scope="module")
def tenants(module_database: Database) -> tuple[str, str]:
    return fill(module_database, "acme"), fill(module_database, "other")


@pytest.fixture(scope="module")
def app(postgres: PostgresServer, module_database_name: str) -> Iterator[Database]:
    """The same database for the role that answers requests."""
    with opened(postgres, module_database_name, APP_ROLE) as found:
        yield found


@pytest.mark.parametrize("table", FILLED)
def test_who_answers_requests_sees_the_tenant_that_it_names_and_never_all(
    app: Database, tenants: tuple[str, str], table: str
) -> None:
    seen = text(f"SELECT DISTINCT {TENANT_COLUMNS[table]} FROM {table}")
    with app.transaction(tenant_id=tenants[0]) as session:
        assert session.scalars(seen).all() == [tenants[0]]
    with app.transaction(tenant_id=None) as session:
        assert session.scalars(seen).all() == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT drop_frame_scores('2000-01-01')",
        "SELECT make_frame_score_partitions('2000-01-01', 1)",
        "UPDATE tenant SET jobs_max = NULL",
        "INSERT INTO tenant (id, name) VALUES ('ten_x', 'x')",
        "INSERT INTO usage (tenant_id) VALUES ('ten_x')",
        "UPDATE usage SET duration_ms = 0",
        "INSERT INTO analysis (id) VALUES ('ana_x')",
        "DELETE FROM worker_host",
        "SET ROLE fakesieve_fleet",
    ],
)
def test_who_answers_requests_may_not(app: Database, tenants: tuple[str, str], statement: str) -> None:
    with (
        pytest.raises(DBAPIError, match="permission denied"),
        app.transaction(tenant_id=tenants[0]) as session,
    ):
        session.execute(text(statement))


def test_who_answers_requests_finds_whose_a_key_is_and_nothing_else(
    app: Database, module_database: Database, tenants: tuple[str, str]
) -> None:
    with module_database.transaction(tenant_id=None) as session:
        key = create_key(session, tenants[1], "for the role", frozenset({"jobs:read"}))
    with app.transaction(tenant_id=None) as session:
        caller = find_caller(session, key.secret)
        assert caller is not None
        assert (caller.key_id, caller.tenant_id, caller.scopes) == (key.id, tenants[1], {"jobs:read"})
        assert session.scalar(text("SELECT count(*) FROM api_key")) == 0  # what it looked at stays closed
    with app.transaction(tenant_id=tenants[0]) as session:
        assert find_caller(session, key.secret) is not None
        assert session.scalars(text("SELECT DISTINCT tenant_id FROM api_key")).all() == [tenants[0]]


def test_a_transaction_entered_with_a_key_is_that_of_its_tenant(
    module_database: Database, tenants: tuple[str, str], app: Database
) -> None:
    with module_database.transaction(tenant_id=None) as session:
        key = create_key(session, tenants[1], "entering", frozenset({"jobs:read"}))
    owners, viewer = text("SELECT DISTINCT tenant_id FROM api_key"), func.current_setting(VIEWER_VARIABLE)
    with app.begin() as session:
        caller = enter_with_key(session, hash_key(key.secret))
        assert caller == Caller(key.id, tenants[1], frozenset({"jobs:read"}))
        assert session.scalars(owners).all() == [tenants[1]]
        assert session.scalar(select(viewer)) == key.id
        assert session.info == {TENANT_VARIABLE: tenants[1], VIEWER_VARIABLE: key.id}
    with app.begin() as session:  # on the same connection: nothing is left of it
        assert enter_with_key(session, hash_key("fsk_wrong")) is None
        assert session.scalars(owners).all() == []


PLANS = text("SELECT current_setting('plan_cache_mode')")


def test_what_goes_along_keys_is_planned_once_and_a_list_each_time(
    module_database: Database, tenants: tuple[str, str], app: Database
) -> None:
    with module_database.transaction(tenant_id=None) as session:
        digest = hash_key(create_key(session, tenants[0], "planning", frozenset()).secret)
    found = list[str | None]()
    for is_along_keys in (True, False):  # on the same connection: nothing is left of it
        with app.transaction(tenant_id=tenants[0], is_along_keys=is_along_keys) as session:
            found.append(session.scalar(PLANS))
        with app.begin() as session:
            assert enter_with_key(session, digest, is_along_keys=is_along_keys) is not None
            found.append(session.scalar(PLANS))
    assert found == ["auto", "auto", "force_custom_plan", "force_custom_plan"]


@pytest.mark.parametrize("table", FILLED)
def test_a_tenant_reads_its_own_rows_alone(
    module_database: Database, tenants: tuple[str, str], table: str
) -> None:
    seen = text(f"SELECT DISTINCT {TENANT_COLUMNS[table]} FROM {table}")
    with module_database.transaction(tenant_id=tenants[0]) as session:
        assert session.scalars(seen).all() == [tenants[0]]
    with module_database.transaction(tenant_id=None) as session:
        assert sorted(session.scalars(seen)) == sorted(tenants)


@pytest.mark.parametrize("table", [name for name in FILLED if name != "tenant"])
def test_a_tenant_deletes_nothing_of_another(
    module_database: Database, tenants: tuple[str, str], table: str
) -> None:
    left = text(f"SELECT DISTINCT tenant_id FROM {table}")
    with module_database.sessions() as session:  # never committed: the next test finds the rows again
        see = text("SELECT set_config('fakesieve.tenant_id', :seen, true)")
        session.execute(see, {"seen": tenants[0]})
        session.execute(text(f"DELETE FROM {table} WHERE tenant_id = :other"), {"other": tenants[1]})
        session.execute(text(f"DELETE FROM {table}"))
        session.execute(see, {"seen": "*"})
        assert session.scalars(left).all() == [tenants[1]]


@pytest.mark.parametrize("table", ["video", "source", "job", "api_key"])
def test_a_tenant_gives_no_row_to_another(
    module_database: Database, tenants: tuple[str, str], table: str
) -> None:
    with (
        pytest.raises(DBAPIError, match="row-level security"),
        module_database.transaction(tenant_id=tenants[0]) as session,
    ):
        session.execute(text(f"UPDATE {table} SET tenant_id = :other"), {"other": tenants[1]})


def test_a_tenant_inserts_nothing_for_another(module_database: Database, tenants: tuple[str, str]) -> None:
    with (
        pytest.raises(DBAPIError, match="row-level security"),
        module_database.transaction(tenant_id=tenants[0]) as session,
    ):
        make_video(session, tenants[1], "another clip")


def test_without_a_tenant_no_row_is_seen(module_database: Database, tenants: tuple[str, str]) -> None:
    with module_database.sessions.begin() as session:  # the variable was never set
        assert session.scalar(text("SELECT count(*) FROM video")) == 0


def test_the_tenant_of_one_transaction_is_gone_in_the_next(
    module_database: Database, tenants: tuple[str, str]
) -> None:
    with module_database.transaction(tenant_id=None) as session:
        backend = session.scalar(text("SELECT pg_backend_pid()"))
    with module_database.sessions.begin() as session:
        assert session.scalar(text("SELECT pg_backend_pid()")) == backend
        assert session.scalar(text("SELECT count(*) FROM video")) == 0


def test_named_queries_keep_to_the_tenant(module_database: Database, tenants: tuple[str, str]) -> None:
    with module_database.transaction(tenant_id=tenants[1]) as session:
        analysis_id, video_id = session.execute(text("SELECT id, video_id FROM analysis")).one()
    with module_database.transaction(tenant_id=tenants[0]) as session:
        assert load_analysis(session, analysis_id) is None
        assert load_video(session, video_id) is None
        assert analysis_id not in session.scalars(select(Standing.analysis_id)).all()


def test_no_partition_can_be_read_past_the_policy(
    module_database: Database, tenants: tuple[str, str]
) -> None:
    with module_database.transaction(tenant_id=None) as session:
        partitions = session.scalars(
            text("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")
        ).all()
    assert len(partitions) > 12
    for partition in partitions:
        with (
            pytest.raises(DBAPIError, match="permission denied"),
            module_database.transaction(tenant_id=tenants[0]) as session,
        ):
            session.execute(text(f"SELECT FROM {partition}"))


def test_every_table_of_a_tenant_is_guarded(module_database: Database) -> None:
    guarded = text(
        "SELECT relname FROM pg_class JOIN pg_policy ON polrelid = pg_class.oid"
        " WHERE relrowsecurity AND relforcerowsecurity"
        " GROUP BY relname HAVING array_agg(polname ORDER BY polname) = '{fleet_rows,tenant_rows}'"
    )
    tables = text(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
        " AND relnamespace = 'public'::regnamespace"
    )
    with module_database.transaction(tenant_id=None) as session:
        names = set(session.scalars(guarded))
        assert names == set(TENANT_COLUMNS)
        assert set(session.scalars(tables)) - names == SHARED_TABLES | {"alembic_version"}


def test_the_fleet_may_not_alter_tables(module_database: Database) -> None:
    with (
        pytest.raises(DBAPIError, match="must be owner"),
        module_database.transaction(tenant_id=None) as session,
    ):
        session.execute(text("ALTER TABLE video DISABLE ROW LEVEL SECURITY"))


def test_a_key_leads_to_its_tenant_until_it_is_revoked(database: Database) -> None:
    tenant_id = make_tenant(database)
    with database.transaction(tenant_id=tenant_id) as session:
        key = create_key(session, tenant_id, "ci", frozenset({"results:read", "jobs:write"}))
    with database.transaction(tenant_id=None) as session:
        caller = find_caller(session, key.secret)
        assert caller is not None
        assert (caller.key_id, caller.tenant_id) == (key.id, tenant_id)
        assert caller.scopes == {"results:read", "jobs:write"}
        assert find_caller(session, key.secret + "0") is None
        assert revoke_key(session, key.id)
        assert not revoke_key(session, key.id)
        assert find_caller(session, key.secret) is None


@pytest.mark.parametrize(
    "change", ["UPDATE api_key SET expire_time = now()", "UPDATE tenant SET is_active = false"]
)
def test_an_expired_key_or_a_closed_tenant_has_no_caller(database: Database, change: str) -> None:
    tenant_id = make_tenant(database)
    with database.transaction(tenant_id=None) as session:
        key = create_key(session, tenant_id, "ci", frozenset())
        session.execute(text(change))
        assert find_caller(session, key.secret) is None


def test_the_secret_of_a_key_is_kept_nowhere(database: Database) -> None:
    tenant_id = make_tenant(database)
    with database.transaction(tenant_id=tenant_id) as session:
        key = create_key(session, tenant_id, "ci", frozenset())
        row = session.execute(text("SELECT * FROM api_key")).one()
    assert key.secret not in str(tuple(row))
    assert key.secret not in repr(key)


def test_a_tenant_of_a_name_is_made_once(database: Database) -> None:
    first = make_tenant(database, "acme")
    assert make_tenant(database, "acme") == first
    with pytest.raises(IntegrityError), database.transaction(tenant_id=None) as session:
        session.execute(text("INSERT INTO tenant (id, name) VALUES ('ten_x', 'acme')"))
    with database.transaction(tenant_id=None) as session:
        assert ensure_tenant(session, "third") != first
