"""Between samples a box is interpolated, and a map goes with it only as far as it may."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.evidence import ShardEvidence
from engine.output.paths import HOLD_US, FacePath, move_affine
from engine.results import EvidenceReason
from tests.engine.made_evidence import make_evidence
from tests.engine.output.made_results import finish_result, forged_patches, make_probe
from tests.tolerance import CROP_PX


def moving(spacing_us: int = 1_000_000, cells=(2.0,) * 10) -> ShardEvidence:
    """A face that moves right by a tenth of the picture a sample; samples lie at half a spacing and on."""
    evidence = make_evidence({0: cells}, spacing_us=spacing_us, patches=forged_patches((2.0,) * 10))
    box = evidence.box.copy()
    box[:, 0] = np.arange(len(box)) * 0.1
    return replace(evidence, box=box)


def path_of(evidence: ShardEvidence, duration_us: int = 10_000_000) -> FacePath:
    result = finish_result(evidence, make_probe(duration_us=duration_us))
    return FacePath(result, result.score.tracks[0])


def test_a_sample_has_its_own_box_and_its_map_in_place() -> None:
    state = path_of(moving()).at(2_500_000)
    assert not state.is_between
    assert state.box[0] == pytest.approx(0.2)
    assert state.strength == 1.0
    assert state.shown.to_frame == pytest.approx(moving().to_frame[2])


def test_between_two_samples_the_box_lies_between() -> None:
    state = path_of(moving()).at(3_000_000 - 100_000)
    assert state.is_between
    assert state.box[0] == pytest.approx(0.24)


def test_the_map_moves_with_the_box_and_fades() -> None:
    state = path_of(moving()).at(2_700_000)  # a fifth of the way: 0.02 of 640 px
    assert state.shown.to_frame[0, 2] == pytest.approx(234 + 12.8, abs=CROP_PX)
    assert 0.5 < state.strength < 1.0


def test_far_from_its_sample_a_map_is_not_shown() -> None:
    state = path_of(moving()).at(2_500_000 + HOLD_US + 1)
    assert state.shown is None


def test_close_samples_share_the_time_between_them() -> None:
    path = path_of(moving(spacing_us=200_000), duration_us=2_000_000)
    assert path.at(190_000).sample.pts_us == 100_000
    assert path.at(210_000).sample.pts_us == 300_000


def test_nobody_knows_where_a_face_is_between_distant_samples() -> None:
    path = path_of(moving(spacing_us=8_000_000), duration_us=80_000_000)
    assert path.at(8_000_000) is None
    assert path.at(4_000_000 + HOLD_US).box[0] == 0.0


def test_no_box_is_drawn_across_a_sample_in_which_the_face_was_not_found() -> None:
    path = path_of(moving(cells=(2.0, 2.0, None, *(2.0,) * 7)))
    assert path.at(1_500_000 + HOLD_US).box[0] == pytest.approx(0.1)
    assert path.at(2_500_000) is None
    assert path.at(3_000_000) is None


def test_before_and_after_its_samples_a_face_is_not_drawn() -> None:
    path = path_of(moving())
    assert path.at(0) is None
    assert path.at(9_900_000) is None


def test_an_excluded_face_has_a_box_and_no_map() -> None:
    cells = (2.0,) * 9 + (EvidenceReason.TOO_DARK,)
    state = path_of(moving(cells=cells)).at(9_500_000)
    assert state.sample.exclude_reason is EvidenceReason.TOO_DARK
    assert state.shown is None


boxes = st.tuples(st.floats(0, 500), st.floats(0, 300), st.floats(20, 200), st.floats(20, 200))


@given(boxes, boxes)
def test_a_carried_map_keeps_the_center_of_its_box(
    before: tuple[float, ...], after: tuple[float, ...]
) -> None:
    to_frame = np.array([[0.5, 0, 30], [0, 0.5, 40]], np.float32)
    first, last = np.array(before), np.array(after)
    moved = move_affine(to_frame, first, last).astype(np.float64)
    center = (first[:2] + first[2:] / 2 - to_frame[:, 2]) / 0.5  # in crop pixels
    assert moved[:, :2] @ center + moved[:, 2] == pytest.approx(last[:2] + last[2:] / 2, abs=0.01)
