"""The audit log asked by time: what is found, and how much of the log is read for it."""

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from bench.database.explain import note_statements, walk
from fakesieve.database import Database
from fakesieve.embedded.postgres import PostgresServer
from fakesieve.records.audit import AuditSearch, list_audit
from tests.factories import make_tenant

DAYS = 400
EACH_DAY = 20
FIRST = datetime(2025, 1, 1, tzinfo=UTC)
Write = Callable[[str, list[tuple[int, datetime]]], None]


@pytest.fixture
def write(postgres: PostgresServer, module_database_name: str) -> Write:
    """Write entries with numbers and times of a test's choice, which no role but the superuser can."""

    def insert(tenant_id: str, entries: list[tuple[int, datetime]]) -> None:
        with closing(postgres.connect(module_database_name)) as superuser:
            superuser.execute("SET session_replication_role = replica")
            superuser.cursor().executemany(
                "INSERT INTO audit_log (tenant_id, sequence, create_time, actor, action, subject, details)"
                " VALUES (%s, %s, %s, 'fleet', 'job.cancelled', 'job_1', '{}')",
                [(tenant_id, number, time) for number, time in entries],
            )
            superuser.commit()
            superuser.autocommit = True
            superuser.execute("ANALYZE audit_log")

    return insert


def count_read(database: Database, tenant_id: str, search: AuditSearch, limit: int) -> int:
    """Return how many entries the database looks at for a page, by its own account."""
    read = 0
    with database.transaction(tenant_id=tenant_id) as session:
        with note_statements(session.connection()) as noted:
            list_audit(session, search, limit=limit)
        for statement in noted:
            command = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.text}"
            (found,) = session.connection().exec_driver_sql(command, statement.parameters).scalar_one()
            read += sum(
                round(node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
                for node in walk(found["Plan"])
                if "Relation Name" in node
            )
    return read


def test_an_old_span_of_days_is_found_without_all_that_is_newer(module_database: Database, write: Write):
    tenant_id = make_tenant(module_database, "busy")
    step = timedelta(days=1) / EACH_DAY
    write(tenant_id, [(number + 1, FIRST + number * step) for number in range(DAYS * EACH_DAY)])
    search = AuditSearch(start=FIRST + timedelta(days=10), end=FIRST + timedelta(days=12))
    with module_database.transaction(tenant_id=tenant_id) as session:
        found = [line.sequence for line in list_audit(session, search)]
    assert found == list(range(12 * EACH_DAY, 10 * EACH_DAY, -1))
    # The span, a day before it and one behind, and one entry each where they begin.
    assert count_read(module_database, tenant_id, search, limit=100) <= 4 * EACH_DAY + 2


def test_entries_from_before_the_clock_was_set_back_are_found_by_their_time(
    module_database: Database, write: Write
):
    """Twenty hours back: numbers 3 to 5 have times that entries before them have, too."""
    tenant_id = make_tenant(module_database, "set back")
    hours = [0, 30, 31, 11, 12, 60, 90, 120]
    write(tenant_id, [(number, FIRST + timedelta(hours=hour)) for number, hour in enumerate(hours, 1)])

    def find(start: int | None, end: int | None) -> list[int]:
        times = [None if hour is None else FIRST + timedelta(hours=hour) for hour in (start, end)]
        with module_database.transaction(tenant_id=tenant_id) as session:
            return [line.sequence for line in list_audit(session, AuditSearch(start=times[0], end=times[1]))]

    spans = [(10, 13), (30, 32), (11, 31), (None, 12), (31, None), (0, 1), (91, 200), (200, 300)]
    for start, end in spans:
        fits = [
            number
            for number, hour in enumerate(hours, 1)
            if (start is None or hour >= start) and (end is None or hour < end)
        ]
        assert find(start, end) == fits[::-1], (start, end)
