"""A database with rows goes back revision by revision, as far as there is one, and forward again."""

import itertools
import json

import pytest

from fakesieve.records.registry import METADATA
from fakesieve.records.revision import list_revisions, migrate_database
from tests.migrations.rows import EVERYTHING, KNOWN_ITEMS, Kept

Rows = dict[str, list[dict[str, object]]]
_TABLES = (
    "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
    " AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version' ORDER BY relname"
)
# What a step back says that it takes from tables which stay, or writes in another way.
_TOLD = {"0018": {"review_item", "review_decision"}, "0005": {"job", "shard", "attempt"}}


def read_rows(kept: Kept) -> Rows:
    """All rows of all tables, each as the values of its columns."""
    found: Rows = {}
    for (table,) in kept.ask(_TABLES):
        rows = [str(row) for (row,) in kept.ask(f'SELECT to_jsonb(t)::text FROM "{table}" t')]
        found[str(table)] = sorted((json.loads(row) for row in rows), key=json.dumps)
    return found


def list_columns(rows: list[dict[str, object]]) -> set[str]:
    return {name for row in rows for name in row}


def share(rows: list[dict[str, object]], columns: set[str]) -> list[str]:
    """The same rows, told by these columns alone, in an order of their own."""
    return sorted(json.dumps({name: row[name] for name in sorted(columns)}) for row in rows)


def test_every_table_has_a_row_to_lose(kept: Kept) -> None:
    kept.fill("head", *EVERYTHING)
    assert {name for name, rows in read_rows(kept).items() if not rows} == set()
    assert set(read_rows(kept)) == set(METADATA.tables)


def test_no_step_back_stumbles_over_rows_or_loses_more_than_its_tables(kept: Kept) -> None:
    kept.fill("head", *EVERYTHING, KNOWN_ITEMS)
    revisions = list_revisions()
    for before, after in reversed(list(itertools.pairwise(revisions))):
        held = read_rows(kept)
        migrate_database(kept.url, before)
        left = read_rows(kept)
        for table in (held.keys() & left.keys()) - _TOLD.get(after, set()):
            columns = list_columns(held[table]) & list_columns(left[table])
            assert share(left[table], columns) == share(held[table], columns), (after, table)
        migrate_database(kept.url, after)
        migrate_database(kept.url, before)
        assert read_rows(kept) == left, after
    migrate_database(kept.url)
    names = ("tenant", "api_key", "model", "policy", "video", "source")
    assert {name: len(rows) for name, rows in read_rows(kept).items() if name in names} == {
        "tenant": 2, "api_key": 1, "model": 1, "policy": 2, "video": 3, "source": 3,
    }  # fmt: skip


@pytest.mark.parametrize("target", ["0005", "0014"])
def test_results_that_were_taken_back_are_listed_again(kept: Kept, target: str) -> None:
    kept.fill("head", *EVERYTHING)
    lines = (
        "SELECT analysis_id, score, verdict, policy_id, coverage, peak_frames, verdict_reasons, video_id,"
        " total_us, track_count, suspicious_count, span_regions FROM standing WHERE analysis_id = 'ana_a'"
    )
    held = kept.ask(lines)
    migrate_database(kept.url, target)
    migrate_database(kept.url)
    assert kept.ask(lines) == held


def test_an_older_release_reads_an_older_reason_of_work_that_waited(kept: Kept) -> None:
    kept.fill("head", *EVERYTHING)
    migrate_database(kept.url, "0004")
    reasons = (
        "SELECT 'shard', last_reason FROM shard WHERE last_reason IS NOT NULL"
        " UNION ALL SELECT 'attempt', reason FROM attempt UNION ALL SELECT 'job', error_reason FROM job"
        " WHERE error_reason IS NOT NULL ORDER BY 1, 2"
    )
    assert kept.ask(reasons) == [
        ("attempt", "CORRUPT"),
        ("attempt", "LEASE_LOST"),
        ("job", "CANCELLED_BY_CALLER"),
        ("job", "INVALID_REQUEST"),
        ("shard", "LEASE_LOST"),
    ]


@pytest.mark.parametrize(("use_id", "policy_id"), [("8", "pol_c"), ("9", "pol_b"), ("NULL", "pol_b")])
def test_an_older_release_reads_the_policy_by_which_a_verdict_stands(
    kept: Kept, use_id: str, policy_id: str
) -> None:
    ruled = f"""
    INSERT INTO policy (id, name, version, low, high, min_coverage, min_peak_frames, extrapolated)
    VALUES ('pol_c', 'c', 1, 0.1, 0.2, 0, 1, false);
    UPDATE policy_ruling SET policy_id = 'pol_c', use_id = 9;
    UPDATE standing SET use_id = {use_id};
    """
    kept.fill("head", *EVERYTHING, ruled)
    (held,) = kept.ask("SELECT analysis_id, verdict, score FROM standing")
    migrate_database(kept.url, "0021")
    assert kept.ask(
        "SELECT v.analysis_id, v.value, v.score_used, v.policy_id FROM standing s JOIN verdict v"
        " ON v.analysis_id = s.analysis_id AND v.policy_id = s.policy_id"
    ) == [(*held, policy_id)]  # fmt: skip
