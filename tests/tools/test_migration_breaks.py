"""What a step takes from the release that still runs beside it is found, and nothing else is."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from fakesieve.database import parse_url
from fakesieve.embedded.postgres import OWNER_ROLE, PostgresServer
from fakesieve.records.revision import migrate_database
from tests.databases import fresh_name
from tools.migration_breaks import find_breaks, judge_breaks, read_catalogue

MORE_LANES = """
ALTER TABLE job DROP CONSTRAINT ck_job_lane,
    ADD CONSTRAINT ck_job_lane CHECK (lane IN ('interactive', 'standard', 'bulk', 'night'))
"""
MONTH = """
CREATE TABLE frame_score_209901 PARTITION OF frame_score
    FOR VALUES FROM ('2099-01-01') TO ('2099-02-01')
"""


@pytest.fixture(scope="module")
def opened(postgres: PostgresServer, module_database_name: str) -> Iterator[Connection]:
    url = postgres.url(OWNER_ROLE, module_database_name)
    with create_engine(parse_url(url), poolclass=NullPool).connect() as connection:
        yield connection


@pytest.fixture
def connection(opened: Connection) -> Iterator[Connection]:
    """As the owner of the tables, in a transaction that is undone."""
    yield opened
    opened.rollback()


def step(connection: Connection, statement: str) -> list[str]:
    before = read_catalogue(connection)
    connection.execute(text(statement))
    return find_breaks(before, read_catalogue(connection))


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE job ADD COLUMN seen TEXT",
        "ALTER TABLE job ADD COLUMN seen TEXT DEFAULT '' NOT NULL",
        "ALTER TABLE job ADD COLUMN seen BIGINT CHECK (seen > 0)",
        "ALTER TABLE job ADD COLUMN seen TEXT REFERENCES tenant (id)",
        "ALTER TABLE job ADD COLUMN seen BIGINT GENERATED ALWAYS AS IDENTITY",
        "ALTER TABLE job ALTER COLUMN request_hash DROP NOT NULL",
        "ALTER TABLE job DROP CONSTRAINT ck_job_lane",
        MORE_LANES,
        "CREATE INDEX ix_job_seen ON job (request_hash)",
        "DROP INDEX ix_job_end_time",
        "CREATE TABLE seen (id TEXT NOT NULL PRIMARY KEY, job_id TEXT NOT NULL REFERENCES job (id))",
        MONTH,
        "GRANT DELETE ON model TO fakesieve_app",
        "CREATE FUNCTION seen() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "UPDATE job SET error_hint = NULL",
    ],
)
def test_what_only_adds_breaks_nothing(connection: Connection, statement: str) -> None:
    assert step(connection, statement) == []


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (
            "ALTER TABLE job ADD COLUMN seen TEXT NOT NULL",
            "column job.seen is new and required, and has no default",
        ),
        (
            "ALTER TABLE job ALTER COLUMN error_hint SET NOT NULL",
            "column job.error_hint may no longer be null",
        ),
        ("ALTER TABLE job ALTER COLUMN fence DROP DEFAULT", "column job.fence has lost its default"),
        ("ALTER TABLE job ALTER COLUMN fence TYPE TEXT", "column job.fence is text, was bigint"),
        ("ALTER TABLE job DROP COLUMN error_hint", "column job.error_hint is dropped or renamed"),
        ("ALTER TABLE job RENAME COLUMN error_hint TO hint", "column job.error_hint is dropped or renamed"),
        ("DROP TABLE saved_view", "table saved_view is dropped or renamed"),
        ("ALTER TABLE saved_view RENAME TO kept_view", "table saved_view is dropped or renamed"),
        (
            "ALTER TABLE job ADD CONSTRAINT ck_job_seen CHECK (n_shards < 10)",
            "rule ck_job_seen of job is new: rows of the release before may break it",
        ),
        (
            "ALTER TABLE job ADD CONSTRAINT fk_job_seen FOREIGN KEY (tenant_id) REFERENCES tenant (id)",
            "rule fk_job_seen of job is new: rows of the release before may break it",
        ),
        (
            "CREATE UNIQUE INDEX uq_job_seen ON job (tenant_id, source_key)",
            "rule uq_job_seen of job is new: rows of the release before may break it",
        ),
        (
            "DROP INDEX uq_outbox_doorbell",
            "rule uq_outbox_doorbell of outbox is dropped: ON CONFLICT may ask for it",
        ),
        ("REVOKE UPDATE ON job FROM fakesieve_app", "fakesieve_app may no longer UPDATE job"),
        (
            "REVOKE EXECUTE ON FUNCTION drop_frame_scores FROM fakesieve_fleet",
            "fakesieve_fleet may no longer EXECUTE drop_frame_scores()",
        ),
        (
            "DROP FUNCTION find_open_tenant",
            "function find_open_tenant(of_name text) is dropped or gives something else",
        ),
        (
            "CREATE POLICY seen ON job AS RESTRICTIVE USING (n_shards < 10)",
            "policy 'seen' of job is not what it was: other rows may be seen or written",
        ),
        (
            "ALTER TABLE model FORCE ROW LEVEL SECURITY",
            "policy 'row security' of model is not what it was: other rows may be seen or written",
        ),
    ],
)
def test_what_a_running_release_would_miss_is_told(connection: Connection, statement: str, told: str) -> None:
    assert step(connection, statement) == [told]


def test_a_list_of_values_that_has_lost_one_is_told(connection: Connection) -> None:
    narrower = (
        "ALTER TABLE job DROP CONSTRAINT ck_job_lane, ADD CONSTRAINT ck_job_lane"
        " CHECK (lane IN ('standard', 'bulk'))"
    )
    (found,) = step(connection, narrower)
    assert found.startswith("rule ck_job_lane of job has changed: CHECK")


def test_a_list_of_what_may_not_be_that_grows_is_told(connection: Connection) -> None:
    change = (
        "ALTER TABLE job DROP CONSTRAINT ck_job_lane, ADD CONSTRAINT ck_job_lane CHECK (lane NOT IN ({}))"
    )
    connection.execute(text(change.format("'night', 'dawn'")))
    (found,) = step(connection, change.format("'night', 'dawn', 'dusk'"))
    assert found.startswith("rule ck_job_lane of job has changed: CHECK")


def test_columns_that_lists_need_broke_the_workers_before_them(postgres: PostgresServer) -> None:
    with fresh_name(postgres) as name:
        url = postgres.url(OWNER_ROLE, name)
        migrate_database(url, "0014")
        with create_engine(parse_url(url), poolclass=NullPool).connect() as connection:
            before = read_catalogue(connection)
            connection.rollback()
            migrate_database(url, "0015")
            found = find_breaks(before, read_catalogue(connection))
    assert "column standing.engine is new and required, and has no default" in found
    assert len(found) == 15


def test_what_a_revision_says_to_be_safe_must_be_so_and_have_a_reason() -> None:
    breaks = ["table a is dropped or renamed", "table b is dropped or renamed"]
    assert judge_breaks(breaks, dict.fromkeys(breaks, "no release since 0.2 reads it")) == []
    assert judge_breaks(breaks, {breaks[0]: "nobody reads it"}) == [breaks[1]]
    assert judge_breaks(breaks[:1], {breaks[0]: " "}) == [
        "SAFE_BESIDE_PREVIOUS has no reason for: table a is dropped or renamed"
    ]
    assert judge_breaks([], {breaks[0]: "nobody reads it"}) == [
        "SAFE_BESIDE_PREVIOUS names what does not happen: table a is dropped or renamed"
    ]
