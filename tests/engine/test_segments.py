"""Spans over time: what stands out, what was not scored, and for how much time a sample stands."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.evidence import MissingSample
from engine.regions import REGIONS
from engine.results import EvidenceReason, FaceRegion, FrameScore, SegmentKind
from engine.segments import SegmentParams, find_suspicious, name_regions, sample_cells
from tests.engine.made_evidence import BOX, make_evidence


def suspicious(logit: list[float], shares: np.ndarray | None = None) -> list[tuple[int, int]]:
    evidence = make_evidence({0: logit})
    scores = 1 / (1 + np.exp(-np.array(logit)))
    frames = [
        FrameScore(int(t), BOX, float(s), 0.0, 0.0, None)
        for t, s in zip(evidence.pts_us, scores, strict=True)
    ]
    cells = sample_cells(evidence, len(logit) * 1_000_000)
    columns = np.zeros((len(logit), len(REGIONS))) if shares is None else shares
    found = find_suspicious(0, frames, np.array(logit), columns, cells, SegmentParams())
    assert all(s.kind is SegmentKind.SUSPICIOUS and s.track == 0 for s in found)
    return [(s.start_us // 1_000_000, s.end_us // 1_000_000) for s in found]


def test_forged_span_is_found_with_its_ends() -> None:
    assert suspicious([-3.0] * 6 + [3.0] * 8 + [-3.0] * 6) == [(6, 14)]


def test_single_wild_frames_are_no_span() -> None:
    assert suspicious([-3.0, -3, 8, -3, -3, -3, 8, -3]) == []
    assert suspicious([8.0, -3, -3, -3, 8.0]) == []


def test_score_that_wavers_between_the_levels_does_not_cut_a_span() -> None:
    assert suspicious([-3.0] * 3 + [2, 2, 2, 0, 0, 0, 2, 2, 2] + [-3.0] * 3) == [(3, 12)]


def test_score_below_the_upper_level_opens_no_span() -> None:
    assert suspicious([0.3] * 10) == []


def test_two_samples_are_no_span() -> None:
    assert suspicious([3.0, 3.0]) == []


def test_regions_of_a_span_are_named_by_their_share_of_hot_patches() -> None:
    shares = np.zeros(len(REGIONS))
    shares[REGIONS.index(FaceRegion.MOUTH)] = 0.9
    shares[REGIONS.index(FaceRegion.NOSE)] = 0.3
    shares[REGIONS.index(FaceRegion.FOREHEAD)] = 0.1
    assert name_regions(shares, 0.25) == (FaceRegion.MOUTH, FaceRegion.NOSE)


def test_cells_meet_half_way_between_samples() -> None:
    cells = sample_cells(make_evidence({}, times_us=[1_000, 3_000, 4_000]), 10_000)
    assert cells.start_us.tolist() == [0, 2_000, 3_500]
    assert cells.end_us.tolist() == [2_000, 3_500, 10_000]
    assert cells.span(1_000, 3_000) == (0, 3_500)


def test_missing_samples_have_cells_too() -> None:
    evidence = make_evidence({}, times_us=[1_000], missing_us=[3_000])
    assert sample_cells(evidence, 4_000).times_us.tolist() == [1_000, 3_000]


def test_single_sample_stands_for_the_whole_video() -> None:
    cells = sample_cells(make_evidence({}, times_us=[20]), 1_000)
    assert cells.span(20, 20) == (0, 1_000)


@given(st.sets(st.integers(0, 10_000), max_size=30), st.integers(0, 12_000))
def test_cells_tile_the_video(times: set[int], duration_us: int) -> None:
    cells = sample_cells(make_evidence({}, times_us=sorted(times)), duration_us)
    assert (cells.start_us <= cells.end_us).all()
    assert (cells.start_us[1:] == cells.end_us[:-1]).all()
    if times:
        assert cells.start_us[0] == 0
        assert cells.end_us[-1] == max(duration_us, *times)


def test_levels_of_a_span_are_checked() -> None:
    with pytest.raises(ValueError, match="ends below"):
        SegmentParams(enter=0.3, leave=0.6)
    with pytest.raises(ValueError, match="missing sample"):
        MissingSample(-1, EvidenceReason.NOT_DECODED)
