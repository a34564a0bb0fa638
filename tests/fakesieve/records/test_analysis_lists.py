"""Lists of analyses: filters mean what they say, pages are whole, and SQL is never text."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.dialects import postgresql

from engine.policy import PRESETS
from engine.results import Outcome, VideoScore
from fakesieve.database import Database
from fakesieve.filters.check import Filter, read_filter
from fakesieve.filters.order import read_order
from fakesieve.filters.tree import FilterInvalid
from fakesieve.jobs.states import JobState, Lane
from fakesieve.records import analysis_lists
from fakesieve.records.analyses import store_analysis
from fakesieve.records.analysis_lists import (
    AnalysisQuery,
    find_line,
    list_analyses,
    read_position,
    walk_analyses,
    write_position,
)
from fakesieve.records.filter_sql import compile_filter
from fakesieve.records.jobs import Job
from fakesieve.records.policies import Judge
from fakesieve.records.policy_apply import find_to_judge
from fakesieve.records.statement_bounds import bounded
from fakesieve.records.tags import set_tags
from fakesieve.records.videos import upsert_video
from fakesieve.values.videos import SourceKind
from tests.factories import (
    MEDIA,
    hash_text,
    make_empty_score,
    make_record,
    make_score,
    make_tenant,
    make_track,
)
from tests.filters import filter_texts

ALL = ["high", "middle", "low", "none", "blind"]
PLACES = {
    "high": ("videos", "2026/clip.mp4"),
    "middle": ("videos", "clip.mp4/2"),
    "low": ("other", "clip.mp4"),
}
Lister = Callable[..., list[str]]


def _scores() -> dict[str, VideoScore]:
    return {
        "high": make_score(0.98),
        "middle": make_score(0.9, tracks=(make_track(0, (0.9,)), make_track(1, (0.2, 0.3)))),
        "low": make_score(0.04, tracks=(make_track(0, (0.04, None)),)),
        "none": make_empty_score(),
        "blind": make_empty_score(Outcome.UNSCORABLE),
    }


def _make_job(tenant_id: str, analysis_id: str, bucket: str, key: str) -> Job:
    now = datetime.now(UTC)
    return Job(
        tenant_id=tenant_id,
        lane=Lane.STANDARD,
        state=JobState.SUCCEEDED,
        source_kind=SourceKind.API,
        source_bucket=bucket,
        source_key=key,
        request_hash=hash_text(key),
        time_limit_ms=1000,
        deadline=now,
        end_time=now,
        analysis_id=analysis_id,
    )


@pytest.fixture(scope="module")
def tenant_id(module_database: Database) -> str:
    """A tenant with five analyses, one of them in a video with tags, beside another with one."""
    for name in ("acme", "other"):
        owner = make_tenant(module_database, name)
        for label, score in _scores().items():
            with module_database.transaction(tenant_id=owner) as session:
                video_id = upsert_video(
                    session,
                    tenant_id=owner,
                    sha256=hash_text(label),
                    size_bytes=10,
                    media=MEDIA,
                    external_id=f"ext-{label}",
                )
                analysis_id, _ = store_analysis(session, make_record(owner, video_id, score=score))
                if label == "high":
                    set_tags(session, owner, video_id, {"campaign": "spring", "team": "a*"})
                if label in PLACES:
                    session.add(_make_job(owner, analysis_id, *PLACES[label]))
    return make_tenant(module_database, "acme")


@pytest.fixture(scope="module")
def names(module_database: Database, tenant_id: str) -> Lister:
    """Names of the analyses that fit a filter, in the order of the list."""

    def find(wanted: str = "", order: str = "create_time", **options: object) -> list[str]:
        query = AnalysisQuery(tenant_id, read_filter(wanted), read_order(order), **options)
        with module_database.transaction(tenant_id=tenant_id) as session:
            lines = list_analyses(session, query)
        return [(line.external_id or "").removeprefix("ext-") for line in lines]

    return find


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("", ALL),
        ("outcome = no_face", ["none"]),
        ('verdict="no_manipulation_found" OR outcome=unscorable', ["blind"]),
        ("verdict = null", ["none", "blind"]),
        ("verdict != null", ["high", "middle", "low"]),
        ("verdict:*", ["high", "middle", "low"]),
        ("verdict != inconclusive", ["none", "blind"]),
        ("score >= 0.45 AND score < 0.49", ["middle"]),
        ("score.raw > 0.9", ["high"]),
        ("NOT score.raw > 0.9", ["middle", "low", "none", "blind"]),
        ('external_id = "ext-h*"', ["high"]),
        ('external_id != "ext-*"', []),
        ('external_id = "ext-h\\*"', []),
        ("tracks.score > 0.94", ["high"]),
        ("tracks.score < 0.3", ["low"]),
        ("tracks:(score > 0.85 AND regions.mouth > 0.5)", ["high", "middle"]),
        ("tracks:(score < 0.5 AND ordinal = 1)", ["middle"]),
        ("tracks.score < 0.5 AND tracks.score > 0.85", ["middle"]),
        ("tracks:(score < 0.5 AND score > 0.85)", []),
        ("tracks.regions.nose > 0", []),
        ("patch_area > 0.2 AND frames.score < 0.1", ["low"]),
        ("frames.exclude_reason = face_too_small", ["high", "low"]),
        ("segments:(kind = suspicious AND regions:mouth AND end_us <= 2000000)", ["high", "middle", "low"]),
        ("reasons:partial_decode", ["high", "middle", "low"]),
        ("reasons:*", ALL),
        ("warnings:hdr", []),
        ("verdict_reasons:NO_EVIDENCE", ["none", "blind"]),
        ('tags.campaign = "spring"', ["high"]),
        ('tags.campaign != "spring"', ["middle", "low", "none", "blind"]),
        ("tags:campaign", ["high"]),
        ("tags.campaign = null", ["middle", "low", "none", "blind"]),
        ('tags.team = "a\\*"', ["high"]),
        ('model = lv-compact AND policy = "balanced" AND policy_version = 1', ALL),
        ('fingerprint = "pipeline-1" AND coverage.ratio > 0.5', ["high", "middle"]),
        ("duration_us = 3000000 AND width = 640 AND codec = h264", ALL),
        ('create_time > "2020-01-01" AND create_time < "2999-12-31T23:59:59Z"', ALL),
        ("jobs.batch_id = bat_1", []),
    ],
)  # fmt: skip
def test_a_filter_finds_what_it_says(names: Lister, wanted: str, found: list[str]) -> None:
    assert names(wanted) == found


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ('jobs.file = "clip.mp4"', ["high", "low"]),
        ('jobs.file = "cl*"', ["high", "low"]),
        ('jobs.file = "2026"', []),
        ('jobs.file = "CLIP.mp4"', []),
        ('jobs.file != "clip.mp4"', ["middle"]),
        ('jobs:(file = "clip.mp4" AND bucket = "videos")', ["high"]),
    ],
)
def test_a_video_is_found_by_the_name_of_its_file(names: Lister, wanted: str, found: list[str]) -> None:
    assert names(wanted) == found


def test_another_tenant_cannot_be_named(names: Lister) -> None:
    with pytest.raises(FilterInvalid, match="no field tenant_id"):  # A08
        names('tenant_id = "other"')


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ("create_time desc", ["blind", "none", "low", "middle", "high"]),
        ("score desc", ["high", "middle", "low", "blind", "none"]),
        ("score", ["none", "blind", "low", "middle", "high"]),
        ("coverage.ratio desc, create_time", ["middle", "high", "low", "none", "blind"]),
    ],
)
def test_orders_and_absent_scores_stand_below_all(names: Lister, order: str, found: list[str]) -> None:
    assert names(order=order) == found


@pytest.mark.parametrize(
    "order",
    [
        "create_time",
        "create_time desc",
        "score desc",
        "score, create_time desc",
        "coverage.ratio desc, score",
        "duration_us desc",
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_pages_are_the_list_in_pieces(
    module_database: Database, tenant_id: str, names: Lister, order: str, size: int
) -> None:
    read = read_order(order)
    with module_database.transaction(tenant_id=tenant_id) as session:
        walked = [
            line.external_id
            for line in walk_analyses(session, AnalysisQuery(tenant_id, order=read, limit=size))
        ]
        position = list_analyses(session, AnalysisQuery(tenant_id, order=read, limit=size))[-1].position
    assert [f"ext-{name}" for name in names(order=order)] == walked
    assert read_position(read, write_position(position)) == position


def test_rows_that_come_in_meanwhile_double_and_hide_nothing(database: Database) -> None:
    tenant_id = make_tenant(database)

    def add(label: str) -> None:
        with database.transaction(tenant_id=tenant_id) as session:
            video_id = upsert_video(
                session,
                tenant_id=tenant_id,
                sha256=hash_text(label),
                size_bytes=1,
                media=MEDIA,
                external_id=label,
            )
            store_analysis(session, make_record(tenant_id, video_id))

    for number in range(4):
        add(str(number))
    seen: list[str | None] = []
    after = None
    for step in range(3):
        with database.transaction(tenant_id=tenant_id) as session:
            page = list_analyses(session, AnalysisQuery(tenant_id, after=after, limit=2))
        seen += [line.external_id for line in page]
        after = page[-1].position if page else after
        add(f"new {step}")
    assert seen == ["3", "2", "1", "0"]


def test_a_line_shows_the_verdict_that_holds(module_database: Database, tenant_id: str) -> None:
    with module_database.transaction(tenant_id=tenant_id) as session:
        line = list_analyses(session, AnalysisQuery(tenant_id, read_filter('external_id="ext-high"')))[0]
        assert find_line(session, tenant_id, line.id) is not None
        assert find_line(session, tenant_id, "ana_none") is None
    assert (line.policy, line.policy_version, line.low) == ("balanced", 1, PRESETS["balanced"].low)
    assert (line.score_raw, line.score_calibrated) == (0.98, 0.49)
    assert dict(line.tags) == {"campaign": "spring", "team": "a*"}
    assert line.create_time < datetime.now(UTC)


def test_a_filter_that_takes_too_long_is_blamed(module_database: Database, tenant_id: str) -> None:
    with (
        pytest.raises(FilterInvalid, match="longer than 0 s"),
        module_database.transaction(tenant_id=tenant_id) as session,
        bounded(session, 20),
    ):
        session.execute(text("SELECT pg_sleep(5)"))


def test_what_reads_a_history_has_the_memory_for_it_until_its_transaction_ends(
    module_database: Database, tenant_id: str
) -> None:
    shown = text("SELECT current_setting('work_mem')")
    with module_database.transaction(tenant_id=tenant_id) as session:
        usual = session.scalar(shown)
        with bounded(session):
            assert session.scalar(shown) == "32MB"
    with module_database.transaction(tenant_id=tenant_id) as session:
        find_to_judge(session, tenant_id, Judge("pol_none", PRESETS["strict"], 1))
        assert session.scalar(shown) == "32MB"
    with module_database.transaction(tenant_id=tenant_id) as session:
        assert session.scalar(shown) == usual != "32MB"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(wanted=filter_texts())
def test_a_filter_and_its_negation_part_all_results(names: Lister, wanted: str) -> None:
    found, rest = names(wanted), names(f"NOT ({wanted})")
    assert sorted(found + rest) == sorted(ALL)


def test_a_number_beyond_a_narrow_column_is_only_larger(names: Lister) -> None:
    assert sorted(names("segments.track < 40000") + names("NOT segments.track < 40000")) == sorted(ALL)
    assert names("width > 9000000000") == []


def test_filters_of_one_shape_each_have_their_own_values(names: Lister) -> None:
    bounds = [(0.9, 1), (0.5, 0.95), (0.01, 0.5)]
    found = [names(f"score.raw>{low} AND score.raw<{high}") for low, high in bounds]
    assert found == [["high"], ["middle"], ["low"]]
    assert [names(f'external_id="ext-{name}"') for name in ALL] == [[name] for name in ALL]


def test_long_filters_fill_no_memory(module_database: Database, names: Lister) -> None:
    found, kept = names("score.raw>0.5"), module_database.pool._compiled_cache
    before = analysis_lists._build_list.cache_info().currsize, set(kept)
    for written in ("<2", "<=2"):
        tests = ["score.raw>0.5", *[f"score.raw{written}"] * analysis_lists.KEPT_TESTS_MAX]
        assert names(" AND ".join(tests)) == found
    assert (analysis_lists._build_list.cache_info().currsize, set(kept)) == before


@settings(max_examples=200)
@given(mark=st.text(alphabet="';-\"\\$%:()=x ", min_size=8, max_size=30))
def test_no_value_becomes_sql(mark: str) -> None:
    """A15: the text of the statement is the same whatever the values are."""
    quoted = mark.replace("\\", "\\\\").replace('"', '\\"')
    statements: set[str] = set()
    for value in (quoted, "plain"):
        where = compile_filter(
            read_filter(f'external_id="{value}" OR NOT (tags.x="{value}" AND jobs.key="{value}*")'), "ten_1"
        ).where
        assert where is not None
        statements.add(str(where.compile(dialect=postgresql.dialect())))
    assert len(statements) == 1


def test_an_empty_filter_is_no_condition() -> None:
    assert compile_filter(Filter(), "ten_1").where is None
