"""Two models over the videos that both have judged: counts, the square of scores, and what flips."""

import secrets

import pytest

from engine.policy import PRESETS
from engine.results import VerdictValue
from fakesieve.database import Database
from fakesieve.filters.check import read_filter
from fakesieve.policy_changes import change_policy
from fakesieve.records.analyses import store_analysis
from fakesieve.records.model_comparisons import BINS, Comparison, PairCell, compare_models
from fakesieve.records.models import ModelFacts, ensure_model
from tests.factories import MODEL, make_empty_score, make_record, make_score, make_tenant, make_video

NEWER = ModelFacts("newer", "cd" * 32, "onnxruntime-cpu", "f32")
# What the two models say of each video, as raw scores; the calibrated ones are half of them.
SAID = {"a": (0.2, 0.2), "b": (0.2, 0.98), "c": (0.9, 0.5), "d": (0.2, 0.2), "e": (None, 0.98)}
LIKELY, NONE = VerdictValue.LIKELY_MANIPULATED, VerdictValue.NO_MANIPULATION_FOUND


@pytest.fixture
def found(module_database: Database):
    """What is found by filter and number of flips, for a tenant of this test alone."""
    tenant_id = make_tenant(module_database, f"tenant {secrets.token_hex(6)}")
    for name, scores in SAID.items():
        for model, raw in zip((MODEL, NEWER), scores, strict=True):
            with module_database.transaction(tenant_id=tenant_id) as session:
                score = make_empty_score() if raw is None else make_score(raw)
                video_id = make_video(session, tenant_id, name)
                record = make_record(tenant_id, video_id, score=score, model=model, fingerprint=model.name)
                store_analysis(session, record)
    change_policy(module_database, tenant_id, PRESETS["strict"], actor="key_a")
    with module_database.transaction(tenant_id=tenant_id) as session:
        ids = [ensure_model(session, model) for model in (MODEL, NEWER)]

    def compare(wanted: str | None = None, flips_max: int = 100) -> Comparison:
        with module_database.transaction(tenant_id=tenant_id) as session:
            return compare_models(session, tenant_id, *ids, read_filter(wanted), flips_max=flips_max)

    return compare


def test_every_pair_is_counted_once(found) -> None:
    comparison = found()
    assert comparison.video_count == 5
    assert comparison.flip_count == len(comparison.flips)
    assert sum(cell.count for cell in comparison.cells) == 4  # one has no score
    assert sum(cell.flip_count for cell in comparison.cells) == comparison.flip_count - 1
    assert comparison.mean_difference == pytest.approx((0 + 0.39 - 0.2 + 0) / 4)
    assert comparison.mean_distance == pytest.approx((0 + 0.39 + 0.2 + 0) / 4)


def test_a_cell_holds_the_videos_of_its_two_scores(found) -> None:
    cells = {(cell.base_bin, cell.other_bin): cell.count for cell in found().cells}
    assert cells[int(0.1 * BINS), int(0.1 * BINS)] == 2
    assert cells[int(0.1 * BINS), int(0.49 * BINS)] == 1
    assert PairCell(0, 0, 1, 0) not in found().cells


def test_flips_begin_with_those_farthest_apart(found) -> None:
    flips = found().flips
    assert [flip.distance for flip in flips] == sorted((flip.distance for flip in flips), reverse=True)
    assert flips[0].base is None  # without a score on one side: as far as can be
    assert len(found(flips_max=1).flips) == 1
    assert found(flips_max=0).flip_count == found().flip_count


def test_the_filter_is_about_the_first_model(found) -> None:
    assert found("outcome=no_face").video_count == 1
    assert found("score>0.4").video_count == 1
    assert found("score>0.9").counts == ()
    assert found("score>0.9").mean_difference is None
