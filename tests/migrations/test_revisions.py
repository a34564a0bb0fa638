"""Each revision goes forward, back and forward again, and together they make what the models say."""

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from fakesieve.database import Database, open_database, parse_url
from fakesieve.embedded.postgres import OWNER_ROLE, PostgresServer
from fakesieve.errors import RequestRefused, SetupRefused, Unavailable
from fakesieve.reasons import Reason
from fakesieve.records.analyses import store_analysis
from fakesieve.records.partitions import MONTHS_AHEAD, drop_frame_scores, make_partitions
from fakesieve.records.registry import METADATA
from fakesieve.records.revision import check_revision, list_revisions, migrate_database
from tests.databases import fresh_name, opened
from tests.factories import make_record, make_tenant, make_video
from tests.waiting import PATIENCE_S

HOWTO = Path(__file__).parents[2] / "docs" / "howto" / "erase-and-retain.md"
# What a database is made of, in words that do not depend on the order in which it was made.
_CATALOGUE = {
    "columns": (
        "SELECT table_name, column_name, data_type, is_nullable, column_default, collation_name,"
        " character_maximum_length, generation_expression FROM information_schema.columns"
        " WHERE table_schema = 'public'"
    ),
    "constraints": (
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace AND conparentid = 0 AND contype <> 'n'"
    ),
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "options": (
        "SELECT relname, reloptions::text FROM pg_class"
        " WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    ),
}
# What the models do not say and the revisions must.
_RIGHTS = {
    "rights": (
        "SELECT relname, (acl).grantee::regrole::text, (acl).privilege_type"
        " FROM (SELECT relname, aclexplode(relacl) AS acl FROM pg_class"
        " WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace) AS granted"
        " WHERE (acl).grantee::regrole::text IN ('fakesieve_fleet', 'fakesieve_app')"
    ),
    "functions": (
        "SELECT proname, proacl::text, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    ),
    "rules": (
        "SELECT tablename, policyname, roles::text, qual, with_check FROM pg_policies"
        " WHERE schemaname = 'public'"
    ),
}
_OURS_ALONE = ("alembic_version", "frame_score_")


def describe(url: str) -> dict[str, set[tuple[object, ...]]]:
    """Return the catalogue of a database without the partitions and Alembic's own table."""
    database = open_database(url)
    with database.transaction(tenant_id=None) as session:
        found = {
            name: {
                tuple(row) for row in session.execute(text(query)) if not str(row[0]).startswith(_OURS_ALONE)
            }
            for name, query in (_CATALOGUE | _RIGHTS).items()
        }
    database.close()
    return found


@pytest.fixture
def empty_url(postgres: PostgresServer) -> Iterator[str]:
    with fresh_name(postgres) as name:
        yield postgres.url(OWNER_ROLE, name)


def test_migrations_make_what_the_models_say(
    postgres: PostgresServer, empty_url: str, migrated_database: str
) -> None:
    pool = create_engine(parse_url(empty_url))
    METADATA.create_all(pool)
    pool.dispose()
    made, migrated = describe(empty_url), describe(postgres.url(OWNER_ROLE, migrated_database))
    for name in _CATALOGUE:
        assert migrated[name] == made[name], name


@pytest.mark.parametrize("number", range(len(list_revisions())))
def test_a_revision_goes_forward_back_and_forward(empty_url: str, number: int) -> None:
    names = ["base", *list_revisions()]
    before, after = names[number], names[number + 1]
    migrate_database(empty_url, before)
    shape_before = describe(empty_url)
    migrate_database(empty_url, after)
    shape_after = describe(empty_url)
    assert shape_after != shape_before
    migrate_database(empty_url, before)
    assert describe(empty_url) == shape_before
    done = migrate_database(empty_url, after)
    assert (done.before or "base", done.after) == (before, after)
    assert describe(empty_url) == shape_after


def test_nothing_is_left_at_the_base(empty_url: str) -> None:
    migrate_database(empty_url)
    migrate_database(empty_url, "base")
    database = open_database(empty_url)
    with database.transaction(tenant_id=None) as session:
        left = text(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        )
        assert session.scalars(left).all() == ["alembic_version"]
        functions = text("SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
        assert session.scalar(functions) == 0
    database.close()


def test_several_at_once_migrate_one_after_the_other(empty_url: str) -> None:
    command = [sys.executable, "-m", "fakesieve", "migrate", "--database-url", empty_url]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    for run in runs:
        _, complaint = run.communicate(timeout=PATIENCE_S)
        assert (run.returncode, complaint) == (0, b"")
    assert migrate_database(empty_url).before == list_revisions()[-1]


def test_an_unknown_revision_is_refused(empty_url: str) -> None:
    with pytest.raises(RequestRefused, match="no revision 'x'"):
        migrate_database(empty_url, "x")


def test_a_locked_table_is_not_waited_for(empty_url: str) -> None:
    first, second = list_revisions()[:2]
    migrate_database(empty_url, first)
    database = open_database(empty_url)
    with database.transaction(tenant_id=None) as session:
        session.execute(text("LOCK TABLE video"))
        with pytest.raises(Unavailable, match="LockNotAvailable"):
            migrate_database(empty_url, second, lock_timeout_ms=100)
    database.close()
    assert migrate_database(empty_url, second).before == first


@pytest.mark.parametrize("mark", ["delete_time = now(), purge_time = now()", "hold_time = now()"])
def test_there_is_no_way_back_that_forgets_what_is_deleted_or_held(empty_url: str, mark: str) -> None:
    migrate_database(empty_url, "0007")
    database = open_database(empty_url)
    with database.transaction(tenant_id=None) as session:
        session.execute(text("INSERT INTO tenant (id, name) VALUES ('ten_a', 'a')"))
        session.execute(
            text("INSERT INTO video (id, tenant_id, content_sha256, size_bytes, media)"
                 " VALUES ('vid_a', 'ten_a', repeat('0', 64), 1, '{}')")
        )  # fmt: skip
        session.execute(text(f"UPDATE video SET {mark}"))
    with pytest.raises(SetupRefused, match="deleted or under a legal hold"):
        migrate_database(empty_url, "0006")
    with database.transaction(tenant_id=None) as session:
        session.execute(text("UPDATE video SET delete_time = NULL, purge_time = NULL, hold_time = NULL"))
    database.close()
    assert migrate_database(empty_url, "0006").after == "0006"


def test_only_the_owner_migrates(postgres: PostgresServer, module_database_name: str) -> None:
    with pytest.raises(SetupRefused, match=r"permission denied|must be owner") as caught:
        migrate_database(postgres.url(database=module_database_name), "base")
    assert caught.value.hint == "use the URL of the role that owns the database: --database-url"


def test_a_server_without_the_role_of_the_fleet_is_told_apart(
    postgres: PostgresServer, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migrations.tenancy.APP_ROLE", "nobody_made_this")
    with pytest.raises(SetupRefused, match="nobody_made_this") as caught:
        migrate_database(empty_url)
    assert "CREATE ROLE" in caught.value.hint


def test_a_database_of_this_release_is_accepted(module_database: Database) -> None:
    check_revision(module_database)


@pytest.mark.parametrize("revision", ["base", *list_revisions()[:-1]])
def test_a_database_that_is_behind_is_refused(
    postgres: PostgresServer, empty_url: str, revision: str
) -> None:
    if revision != "base":
        migrate_database(empty_url, revision)
    database = open_database(empty_url)
    with pytest.raises(SetupRefused, match=list_revisions()[-1]) as caught:
        check_revision(database)
    assert caught.value.reason is Reason.MIGRATIONS_BEHIND
    database.close()


def test_a_database_of_a_newer_release_is_accepted_and_not_touched(
    postgres: PostgresServer, database: Database, database_name: str
) -> None:
    with opened(postgres, database_name, OWNER_ROLE) as owner, owner.transaction(tenant_id=None) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    check_revision(database)
    with pytest.raises(RequestRefused, match="9999"):
        migrate_database(postgres.url(OWNER_ROLE, database_name))


def list_partitions(database: Database) -> list[str]:
    with database.transaction(tenant_id=None) as session:
        names = session.scalars(
            text("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' ORDER BY relname")
        )
        return list(names)


def name_months() -> set[str]:
    """Names of the partitions of now and of an hour ago: a run may begin in one month and end in the next."""
    now = datetime.now(UTC)
    return {f"frame_score_{moment:%Y%m}" for moment in (now - timedelta(hours=1), now)}


def test_there_are_partitions_for_a_year(database: Database) -> None:
    months = [name for name in list_partitions(database) if name != "frame_score_rest"]
    assert len(months) == MONTHS_AHEAD
    assert months[0] in name_months()


def test_the_fleet_makes_and_drops_partitions(database: Database) -> None:
    make = text("SELECT make_frame_score_partitions(:first, 3)")
    with database.transaction(tenant_id=None) as session:
        assert session.scalar(make, {"first": date(2031, 11, 30)}) == 3
        assert session.scalar(make, {"first": date(2031, 12, 1)}) == 1
    names = set(list_partitions(database))
    assert {"frame_score_203111", "frame_score_203112", "frame_score_203201"} < names
    with database.transaction(tenant_id=None) as session:
        assert drop_frame_scores(session, date(2031, 12, 31)) == MONTHS_AHEAD + 1
    assert set(list_partitions(database)) == {
        "frame_score_203112",
        "frame_score_203201",
        "frame_score_203202",
        "frame_score_rest",
    }


def test_the_statement_of_the_howto_drops_the_months_before_its_day(database: Database) -> None:
    (statement,) = set(
        re.findall(r"`(SELECT drop_frame_scores\('2026-01-01'\))`", HOWTO.read_text(encoding="utf-8"))
    )
    make = text("SELECT make_frame_score_partitions(:first, 3)")
    with database.transaction(tenant_id=None) as session:
        assert session.scalar(make, {"first": date(2025, 11, 1)}) >= 2  # January may be there
        assert session.scalar(text(statement)) == 2
        assert session.scalar(text(statement)) == 0
    names = set(list_partitions(database))
    assert not {"frame_score_202511", "frame_score_202512"} & names
    assert "frame_score_202601" in names


def test_frame_scores_lie_in_their_month(database: Database) -> None:
    tenant_id = make_tenant(database)
    with database.transaction(tenant_id=tenant_id) as session:
        store_analysis(session, make_record(tenant_id, make_video(session, tenant_id)))
        months = session.scalars(text("SELECT DISTINCT tableoid::regclass::text FROM frame_score")).all()
    assert len(months) == 1
    assert months[0] in name_months()


def test_no_frame_score_is_lost_when_its_month_has_no_partition(database: Database) -> None:
    with database.transaction(tenant_id=None) as session:
        drop_frame_scores(session, date(2100, 1, 1))
    tenant_id = make_tenant(database)
    with database.transaction(tenant_id=tenant_id) as session:
        store_analysis(session, make_record(tenant_id, make_video(session, tenant_id)))
        assert session.scalar(text("SELECT count(*) FROM frame_score")) == 3
    # The present month keeps its rows where they are; the next ones get a partition.
    with database.transaction(tenant_id=tenant_id) as session:
        assert make_partitions(session, 3) == 2


def test_rows_without_a_partition_are_dropped_with_their_month(database: Database) -> None:
    tenant_id = make_tenant(database)
    copy = text(
        "INSERT INTO frame_score SELECT tenant_id, analysis_id, ordinal, pts_us, :day, box_x, box_y, box_w,"
        " box_h, confidence, score, patch_max, patch_area, exclude_reason FROM frame_score"
        " WHERE analysis_time > '2020-01-01'"
    )
    with database.transaction(tenant_id=tenant_id) as session:
        store_analysis(session, make_record(tenant_id, make_video(session, tenant_id)))
        for day in (datetime(2019, 5, 31, 23, tzinfo=UTC), datetime(2019, 6, 1, tzinfo=UTC)):
            session.execute(copy, {"day": day})
    months = text(
        "SELECT to_char(analysis_time AT TIME ZONE 'UTC', 'YYYY-MM'), tableoid::regclass::text, count(*)"
        " FROM frame_score WHERE analysis_time < '2020-01-01' GROUP BY 1, 2 ORDER BY 1"
    )
    may, june = ("2019-05", "frame_score_rest", 3), ("2019-06", "frame_score_rest", 3)
    with database.transaction(tenant_id=tenant_id) as session:
        assert session.scalar(text("SELECT make_frame_score_partitions('2019-05-01', 3)")) == 1
        assert [tuple(row) for row in session.execute(months)] == [may, june]
        assert drop_frame_scores(session, date(2019, 6, 20)) == 0
        assert [tuple(row) for row in session.execute(months)] == [june]
    assert "frame_score_201907" in list_partitions(database)


def test_the_fleet_cannot_drop_a_table_through_the_function(database: Database) -> None:
    with pytest.raises(DBAPIError), database.transaction(tenant_id=None) as session:
        session.execute(text("DROP TABLE frame_score_rest"))
