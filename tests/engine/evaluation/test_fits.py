"""What a labelled set gives a model to keep."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.aggregate import sigmoid
from engine.calibrate import to_logit
from engine.container import MediaKind
from engine.evaluation.files import fits_form
from engine.evaluation.fits import Fits, FitsUnusable, fit_model, read_fits
from engine.evaluation.measures import ItemResult
from engine.policy import choose_policy
from tests.engine.evaluation.test_measures import make_result


def draw_results(real: int, manipulated: int) -> list[ItemResult]:
    random = np.random.default_rng(2)
    logit = np.concatenate([random.normal(-1, 1, real), random.normal(1, 1, manipulated)])
    label = np.repeat([0, 1], [real, manipulated])
    scores = 1 / (1 + np.exp(-logit))
    return [make_result(str(i), int(k), float(s)) for i, (k, s) in enumerate(zip(label, scores, strict=True))]


def test_calibration_and_its_thresholds_are_fitted_together() -> None:
    results = draw_results(1500, 500)
    fits = fit_model(results, "drawn")
    assert fits.calibration is not None
    assert fits.calibration.slope == pytest.approx(2, abs=0.3)  # of two normals 2 apart, deviation 1
    assert fits.calibration.fitted_on == "drawn"
    assert [t.fpr_target for t in fits.thresholds] == [0.10, 0.05, 0.01]
    real = to_logit(np.array([r.raw for r in results if r.item.label == 0]))
    for threshold in fits.thresholds:
        above = (fits.calibration.apply(real) >= threshold.threshold).mean()
        assert above == pytest.approx(threshold.fpr_target, abs=0.001)
        assert not threshold.extrapolated
    assert choose_policy("drawn", fits.thresholds).name == "drawn"
    assert fits.refusals == ()


def test_real_files_alone_give_thresholds_on_raw_scores() -> None:
    fits = fit_model(draw_results(200, 0), "real only")
    assert fits.calibration is None
    assert len(fits.thresholds) == 3
    assert [t.extrapolated for t in fits.thresholds] == [False, False, True]
    assert "no calibration: 200 videos with 0 of the rarer kind" in fits.refusals[0]


def test_frames_of_one_video_are_no_new_evidence() -> None:
    videos = draw_results(200, 100)
    frames = [
        replace(video, kind=MediaKind.PICTURE, raw=float(sigmoid(to_logit(np.array([video.raw]))[0] + shift)))
        for video in videos
        for shift in (-1.5, 0.0, 1.5)
    ]
    alone, joined = fit_model(videos, "drawn"), fit_model(frames, "drawn")
    assert joined.calibration is not None
    assert alone.calibration is not None
    assert joined.calibration.count == 300
    assert joined.calibration.slope == pytest.approx(alone.calibration.slope, rel=1e-3)
    assert [t.count for t in joined.thresholds] == [200, 200, 200]


def test_too_few_files_give_nothing_and_say_so() -> None:
    fits = fit_model(draw_results(10, 5), "few")
    assert (fits.calibration, fits.thresholds) == (None, ())
    assert len(fits.refusals) == 4


def write_metrics(path: Path, fits: Fits) -> Path:
    path.write_text(json.dumps({"run": {"weights_sha256": "a" * 64}, "fits": fits_form(fits)}))
    return path


def test_fits_are_read_back_for_the_model_that_was_measured(tmp_path: Path) -> None:
    fits = fit_model(draw_results(1500, 500), "drawn")
    path = write_metrics(tmp_path / "metrics.json", fits)
    assert read_fits(path, "a" * 64) == (fits.calibration, fits.thresholds)
    with pytest.raises(FitsUnusable, match="other weights"):
        read_fits(path, "b" * 64)


@pytest.mark.parametrize("content", [None, "", "[]", '{"run": {}}', '{"run": {"weights_sha256": "x"}}'])
def test_what_is_no_evaluation_gives_no_calibration(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "metrics.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(FitsUnusable):
        read_fits(path, "x")


def test_an_evaluation_without_a_calibration_says_why(tmp_path: Path) -> None:
    path = write_metrics(tmp_path / "metrics.json", fit_model(draw_results(200, 0), "real only"))
    with pytest.raises(FitsUnusable, match="200 videos with 0 of the rarer kind"):
        read_fits(path, "a" * 64)
