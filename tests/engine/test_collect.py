"""Crops wait for full batches, and what was found becomes evidence without loss."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.collect import CropQueue, EvidenceCollector
from engine.decode import DecodeReport, MissingFrame, SampledFrames
from engine.faces.align import FaceBatch
from engine.faces.track import FaceTracks
from engine.predict import FramePredictions
from engine.results import EvidenceReason, MediaWarning
from tests.engine.made_evidence import view_scenes
from tests.engine.output.made_results import make_probe

SIDE, GRID = 8, 3


def batch_of(numbers: list[int]) -> FaceBatch:
    """Crops that carry their number as their colour."""
    count = len(numbers)
    crops = np.zeros((count, 3, SIDE, SIDE), np.uint8)
    crops[:] = np.array(numbers, np.uint8)[:, None, None, None]
    column = np.array(numbers, np.int64)
    return FaceBatch(crops, column, column * 1000, np.zeros((count, 2, 3), np.float32), column)


@given(st.lists(st.integers(0, 12), max_size=20), st.integers(1, 8))
def test_crops_leave_in_order_and_in_whole_batches(groups: list[int], size: int) -> None:
    queue = CropQueue(size)
    taken: list[int] = []
    start, most_waiting = 0, 0
    for count in groups:
        queue.put(batch_of(list(range(start, start + count))))
        start += count
        if batch := queue.take():
            assert len(batch.crops) % size == 0
            assert (batch.crops[:, 0, 0, 0] == batch.track % 256).all()
            taken += batch.track.tolist()
        most_waiting = max(most_waiting, start - len(taken))
    assert most_waiting < size
    if rest := queue.take_rest():
        taken += rest.track.tolist()
    assert taken == list(range(start))
    assert queue.take_rest() is None


def group_of(times_us: list[int], shade: int = 90) -> SampledFrames:
    rgb = np.full((len(times_us), 36, 64, 3), shade, np.uint8)
    times = np.array(times_us, np.int64)
    return SampledFrames(rgb, times, times)


def tracks_of(exclude: list[EvidenceReason | None], **changes: object) -> FaceTracks:
    """One face in each frame of a group, all of track 0."""
    count = len(exclude)
    values = np.arange(count, dtype=np.float32)
    tracks = FaceTracks(
        frame=np.arange(count, dtype=np.int64),
        track=np.zeros(count, np.int64),
        boxes=np.tile(np.array([0.1, 0.1, 0.3, 0.5], np.float32), (count, 1)),
        confidence=np.ones(count, np.float32),
        landmarks=np.full((count, 5, 2), 0.3, np.float32),
        size_px=values + 60,
        sharpness=values + 100,
        brightness=values + 120,
        yaw=values,
        pitch=values,
        roll=values,
        visible=np.ones(count, np.float32),
        exclude=tuple(exclude),
    )
    return replace(tracks, **changes)


def report_of(decoded: int, missing: tuple[MissingFrame, ...] = ()) -> DecodeReport:
    return DecodeReport(decoded + len(missing), decoded, missing, (), 0, 1.0)


def predictions(logits: list[float]) -> FramePredictions:
    patches = np.arange(len(logits) * GRID * GRID, dtype=np.uint8).reshape(-1, GRID, GRID) + 1
    return FramePredictions(np.array(logits, np.float32), patches)


def test_rows_carry_their_own_answers_and_excluded_ones_none() -> None:
    collector = EvidenceCollector(make_probe(), SIDE, GRID)
    dark = EvidenceReason.TOO_DARK
    collector.add_group(group_of([0, 1000, 2000]), tracks_of([None, dark, None]), batch_of([0, 2]))
    collector.add_group(group_of([3000]), tracks_of([None]), batch_of([3]))
    collector.add_predictions(predictions([1.0, 2.0]))
    collector.add_predictions(predictions([3.0]))
    evidence = collector.build(report_of(4), view_scenes(1, 2))
    assert evidence.logit == pytest.approx([1.0, np.nan, 2.0, 3.0], nan_ok=True)
    assert evidence.exclude == (None, dark, None, None)
    assert evidence.pts_us.tolist() == [0, 1000, 2000, 3000]
    assert evidence.patches[1].sum() == 0
    assert evidence.patches[2, 0, 0] == 10
    assert evidence.size_px.tolist() == [60, 61, 62, 60]
    assert (evidence.requested, evidence.decoded) == (4, 4)
    assert collector.faces == 4


def test_a_missing_answer_is_an_error_not_a_shift() -> None:
    collector = EvidenceCollector(make_probe(), SIDE, GRID)
    collector.add_group(group_of([0, 1000]), tracks_of([None, None]), batch_of([0, 1]))
    collector.add_predictions(predictions([1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match="NumPy boolean array indexing"):
        collector.build(report_of(2))


def test_a_network_without_patch_maps_is_refused_not_shown_as_cold() -> None:
    collector = EvidenceCollector(make_probe(), SIDE, GRID)
    with pytest.raises(ValueError, match="triage"):
        collector.add_predictions(replace(predictions([1.0]), patches=None))


def test_frames_without_a_face_are_samples_too() -> None:
    collector = EvidenceCollector(make_probe(), SIDE, GRID)
    missing = (MissingFrame(5000, EvidenceReason.NOT_DECODED, "cut off"),)
    collector.add_group(group_of([0, 1000]), tracks_of([]), batch_of([]))
    evidence = collector.build(report_of(2, missing), view_scenes(1, 2))
    assert evidence.samples_us.tolist() == [0, 1000]
    assert evidence.faces_per_sample.tolist() == [0, 0]
    assert [(item.pts_us, item.detail) for item in evidence.missing] == [(5000, "cut off")]
    assert (evidence.requested, evidence.decoded) == (3, 2)


def test_faces_beyond_the_detectors_limit_are_counted_and_told() -> None:
    collector = EvidenceCollector(make_probe(), SIDE, GRID)
    collector.add_group(group_of([0, 1000]), tracks_of([None, None], capped=(0, 6)), batch_of([0, 1]))
    collector.add_predictions(predictions([1.0, 2.0]))
    evidence = collector.build(report_of(2), view_scenes(1, 2))
    assert evidence.faces_per_sample.tolist() == [1, 7]
    assert MediaWarning.FACE_CAP in evidence.warnings


@pytest.mark.parametrize(
    ("shades", "is_still"), [((90, 90, 91), True), ((90, 90, 110), False), ((90,), False)]
)
def test_a_picture_that_never_changes_is_told(shades: tuple[int, ...], is_still: bool) -> None:
    collector = EvidenceCollector(make_probe(warnings=[MediaWarning.HDR]), SIDE, GRID)
    for place, shade in enumerate(shades):
        collector.add_group(group_of([place * 1000], shade), tracks_of([]), batch_of([]))
    warnings = collector.build(report_of(len(shades)), view_scenes(1, 1)).warnings
    assert (MediaWarning.STATIC_IMAGE in warnings) is is_still
    assert MediaWarning.HDR in warnings
