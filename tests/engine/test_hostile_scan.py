"""Bad files whose answer is the outcome of a whole scan: what is not scored is said, and why."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from engine.arrays import F32, U8
from engine.bundle import GRAPH, WEIGHTS, ModelBundle
from engine.faces.detect import load_detector
from engine.output.document import build_document, dump_document
from engine.results import EvidenceReason, MediaWarning, Outcome, RejectReason
from engine.sandbox.handle import Sandbox
from engine.scan_result import ScanResult
from engine.screen import ScanTools, scan_video
from tests.documents import check_document
from tests.hostile import shared_corpus
from tests.hostile_recipes.watching import DeedsOfThisProcess

SIDE, GRID = 64, 4
BUNDLE = ModelBundle(
    Path("shades"), "shades", "lv-compact", SIDE, GRID, False, {WEIGHTS: "0" * 64, GRAPH: "1" * 64}
)


class ShadeBackend:
    """Takes dark faces for forged ones: quick, and two faces get two scores."""

    name, precision, input_size, grid, ladder = "shades", "f32", SIDE, GRID, (64, 1)

    def infer(self, crops: U8) -> tuple[F32, F32]:
        shade = 2 - crops.mean((1, 2, 3)) / 50
        logits = np.stack([np.zeros_like(shade), shade], axis=1).astype(np.float32)
        return logits, np.broadcast_to(logits[:, :, None, None], (*logits.shape, GRID, GRID)).copy()


@pytest.fixture(scope="module")
def tools() -> Iterator[ScanTools]:
    with Sandbox.start() as sandbox:
        yield ScanTools(BUNDLE, ShadeBackend(), load_detector(threads=1), sandbox)


@pytest.fixture(scope="module")
def scan(tools: ScanTools):
    """Scan the file of a row, once; what is said of it follows the schema, and nothing else is opened."""

    deeds = DeedsOfThisProcess()

    @cache
    def scanned(row: str) -> ScanResult:
        path = shared_corpus().file(row)
        with deeds.watch() as seen:
            result = scan_video(path, tools)
        assert seen == {("open", str(path))}
        check_document(json.loads(dump_document(build_document(result))))
        return result

    return scanned


E, W = EvidenceReason, MediaWarning

# Row, outcome, reasons of the video, warnings of the file.
OUTCOMES = (
    ("F10", Outcome.NO_FACE, {E.NO_FACE, E.PARTIAL_DECODE}, {W.CORRUPT_FRAMES}),
    ("F10b", Outcome.PARTIALLY_SCORED, {E.PARTIAL_DECODE}, {W.CORRUPT_FRAMES}),
    ("F12b", Outcome.PARTIALLY_SCORED, {E.PARTIAL_DECODE}, {W.CORRUPT_FRAMES}),
    ("F15", Outcome.INSUFFICIENT_EVIDENCE, {E.TOO_FEW_FRAMES}, set()),
    ("F17", Outcome.NO_FACE, {E.NO_FACE}, set()),
    ("F18", Outcome.NO_FACE, {E.NO_FACE}, {W.STATIC_IMAGE}),
    ("F20", Outcome.NO_FACE, {E.NO_FACE}, set()),
    ("F23", Outcome.NO_FACE, {E.NO_FACE, E.PARTIAL_DECODE}, {W.RESOLUTION_CHANGE, W.STATIC_IMAGE}),
    ("F30", Outcome.SCORED, set(), set()),
    ("F56", Outcome.INSUFFICIENT_EVIDENCE, {E.FACE_TOO_SMALL, E.FACE_CAP}, {W.FACE_CAP, W.STATIC_IMAGE}),
    ("F57", Outcome.INSUFFICIENT_EVIDENCE, {E.FACE_TOO_SMALL}, set()),
    ("F58", Outcome.INSUFFICIENT_EVIDENCE, {E.TOO_BLURRED}, set()),
    ("F59", Outcome.SCORED, set(), set()),
    ("F60", Outcome.INSUFFICIENT_EVIDENCE, {E.TOO_FEW_FRAMES}, set()),
    ("F62", Outcome.SCORED, {E.STATIC_IMAGE}, {W.STATIC_IMAGE}),
)


@pytest.mark.parametrize(
    ("row", "outcome", "reasons", "warnings"), OUTCOMES, ids=[row[0] for row in OUTCOMES]
)
def test_outcome_says_what_was_there_to_score(
    row: str, outcome: Outcome, reasons: set[EvidenceReason], warnings: set[MediaWarning], scan
) -> None:
    result = scan(row)
    assert result.outcome is outcome
    assert set(result.score.reasons) == reasons
    assert set(result.evidence.warnings) == warnings
    assert (result.score.raw is None) == (result.verdict.value is None) == (not outcome.has_score)


@pytest.mark.parametrize("row", ["F01", "F05", "F12", "F21", "F66", "F72e"])
def test_refused_file_is_a_result_with_a_fault_and_no_score(row: str, scan) -> None:
    result = scan(row)
    assert result.outcome is Outcome.UNSCORABLE
    assert isinstance(result.fault.reason, RejectReason)
    assert result.score is None
    assert result.verdict is None


def test_half_a_file_is_covered_by_half(scan) -> None:
    coverage = scan("F10b").score.coverage
    assert coverage.frames_decoded == 16
    assert 0.4 < coverage.ratio < 0.55


def test_turned_video_is_searched_upright(scan) -> None:
    result = scan("F30")
    assert (result.probe.width, result.probe.height, result.probe.rotation) == (480, 360, 90)
    assert result.score.coverage.faces_scored == 32
    left, top, width, height = result.score.tracks[0].frames[0].box
    assert 0.2 < left < left + width < 0.6  # the head stands left of the middle, as it was drawn
    assert 0.1 < top < top + height < 0.7


def test_crowd_keeps_64_faces_a_frame_and_says_so(scan) -> None:
    evidence = scan("F56").evidence
    rejected = dict(scan("F56").score.coverage.faces_rejected)
    assert all(count > 150 for count in evidence.faces_per_sample)
    assert len(evidence.track) == 2 * 64
    assert rejected[E.FACE_CAP] == sum(evidence.faces_per_sample) - 2 * 64


def test_company_is_followed_in_20_tracks_and_the_rest_is_named(scan) -> None:
    result = scan("F56b")
    rejected = dict(result.score.coverage.faces_rejected)
    assert result.score.coverage.faces_scored == 2 * 20
    assert rejected[E.FACE_CAP] > 0
    assert E.FACE_CAP in result.score.reasons


def test_three_people_have_three_scores_and_the_darkened_one_stands_out(scan) -> None:
    tracks = scan("F59").score.tracks
    assert [len(track.frames) for track in tracks] == [32, 32, 32]
    by_place = sorted(tracks, key=lambda track: track.frames[0].box[0])
    left, altered, right = (track.score for track in by_place)
    assert altered > max(left, right)
    assert scan("F59").score.peak_track == by_place[1].ordinal


def test_face_that_is_there_for_the_last_second_is_found(scan) -> None:
    tracks = scan("F60").score.tracks
    assert len(tracks) == 1
    assert tracks[0].start_us >= 18_000_000
    assert {E.TOO_FEW_FRAMES} == set(tracks[0].reasons)


def test_no_track_runs_over_a_cut(scan) -> None:
    result = scan("F61")
    assert result.outcome is Outcome.INSUFFICIENT_EVIDENCE
    assert len(result.evidence.cuts_us) == 31  # between each two of 32 samples
    assert {len(track.frames) for track in result.score.tracks} == {1}
    assert len(result.score.tracks) >= 32
