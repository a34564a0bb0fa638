"""Measures over files: which enter, how they are grouped, what stands beside them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from engine.container import MediaKind
from engine.evaluation.manifest import Item
from engine.evaluation.measures import Evaluation, ItemResult, measure_results
from engine.evaluation.report import headline
from engine.policy import Policy, Threshold
from engine.results import Outcome

POLICY = Policy("test", 1, low=0.3, high=0.7)


def make_result(
    name: str,
    label: int,
    raw: float | None,
    *,
    method: str = "",
    subset: str = "",
    pair: str = "",
    calibrated: float | None = None,
    frames: tuple[float, ...] | None = None,
    overlaps: tuple[float, ...] = (),
) -> ItemResult:
    item = Item(Path(name), name, label, method if label else "", subset, "", name, pair)
    outcome = Outcome.NO_FACE if raw is None else Outcome.SCORED
    shown = (() if raw is None else (raw,)) if frames is None else frames
    return ItemResult(item, outcome, raw=raw, calibrated=calibrated, frame_scores=shown, overlaps=overlaps)


def measure(results: list[ItemResult], thresholds: tuple[Threshold, ...] = ()) -> Evaluation:
    return measure_results(results, thresholds, POLICY, replicates=100)


def drawn(count: int = 40) -> list[ItemResult]:
    random = np.random.default_rng(1)
    scores = np.clip(random.normal(np.repeat([0.35, 0.65], count // 2), 0.2), 0, 1)
    return [make_result(f"{i}", int(i >= count // 2), float(s)) for i, s in enumerate(scores)]


def test_video_measures_are_those_of_the_scores() -> None:
    results = drawn()
    overall = measure(results).overall
    label = [r.item.label for r in results]
    assert overall.video_auc.value == pytest.approx(roc_auc_score(label, [r.raw for r in results]))
    assert overall.video_auc.low is not None
    assert overall.video_auc.low < overall.video_auc.value < overall.video_auc.high
    assert (overall.real, overall.manipulated, overall.video_auc.count) == (20, 20, 40)


def test_files_without_a_score_are_counted_and_listed_and_enter_no_measure() -> None:
    results = drawn()
    with_lost = measure([*results, make_result("lost", 1, None), make_result("gone", 0, None)])
    assert with_lost.overall == measure(results).overall
    assert [r.item.name for r in with_lost.unscored] == ["lost", "gone"]
    assert with_lost.outcomes[1, Outcome.NO_FACE] == 1


def _frame(
    name: str, video: str, label: int, score: float, kind: MediaKind = MediaKind.PICTURE
) -> ItemResult:
    alone = make_result(name, label, score)
    return replace(alone, kind=kind, item=replace(alone.item, video_id=video))


def _frames_of_two_videos(kind: MediaKind) -> list[ItemResult]:
    """Two real videos and two forged ones; logits are -2, 0 and 2 for 0.119, 0.5 and 0.881."""
    low, high = 1 / (1 + np.exp(2.0)), 1 / (1 + np.exp(-2.0))
    return [
        _frame("a1", "a", 0, low, kind), _frame("a2", "a", 0, high, kind), _frame("a3", "a", 0, low, kind),
        _frame("b1", "b", 0, 0.3, kind),
        _frame("a4", "a", 1, 0.5, kind), _frame("a5", "a", 1, high, kind),
        _frame("c1", "c", 1, low, kind), _frame("c2", "c", 1, high, kind),
    ]  # fmt: skip


def test_pictures_of_one_video_and_label_are_one_entry_of_its_figures() -> None:
    evaluation = measure(_frames_of_two_videos(MediaKind.PICTURE))
    overall = evaluation.overall
    # Mean logits: real a -2/3 and b -0.85, forged a 1 and c 0.
    assert (overall.video_auc.value, overall.video_auc.count) == (1.0, 4)
    assert (overall.tpr_at_fpr_10.value, overall.eer.value) == (1.0, 0.0)
    assert evaluation.roc is not None
    assert evaluation.roc.area() == 1.0
    assert overall.frame_auc.count == 8  # frames stay single, and so do files
    assert (overall.real, overall.manipulated) == (4, 4)
    joined = 1 / (1 + np.exp([2 / 3, -np.log(0.3 / 0.7), -1, 0]))
    assert overall.ece.count == 4
    assert overall.ece.value == pytest.approx(np.abs(joined - [0, 0, 1, 1]).mean())  # a bin for each


def test_the_headline_counts_videos_where_their_pictures_were_joined() -> None:
    found = headline(measure(_frames_of_two_videos(MediaKind.PICTURE)))
    assert found.startswith(
        "Of 4 manipulated and 4 real files with a score (4 videos), a manipulated video scores above a real "
        "one in 1.000 of cases"
    )
    assert headline(measure(_frames_of_two_videos(MediaKind.VIDEO))).startswith(
        "Of 4 manipulated and 4 real files with a score, a manipulated video scores above a real one in "
    )


@pytest.mark.parametrize("column", ["method", "subset", "compression"])
def test_two_forgeries_of_one_recording_are_two_videos(column: str) -> None:
    """Sets of forgeries give all of a recording its id, whatever they were made and encoded by."""
    results = [_frame("r1", "one", 0, 0.3), _frame("r2", "two", 0, 0.6)]
    for value, score in (("A", 0.9), ("B", 0.1)):
        forged = _frame(value, "000_003", 1, score)
        results.append(replace(forged, item=replace(forged.item, **{column: value})))
    evaluation = measure(results)
    video = evaluation.overall.video_auc
    assert (video.value, video.count) == (0.5, 4)  # joined they would be one forgery of 0.5
    assert evaluation.roc is not None
    assert evaluation.roc.area() == 0.5
    assert evaluation.overall.tpr_at_fpr_10.value == 0.5  # 0.9 lies above all real ones, 0.5 would not


def test_files_of_videos_stay_single() -> None:
    overall = measure(_frames_of_two_videos(MediaKind.VIDEO)).overall
    label, score = [0, 0, 0, 0, 1, 1, 1, 1], [0, 2, 0, 0.5, 1, 2, 0, 2]
    assert overall.video_auc.value == pytest.approx(roc_auc_score(label, score))
    assert overall.video_auc.count == 8


def test_the_mean_of_logits_is_no_mean_of_scores() -> None:
    results = [
        _frame("a", "a", 0, 0.6),
        _frame("b1", "b", 1, 0.999),  # mean score 0.555 < 0.6, mean logit that of 0.92
        _frame("b2", "b", 1, 0.111),
    ]
    assert measure(results).overall.video_auc.value == 1.0


def test_a_picture_alone_keeps_its_very_score() -> None:
    results = [_frame(f"{i}", f"{i}", r.item.label, r.raw or 0.0) for i, r in enumerate(drawn())]
    assert measure(results).overall == measure(drawn()).overall


def test_frames_take_the_label_of_their_file() -> None:
    results = [
        make_result("a", 0, 0.2, frames=(0.1, 0.9)),
        make_result("b", 1, 0.8, frames=(0.95, 0.99, 0.5)),
    ]
    frame_auc = measure(results).overall.frame_auc
    assert frame_auc.value == pytest.approx(roc_auc_score([0, 0, 1, 1, 1], [0.1, 0.9, 0.95, 0.99, 0.5]))
    assert frame_auc.count == 5


def test_calibrated_scores_are_used_where_there_are_any() -> None:
    results = [make_result("a", 0, 0.9, calibrated=0.1), make_result("b", 1, 0.1, calibrated=0.9)]
    assert measure(results).overall.video_auc.value == 1.0


def test_method_is_compared_with_the_real_files_beside_it() -> None:
    results = [
        make_result("r1", 0, 0.5, subset="one"),
        make_result("r2", 0, 0.9, subset="two"),
        make_result("f1", 1, 0.6, subset="one", method="swap"),
        make_result("f2", 1, 0.7, subset="three", method="paint"),
    ]
    groups = {(g.by, g.name): g.measures for g in measure(results).groups}
    assert groups["method", "swap"].video_auc.value == 1.0
    assert groups["method", "swap"].real == 1
    assert groups["method", "paint"].real == 2  # no real file beside it: all of them
    assert groups["method", "paint"].video_auc.value == 0.5
    assert groups["subset", "two"].video_auc.value is None
    assert ("compression", "") not in groups


def test_one_method_has_its_own_figures_where_real_files_of_other_subsets_are_there_too() -> None:
    results = [
        make_result("r1", 0, 0.5, subset="one"),
        make_result("r2", 0, 0.9, subset="two"),
        make_result("f1", 1, 0.6, subset="one", method="swap"),
    ]
    evaluation = measure(results)
    assert evaluation.overall.video_auc.value == 0.5
    groups = {(g.by, g.name): g.measures for g in evaluation.groups}
    assert groups["method", "swap"].video_auc.value == 1.0


def test_groups_that_are_all_there_is_are_not_told_twice() -> None:
    results = [
        make_result("r1", 0, 0.5, subset="one"),
        make_result("f1", 1, 0.6, subset="one", method="swap"),
    ]
    assert measure(results).groups == ()
    beside = [*results, make_result("r2", 0, 0.7)]  # of no subset
    assert [(g.by, g.name) for g in measure(beside).groups] == [("method", "swap"), ("subset", "one")]


def test_pairs_and_overlaps_are_measured_where_they_exist() -> None:
    results = [
        make_result("r1", 0, 0.5, pair="1"),
        make_result("f1", 1, 0.6, pair="1", overlaps=(0.4, 0.6)),
        make_result("r2", 0, 0.5, pair="2"),
        make_result("f2", 1, 0.4, pair="2", overlaps=(0.8,)),
    ]
    overall = measure(results).overall
    assert overall.pair_accuracy.value == 0.5
    assert overall.patch_iou.value == pytest.approx((0.5 + 0.8) / 2)
    assert (overall.pair_accuracy.count, overall.patch_iou.count) == (2, 2)
    assert measure(drawn()).overall.patch_iou.value is None


def test_thresholds_are_told_with_what_reaches_them() -> None:
    results = [make_result(f"r{i}", 0, i / 10) for i in range(10)] + [make_result("f", 1, 0.95)]
    points = measure(results, (Threshold(0.05, 0.8, 0.1, 5, 100, True),)).points
    assert [(p.threshold, p.real_above, p.real, p.manipulated_above) for p in points] == [
        (0.8, 2, 10, 1),
        (0.3, 7, 10, 1),
        (0.7, 3, 10, 1),
    ]
    assert points[0].fpr_upper == pytest.approx(0.5069, abs=1e-3)  # Clopper-Pearson, 2 of 10


def test_scatter_of_real_tracks_is_told_once_there_are_enough() -> None:
    random = np.random.default_rng(3)
    real = [
        replace(
            make_result(f"r{i}", 0, 0.5),
            track_logits=(float(random.normal(0, 1.2)),),
            window_gaps=tuple(random.normal(0, 0.5, 20).tolist()),
        )
        for i in range(400)
    ]
    tails = measure([*real, replace(make_result("f", 1, 0.5), track_logits=(50.0,))]).tails
    assert tails.track_scale.value == pytest.approx(0.6, abs=0.05)
    assert tails.window_scale.value == pytest.approx(0.25, abs=0.01)
    assert tails.track_scale.low < 0.6 < tails.track_scale.high
    assert tails.track_scale.high - tails.track_scale.low == pytest.approx(
        0.08, abs=0.02
    )  # 4 * 0.6 / sqrt(800)
    assert (tails.track_scale.count, tails.window_scale.count) == (400, 8000)
    assert measure(real[:19]).tails.track_scale.value is None


def test_nothing_scored_measures_nothing() -> None:
    evaluation = measure([make_result("a", 0, None), make_result("b", 1, None)])
    assert evaluation.roc is None
    assert evaluation.overall.video_auc.value is None
    assert evaluation.points[0].fpr_upper is None
