"""A change of policy judges history in steps, and stops where another one has taken its place."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from engine.policy import PRESETS, Policy
from engine.results import VerdictValue
from fakesieve.database import Database
from fakesieve.errors import RequestRefused
from fakesieve.filters.check import read_filter
from fakesieve.policy_changes import Change, change_policy
from fakesieve.reasons import Reason
from fakesieve.records.analyses import judge_analysis, store_analysis
from fakesieve.records.analysis_lists import AnalysisQuery, list_analyses
from fakesieve.records.analysis_tables import Verdict
from fakesieve.records.audit import list_audit
from fakesieve.records.model_policies import OwnPolicies, load_own_policies
from fakesieve.records.models import ModelFacts, ensure_model, store_model_policy
from fakesieve.records.policies import PolicyVersion, ensure_policy, list_policies, show_active_policy
from fakesieve.records.policy_sql import preview_policy
from fakesieve.records.rulings import POLICY_IN_FORCE
from fakesieve.records.standings import Standing
from tests.databases import wait_long_for_locks
from tests.factories import MODEL, make_empty_score, make_record, make_score, make_tenant, make_video
from tests.waiting import PATIENCE_S, wait_until

STRICT = PRESETS["strict"]
LOOSE = Policy("loose", 1, low=0.1, high=0.2, min_peak_frames=1)
# Calibrated scores of the tests are 0.45: below, between and over the thresholds of these.
COMPACT = Policy("lv-compact", 1, low=0.5223, high=0.9312)
COMPACT_LABEL = "lv-compact@1"
LARGE = Policy("lv-large", 1, low=0.3, high=0.6, extrapolated=True)
LARGE_MODEL = ModelFacts("lv-large", "cd" * 32, "onnxruntime-cpu", "f32")
SILENT_MODEL = ModelFacts("of-nobody", "ef" * 32, "onnxruntime-cpu", "f32")


class Watched(Database):
    """A database that does something after a number of transactions."""

    def __init__(self, database: Database, after: int, act: Callable[[], object]) -> None:
        super().__init__(database.pool, database.sessions)
        object.__setattr__(self, "left", after)
        object.__setattr__(self, "act", act)

    def run_transaction(self, work: Callable[..., Any], *, tenant_id: str | None) -> Any:
        done = super().run_transaction(work, tenant_id=tenant_id)
        object.__setattr__(self, "left", self.left - 1)
        if self.left == 0:
            self.act()
        return done


@pytest.fixture
def tenant_id(database: Database) -> str:
    tenant_id = make_tenant(database)
    for number in range(4):
        with database.transaction(tenant_id=tenant_id) as session:
            video_id = make_video(session, tenant_id, f"clip {number}")
            store_analysis(session, make_record(tenant_id, video_id, score=make_score(0.9)))
    return tenant_id


def list_policies_used(database: Database, tenant_id: str) -> set[str]:
    with database.transaction(tenant_id=tenant_id) as session:
        names = select(PolicyVersion.name).join(Standing, PolicyVersion.id == POLICY_IN_FORCE)
        return set(session.scalars(names))


def test_a_change_behind_which_another_one_begins_stops_and_says_so(
    database: Database, tenant_id: str
) -> None:
    def overtake() -> None:
        change_policy(database, tenant_id, STRICT, actor="key_b")

    watched = Watched(database, 3, overtake)  # after its begin, its look and its first step
    with pytest.raises(RequestRefused, match="another change began while loose@1") as refused:
        change_policy(watched, tenant_id, LOOSE, actor="key_a", step=1)
    assert refused.value.reason is Reason.STATE_CONFLICT
    assert list_policies_used(database, tenant_id) == {"strict"}
    with database.transaction(tenant_id=tenant_id) as session:
        assert show_active_policy(session, tenant_id) == STRICT


def test_of_two_changes_that_activate_nothing_the_later_one_holds(database: Database, tenant_id: str) -> None:
    def overtake() -> None:
        change_policy(database, tenant_id, STRICT, actor="key_b", is_activated=False)

    watched = Watched(database, 3, overtake)
    with pytest.raises(RequestRefused, match="another change began while loose@1"):
        change_policy(watched, tenant_id, LOOSE, actor="key_a", is_activated=False, step=1)
    assert list_policies_used(database, tenant_id) == {"strict"}
    with database.transaction(tenant_id=tenant_id) as session:
        assert show_active_policy(session, tenant_id) is None


def test_a_change_that_activates_nothing_leaves_the_active_policy(database: Database, tenant_id: str) -> None:
    change_policy(database, tenant_id, LOOSE, actor="key_a")
    change_policy(database, tenant_id, STRICT, actor="key_a", is_activated=False)
    with database.transaction(tenant_id=tenant_id) as session:
        assert show_active_policy(session, tenant_id) == LOOSE


def test_an_empty_filter_is_all_of_history(database: Database, tenant_id: str) -> None:
    same = replace(PRESETS["balanced"], name="same")
    change = change_policy(database, tenant_id, same, read_filter(""), actor="key_a")
    assert change == Change(judged=4, moved=0)
    assert list_policies_used(database, tenant_id) == {"same"}
    with database.transaction(tenant_id=tenant_id) as session:
        assert session.scalar(select(func.count()).select_from(Verdict)) == 4  # no row for each of them


def test_begin_and_end_of_a_change_are_in_the_log(database: Database, tenant_id: str) -> None:
    change = change_policy(database, tenant_id, LOOSE, actor="key_a", step=3)
    assert change.judged == 4
    with database.transaction(tenant_id=tenant_id) as session:
        lines = [(line.action, line.actor, line.subject, dict(line.details)) for line in list_audit(session)]
    assert lines == [
        ("policy.applied", "key_a", "loose@1", {"judged": 4, "moved": change.moved, "is_active": True}),
        ("policy.apply_begun", "key_a", "loose@1", {"is_active": True}),
    ]


def test_a_change_that_was_cut_off_says_what_it_has_come_to(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        video_id = make_video(session, tenant_id, "no face")
        store_analysis(session, make_record(tenant_id, video_id, score=make_empty_score()))

    def list_lines() -> list[tuple[str, VerdictValue | None]]:
        with database.transaction(tenant_id=tenant_id) as session:
            lines = sorted(list_analyses(session, AnalysisQuery(tenant_id)), key=lambda line: line.id)
            return [(line.policy, line.verdict) for line in lines]

    def cut_off() -> None:
        raise ConnectionError

    before = list_lines()
    with pytest.raises(ConnectionError):
        change_policy(Watched(database, 3, cut_off), tenant_id, LOOSE, actor="key_a", step=1)
    high = ("loose", VerdictValue.LIKELY_MANIPULATED)
    assert list_lines() == [high, *before[1:]]
    assert change_policy(database, tenant_id, LOOSE, actor="key_a", step=1) == Change(judged=5, moved=3)
    assert list_lines() == [high, high, high, high, ("loose", None)]


def change_while_judged(
    database: Database, tenant_id: str, policy: Policy | None, model: ModelFacts
) -> Change:
    """Change the policy while a model's verdict on one more video is being given."""
    wait_long_for_locks(database)
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )

    def is_waiting() -> bool:
        with database.transaction(tenant_id=None) as session:
            return session.scalar(waiting) == 1

    def change() -> Change:
        return change_policy(database, tenant_id, policy, actor="key_a")

    with ThreadPoolExecutor(1) as pool:
        with database.transaction(tenant_id=tenant_id) as session:
            video_id = make_video(session, tenant_id, "late")
            store_analysis(session, make_record(tenant_id, video_id, score=make_score(0.9), model=model))
            changing = pool.submit(change)
            wait_until(is_waiting)
            assert not changing.done()
        return changing.result(PATIENCE_S)


def test_a_change_waits_for_a_verdict_that_is_being_given_and_judges_it_too(
    database: Database, tenant_id: str
) -> None:
    # By the model's policy, before the change may begin.
    assert change_while_judged(database, tenant_id, LOOSE, MODEL).judged == 5
    assert list_policies_used(database, tenant_id) == {"loose"}


def bring_policies(database: Database) -> None:
    """Have a host of each of two models say which policy it brings."""
    with database.transaction(tenant_id=None) as session:
        for facts, policy in ((MODEL, COMPACT), (LARGE_MODEL, LARGE)):
            store_model_policy(session, ensure_model(session, facts), ensure_policy(session, policy))


@pytest.fixture
def mixed_id(database: Database) -> str:
    """A tenant with three analyses by one model and one by another, each judged by its model's policy."""
    bring_policies(database)
    tenant_id = make_tenant(database, "mixed")
    scorers = ((MODEL, COMPACT), (MODEL, COMPACT), (LARGE_MODEL, LARGE), (MODEL, COMPACT))
    for number, (model, policy) in enumerate(scorers):
        with database.transaction(tenant_id=tenant_id) as session:
            video_id = make_video(session, tenant_id, f"clip {number}")
            record = make_record(tenant_id, video_id, score=make_score(0.9), model=model, policy=policy)
            store_analysis(session, record)
    return tenant_id


def read_standings(
    database: Database, tenant_id: str
) -> list[tuple[str, VerdictValue | None, tuple[str, ...]]]:
    """Return policy, verdict and its reasons of each analysis, in the order of analyses."""
    with database.transaction(tenant_id=tenant_id) as session:
        named = select(Standing, PolicyVersion).join(PolicyVersion, PolicyVersion.id == POLICY_IN_FORCE)
        rows = session.execute(named.order_by(Standing.analysis_id))
        return [
            (f"{policy.name}@{policy.version}", row.verdict, tuple(row.verdict_reasons))
            for row, policy in rows
        ]


def test_each_models_own_policy_judges_again_what_its_model_has_scored(
    database: Database, mixed_id: str
) -> None:
    before = read_standings(database, mixed_id)
    assert [policy for policy, _, _ in before] == [COMPACT_LABEL, COMPACT_LABEL, "lv-large@1", COMPACT_LABEL]
    change_policy(database, mixed_id, LOOSE, actor="key_a")
    assert list_policies_used(database, mixed_id) == {"loose"}
    with database.transaction(tenant_id=mixed_id) as session:
        own = load_own_policies(session, mixed_id)
        foreseen = preview_policy(session, mixed_id, own.policy, others=own.others)
    assert own.policy == COMPACT  # it judges three of the four, which a ruling stands for where none moves
    assert change_policy(database, mixed_id, None, actor="key_a", step=2) == Change(4, foreseen.moved_count)
    assert read_standings(database, mixed_id) == before
    assert foreseen.moved_count == 4
    with database.transaction(tenant_id=mixed_id) as session:
        assert show_active_policy(session, mixed_id) is None
        subjects = [(line.action, line.subject) for line in list_audit(session)][:2]
        (ended, *_) = list_audit(session)
        late = make_record(mixed_id, make_video(session, mixed_id, "late"), policy=COMPACT)
        store_analysis(session, late)
    assert subjects == [("policy.applied", "-"), ("policy.apply_begun", "-")]
    assert ended.details["policies"] == ["lv-compact@1", "lv-large@1"]
    assert read_standings(database, mixed_id)[4][0] == "lv-compact@1"
    assert change_policy(database, mixed_id, None, actor="key_a") == Change(5, 0)


def test_after_the_way_back_the_next_policy_holds_for_all_models(database: Database, mixed_id: str) -> None:
    change_policy(database, mixed_id, None, actor="key_a")
    change_policy(database, mixed_id, COMPACT, actor="key_a")
    assert [policy for policy, _, _ in read_standings(database, mixed_id)] == ["lv-compact@1"] * 4
    change_policy(database, mixed_id, None, read_filter('model = "lv-large"'), actor="key_a")
    used = [policy for policy, _, _ in read_standings(database, mixed_id)]
    assert used == [COMPACT_LABEL, COMPACT_LABEL, "lv-large@1", COMPACT_LABEL]


def test_the_policies_of_models_are_listed_with_the_models_that_bring_them(
    database: Database, mixed_id: str
) -> None:
    with database.transaction(tenant_id=mixed_id) as session:
        lines = list_policies(session)
        ids = [ensure_model(session, facts) for facts in (MODEL, LARGE_MODEL)]
    brought = {line.label: (line.policy, line.models) for line in lines if line.models}
    assert brought == {"lv-compact@1": (COMPACT, (ids[0],)), "lv-large@1": (LARGE, (ids[1],))}
    assert {line.label for line in lines if line.is_judging(None)} == {"lv-compact@1", "lv-large@1"}
    assert {line.label for line in lines if line.is_judging(LARGE)} == {"lv-large@1"}
    assert not any(line.is_preset for line in lines if line.models)


def test_what_a_model_has_scored_whose_policy_nobody_has_said_stays_as_it_stands(
    database: Database, tenant_id: str
) -> None:
    change_policy(database, tenant_id, LOOSE, actor="key_a")
    before = read_standings(database, tenant_id)
    with database.transaction(tenant_id=tenant_id) as session:
        own = load_own_policies(session, tenant_id)
        foreseen = preview_policy(session, tenant_id, own.policy, others=own.others, kept=own.kept)
        assert own == OwnPolicies(None, kept=(ensure_model(session, MODEL),))
    assert (foreseen.analysis_count, foreseen.moved_count, foreseen.kept_count) == (4, 0, 4)
    assert change_policy(database, tenant_id, None, actor="key_a") == Change(0, 0, kept=4)
    assert read_standings(database, tenant_id) == before
    with database.transaction(tenant_id=tenant_id) as session:
        assert show_active_policy(session, tenant_id) is None
        (ended, *_) = list_audit(session)
        assert not any(line.is_judging(None) for line in list_policies(session))
    assert ended.details == {"judged": 0, "moved": 0, "kept": 4, "policies": [], "is_active": True}
    bring_policies(database)
    assert change_policy(database, tenant_id, None, actor="key_a") == Change(4, 4)
    assert {policy for policy, _, _ in read_standings(database, tenant_id)} == {COMPACT_LABEL}


def store_silent(session: Session, tenant_id: str) -> str:
    """Store an analysis by a model of which no host says what it brings, and return its id."""
    video_id = make_video(session, tenant_id, "unknown")
    stored = store_analysis(
        session, make_record(tenant_id, video_id, score=make_score(0.9), model=SILENT_MODEL)
    )
    return stored[0]


@pytest.mark.parametrize("step", [1, 100])
def test_beside_models_whose_policy_is_known_another_ones_verdicts_stay(
    database: Database, mixed_id: str, step: int
) -> None:
    """Also behind the ruling that the change ends with, which is about all that was not written."""
    with database.transaction(tenant_id=mixed_id) as session:
        store_silent(session, mixed_id)
    before = read_standings(database, mixed_id)
    change_policy(database, mixed_id, LOOSE, actor="key_a")
    loose = read_standings(database, mixed_id)
    with database.transaction(tenant_id=mixed_id) as session:
        own = load_own_policies(session, mixed_id)
        foreseen = preview_policy(session, mixed_id, own.policy, others=own.others, kept=own.kept)
    assert (foreseen.analysis_count, foreseen.moved_count, foreseen.kept_count) == (5, 4, 1)
    part = change_policy(database, mixed_id, None, read_filter('model = "of-nobody"'), actor="key_a")
    assert part == Change(0, 0, kept=1)
    assert change_policy(database, mixed_id, None, actor="key_a", step=step) == Change(4, 4, kept=1)
    assert read_standings(database, mixed_id) == [*before[:4], loose[4]]
    assert change_policy(database, mixed_id, STRICT, actor="key_a").judged == 5
    assert list_policies_used(database, mixed_id) == {"strict"}


def test_what_a_new_model_is_scoring_while_the_way_back_begins_stays_too(
    database: Database, mixed_id: str
) -> None:
    """Of a model that no other transaction can see until its first verdict is there."""
    change_policy(database, mixed_id, LOOSE, actor="key_a")
    assert change_while_judged(database, mixed_id, None, SILENT_MODEL) == Change(4, 4, kept=1)
    loose, own = "loose@1", [COMPACT_LABEL, COMPACT_LABEL, "lv-large@1", COMPACT_LABEL]
    assert [policy for policy, _, _ in read_standings(database, mixed_id)] == [*own, loose]


@pytest.mark.parametrize("is_alone", [False, True])
def test_what_stayed_is_judged_when_its_model_runs_over_the_video_again(
    database: Database, *, is_alone: bool
) -> None:
    """Nobody has chosen the policy by which it stands; also where another model's ruling came in between."""
    tenant_id = make_tenant(database)
    change_policy(database, tenant_id, LOOSE, actor="key_a")
    with database.transaction(tenant_id=tenant_id) as session:
        silent = store_silent(session, tenant_id)
    if not is_alone:
        bring_policies(database)
    assert change_policy(database, tenant_id, None, actor="key_a") == Change(0, 0, kept=1)
    assert list_policies_used(database, tenant_id) == {"loose"}
    brought = Policy("of-nobody", 1, low=0.5, high=0.9)
    with database.transaction(tenant_id=tenant_id) as session:
        judge_analysis(session, silent, brought)
    assert list_policies_used(database, tenant_id) == {"of-nobody"}


def test_what_stays_is_not_written_again_by_the_next_way_back(database: Database, mixed_id: str) -> None:
    change_policy(database, mixed_id, LOOSE, actor="key_a")
    with database.transaction(tenant_id=mixed_id) as session:
        silent = store_silent(session, mixed_id)

    def find_place() -> str | None:
        with database.transaction(tenant_id=mixed_id) as session:
            where = text("SELECT ctid::text FROM standing WHERE analysis_id = :id")
            return session.scalar(where, {"id": silent})

    change_policy(database, mixed_id, None, actor="key_a")
    place, before = find_place(), read_standings(database, mixed_id)
    assert change_policy(database, mixed_id, None, actor="key_a") == Change(4, 0, kept=1)
    assert (find_place(), read_standings(database, mixed_id)) == (place, before)
