"""The copied rows of the database's benchmark are jobs like any other, and its questions can be asked."""

from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest
from sqlalchemy import text

from bench.database.ask import Asked, ask, percentile
from bench.database.asked import Asker, Picker, Question, list_questions, read_page
from bench.database.explain import read_plan
from bench.database.facts import Fact, Patterns, draw_facts, encode_id
from bench.database.fill import Filler, note_patterns
from bench.database.prepare import Filled
from bench.database.report import format_answers
from engine.results import Outcome, VerdictValue
from fakesieve.database import Database
from fakesieve.embedded.postgres import PostgresServer
from fakesieve.ids import IdPrefix, parse_id
from fakesieve.jobs.finish import finish_job, finish_shard, score_key
from fakesieve.records.analyses import load_analysis
from tests.factories import make_record
from tests.job_cases import JobCase
from tests.job_stores import make_sql_case

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
FACTS = 40


def run_job(case: JobCase, name: str) -> str:
    """A job over a clip with one face, to its end."""
    job_id = case.submit(name)
    case.prepare(job_id)
    claim = case.claim(job_id, 1)
    finish_shard(case.store, claim, b"evidence")
    scorer = case.claim(job_id, score_key(claim).index)
    assert finish_job(case.store, job_id, make_record(scorer.tenant_id, scorer.video_id, fingerprint="fp1"))
    return job_id


@pytest.fixture(scope="module")
def connection(
    postgres: PostgresServer, module_database: Database, module_database_name: str
) -> psycopg.Connection:
    """A database of two patterns, one scored and one that waits, and forty copies of them."""
    case = make_sql_case(module_database)
    jobs = [run_job(case, "scored"), case.submit("waits")]
    with postgres.connect(module_database_name) as opened:
        note_patterns(opened, jobs, 0.3, 0.7)
        patterns = Patterns((0,), 1, 1, 0.3, 0.7)
        facts = draw_facts(FACTS, case.tenants, patterns, NOW, whole_every=2)
        assert list(Filler(opened).add(facts)) == [FACTS]
        opened.execute("ANALYZE")
        yield opened


def count(connection: psycopg.Connection, query: str) -> int:
    found = connection.execute(query.encode()).fetchone()
    assert found is not None
    return found[0]


def test_every_copy_reads_back_with_a_verdict_that_fits_its_score(
    connection: psycopg.Connection, module_database: Database
) -> None:
    (pattern,) = connection.execute("SELECT min(analysis_id) FROM pattern.known").fetchone()
    ids = [row[0] for row in connection.execute("SELECT id FROM analysis")]
    assert len(ids) == count(connection, "SELECT count(*) FROM job WHERE state = 'succeeded'") > FACTS // 2
    values = set()
    for analysis_id in ids:
        with module_database.transaction(tenant_id=None) as session:
            record = load_analysis(session, analysis_id)
        assert record is not None
        assert record.outcome is Outcome.PARTIALLY_SCORED
        values.add(record.verdict.value)
        if record.score.tracks[0].frames and analysis_id != pattern:
            low, high, raw = 0.3, 0.7, record.score.raw
            expected = (
                VerdictValue.NO_MANIPULATION_FOUND
                if raw < low
                else VerdictValue.INCONCLUSIVE
                if raw < high
                else VerdictValue.LIKELY_MANIPULATED
            )
            assert record.verdict.value is expected
    assert len(values) >= 2


def test_copies_hold_what_foreign_keys_ask_for(connection: psycopg.Connection) -> None:
    for table, owner in (
        ("frame_score", "face_track"),
        ("patch_map", "face_track"),
        ("segment", "face_track"),
    ):
        lost = (
            f"SELECT count(*) FROM {table} t WHERE t.ordinal IS NOT NULL AND NOT EXISTS"
            f" (SELECT FROM {owner} o WHERE o.analysis_id = t.analysis_id AND o.ordinal = t.ordinal)"
        )
        assert count(connection, lost) == 0
    assert count(connection, "SELECT count(*) FROM shard WHERE job_id NOT IN (SELECT id FROM job)") == 0
    assert count(connection, "SELECT count(*) FROM job WHERE batch_id NOT IN (SELECT id FROM batch)") == 0
    assert count(connection, "SELECT count(*) FROM standing") == count(
        connection, "SELECT count(*) FROM analysis"
    )


def test_wide_rows_belong_to_every_second_copy(connection: psycopg.Connection) -> None:
    copies = "SELECT count(*) FROM analysis WHERE id <> (SELECT min(analysis_id) FROM pattern.known)"
    with_maps = "SELECT count(DISTINCT analysis_id) FROM patch_map"
    assert count(connection, with_maps) - 1 == pytest.approx(count(connection, copies) / 2, abs=5)


def test_questions_are_asked_as_they_will_be(
    connection: psycopg.Connection, module_database: Database
) -> None:
    connection.execute("UPDATE job SET batch_id = (SELECT min(id) FROM batch) WHERE batch_id IS NULL")
    with module_database.transaction(tenant_id=None) as session:
        picker = Picker(session)
    for question in list_questions():
        found = ask(replace(question, asker=Asker.FLEET, runs=1), module_database, picker, {})
        assert len(found.times_ms) == 1, question.name
        assert found.plans, question.name
        assert found.scans == ()


def test_what_a_question_writes_is_undone(connection: psycopg.Connection, module_database: Database) -> None:
    before = count(connection, "SELECT count(*) FROM job")
    with module_database.transaction(tenant_id=None) as session:
        picker = Picker(session)
    wipe = Question("wipe", lambda s, _: s.execute(text("DELETE FROM job")), asker=Asker.FLEET, runs=1)
    ask(wipe, module_database, picker, {})
    assert count(connection, "SELECT count(*) FROM job") == before


def test_a_change_of_policy_is_asked_of_the_tenant_whose_history_is_as_long_as_wanted(
    connection: psycopg.Connection, module_database: Database
) -> None:
    sizes = connection.execute(
        "SELECT tenant_id, count(*) FROM standing GROUP BY tenant_id ORDER BY 2 DESC"
    ).fetchall()
    with module_database.transaction(tenant_id=None) as session:
        picker = Picker(session)
    longest, shortest = (picker.pick(history) for history in (FACTS, 1))
    assert (longest.tenant_id, longest.analyses) == sizes[0]
    assert shortest.analyses == sizes[-1][1] < longest.analyses


@pytest.mark.parametrize("share", ["4 %", "40 %"])
def test_apply_of_a_change_judges_all_of_the_history_and_is_undone(
    connection: psycopg.Connection, module_database: Database, share: str
) -> None:
    name = f"policies, apply of a change that moves {share}"
    with module_database.transaction(tenant_id=None) as session:
        pick = Picker(session).pick(FACTS)
    before = count(connection, "SELECT count(*) FROM verdict")
    (asked,) = [each for each in list_questions() if each.name == name]
    judged = list[object]()
    noting = replace(asked, ask=lambda s, p: judged.append(asked.ask(s, p)), asker=Asker.FLEET, runs=1)
    with module_database.transaction(tenant_id=None) as session:
        found = ask(noting, module_database, Picker(session), {})
    (change,) = judged
    assert (change.judged, found.name) == (
        pick.analyses,
        f"{name}, {pick.analyses} analyses",
    )
    assert count(connection, "SELECT count(*) FROM verdict") == before
    assert count(connection, "SELECT count(*) FROM policy_use") == 0


def test_a_page_of_some_questions_judges_them_by_their_goals() -> None:
    answers = [
        Asked("preview", 2000.0, (90.0, 1999.0), (), 3),
        Asked("apply", 2000.0, (1000.0, 2000.5), (), 40),
    ]
    filled = Filled(1_000_000, 100_000, 5000, fill_s=1.0, clean_s=1.0, load_at_fill=0.0)
    page = format_answers("python -m bench.database", {"cores": 2}, "18.6", filled, answers)
    assert "- cores: 2\n" in page
    reached, missed = page.splitlines()[-2:]
    assert reached.startswith("| preview | 2 | 1,044.50 | 1,999.00 | <= 2000: reached |")
    assert missed.startswith("| apply | 2 | 1,500.25 | 2,000.50 | <= 2000: missed |")


def test_the_ten_questions_of_the_page_are_among_them() -> None:
    assert [question.name.split()[1] for question in read_page()] == [f"{n}." for n in range(1, 11)]


def test_ids_sort_by_time_and_leave_room_for_parts() -> None:
    earlier, later = encode_id(NOW, 2**80 - 1), encode_id(NOW.replace(second=2), 5)
    assert earlier < later
    assert earlier.endswith("00")
    parse_id(f"job_{earlier}", IdPrefix.JOB)


def test_equal_seeds_draw_equal_jobs() -> None:
    patterns = Patterns((0, 1), 2, 3, 0.3, 0.7)

    def draw(seed: int) -> list[Fact]:
        return list(draw_facts(100, ("ten_a", "ten_b"), patterns, NOW, seed=seed))

    assert draw(1) == draw(1) != draw(2)
    assert sum(fact.tenant_id == "ten_a" for fact in draw(1)) > 55
    assert [fact.time for fact in draw(1)] == sorted(fact.time for fact in draw(1))


def test_a_large_table_that_is_read_whole_is_named() -> None:
    leaf = {"Node Type": "Seq Scan", "Actual Rows": 5, "Actual Loops": 1, "Actual Total Time": 1.0}
    top = {
        "Node Type": "Limit", "Actual Rows": 5, "Actual Loops": 1, "Actual Total Time": 1.5,
        "Shared Hit Blocks": 3, "Shared Read Blocks": 1,
        "Plans": [
            leaf | {"Relation Name": "job", "Rows Removed by Filter": 99_995},
            leaf | {"Relation Name": "tenant"},
            leaf | {"Relation Name": "video", "Actual Loops": 0},
        ],
    }  # fmt: skip
    rows = {"job": 100_000, "tenant": 50, "video": 100_000}
    plan = read_plan("SELECT 1", {"Plan": top, "Planning Time": 0.5, "Execution Time": 2.0}, rows)
    assert plan.scans == (("job", 100_000),)
    assert (plan.hit_bytes, plan.read_bytes) == (3 * 8192, 8192)


def test_the_99th_percentile_of_few_runs_is_the_slowest() -> None:
    assert percentile((1.0, 9.0, 3.0), 99) == 9.0
    assert Asked("q", 25.0, (1.0,) * 99 + (50.0,), (), 1).p99_ms > 25
