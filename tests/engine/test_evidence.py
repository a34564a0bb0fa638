"""Evidence checks itself, survives the way through bytes, and joins over shards."""

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.evidence import (
    COLUMNS,
    PREFIX,
    EvidenceInvalid,
    MissingSample,
    ShardEvidence,
    merge_shards,
)
from engine.faces.shots import VIEW_SIZE
from engine.results import EvidenceReason, MediaWarning
from tests.engine.made_evidence import GRID, make_evidence, view_scenes

BLURRED = EvidenceReason.TOO_BLURRED


def full_evidence() -> ShardEvidence:
    hot = np.full((GRID, GRID), 200, np.uint8)
    return make_evidence(
        {0: [1.5, BLURRED, -2.0], 3: [None, 0.25, 0.5]},
        patches={(0, 0): hot, (3, 1): hot // 2},
        missing_us=[3_500_000],
        cuts_us=[1_500_000],
        warnings=[MediaWarning.HDR, MediaWarning.VARIABLE_RATE],
        extra_faces=2,
    )


def assert_same(left: ShardEvidence, right: ShardEvidence) -> None:
    for name, _, _ in COLUMNS:
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)
    for name in ("exclude", "cuts_us", "missing", "warnings", "requested", "decoded", "crop_size"):
        assert getattr(left, name) == getattr(right, name), name
    assert (left.frame_width, left.frame_height) == (right.frame_width, right.frame_height)


def test_evidence_survives_the_way_through_bytes() -> None:
    evidence = full_evidence()
    assert_same(ShardEvidence.from_bytes(evidence.to_bytes()), evidence)


def test_empty_evidence_survives_the_way_through_bytes() -> None:
    evidence = make_evidence({}, times_us=[0, 1_000_000])
    assert_same(ShardEvidence.from_bytes(evidence.to_bytes()), evidence)


def test_same_evidence_gives_the_same_bytes() -> None:
    assert full_evidence().to_bytes() == full_evidence().to_bytes()


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(EvidenceInvalid):
        ShardEvidence.from_bytes(data)


@given(st.data())
def test_any_altered_byte_is_noticed(data: st.DataObject) -> None:
    raw = bytearray(full_evidence().to_bytes())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(EvidenceInvalid):
        ShardEvidence.from_bytes(bytes(raw))


@given(st.integers(0, 600))
def test_cut_bytes_are_refused(kept: int) -> None:
    raw = full_evidence().to_bytes()
    with pytest.raises(EvidenceInvalid):
        ShardEvidence.from_bytes(raw[: min(kept, len(raw) - 1)])


@pytest.mark.parametrize("version", [1, 9])  # version 1 did not say what its borders show
def test_another_version_is_named(version: int) -> None:
    raw = bytearray(full_evidence().to_bytes())
    struct.pack_into("<H", raw, 4, version)
    with pytest.raises(EvidenceInvalid, match=f"version {version}"):
        ShardEvidence.from_bytes(bytes(raw))


def reframe(head: bytes, columns: bytes) -> bytes:
    body = head + zlib.compress(columns)
    return PREFIX.pack(b"FSEV", 2, 0, len(head), zlib.crc32(body)) + body


def header_of(evidence: ShardEvidence) -> bytes:
    raw = evidence.to_bytes()
    length = PREFIX.unpack_from(raw)[3]
    return raw[PREFIX.size : PREFIX.size + length]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"rows":5', b'"rows":6'),
        (b'"rows":5', b'"rows":-1'),
        (b'"rows":5', b'"rows":99999999999'),
        (b'"rows":5', b'"rows":5.0'),
        (b'"hdr"', b'"red"'),
        (b'"decoded":3', b'"undecoded":3'),
        (b'"decoded":3', b'"decoded":77'),
    ],
)
def test_inconsistent_header_with_a_good_checksum_is_refused(old: bytes, new: bytes) -> None:
    evidence = full_evidence()
    columns = b"".join(getattr(evidence, name).tobytes() for name, _, _ in COLUMNS)
    assert_same(ShardEvidence.from_bytes(reframe(header_of(evidence), columns)), evidence)
    head = header_of(evidence)
    assert old in head
    with pytest.raises(EvidenceInvalid):
        ShardEvidence.from_bytes(reframe(head.replace(old, new), columns))


def test_packed_bytes_cannot_grow_beyond_what_the_header_says() -> None:
    bomb = reframe(header_of(full_evidence()), bytes(200_000_000))
    assert len(bomb) < 300_000
    with pytest.raises(EvidenceInvalid, match="length"):
        ShardEvidence.from_bytes(bomb)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"logit": np.zeros(5, np.float32)}, "logit or a reason"),
        ({"logit": np.zeros(5)}, "float64"),
        ({"track": np.array([0, 0, 3, 0, 0])}, "two faces in one sample"),
        ({"track": np.array([-1, 0, 3, 0, 3])}, "belongs to a track"),
        ({"pts_us": np.array([500_000, 1_500_000, 1_500_000, 2_500_000, 2_600_000])}, "nothing was decoded"),
        ({"samples_us": np.array([2_500_000, 1_500_000, 500_000])}, "in which|nothing|increase"),
        ({"patches": np.ones((5, GRID, GRID), np.uint8)}, "without a logit has a patch map"),
        ({"patches": np.zeros((5, GRID, GRID + 1), np.uint8)}, "uint8"),
        ({"faces_per_sample": np.array([0, 2, 2])}, "more faces"),
        ({"requested": 2}, "do not increase"),
        ({"cuts_us": (5, 5)}, "cuts"),
        ({"exclude": (None,)}, "reasons for 5 faces"),
        ({"crop_size": 0}, "positive"),
        ({"border_views": np.zeros((1, VIEW_SIZE), np.uint8)}, "border_views"),
        ({"border_views": np.zeros((0, VIEW_SIZE), np.uint8)}, "border_views"),
    ],
)
def test_evidence_that_contradicts_itself_cannot_be_made(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(full_evidence(), **change)


def test_merged_shards_keep_their_tracks_apart_without_links() -> None:
    first = make_evidence({0: [1.0, 1.0], 1: [2.0, 2.0]}, times_us=[0, 1_000_000])
    second = make_evidence({0: [3.0, 3.0]}, times_us=[2_000_000, 3_000_000])
    merged = merge_shards([first, second])
    assert merged.track.tolist() == [0, 1, 0, 1, 2, 2]
    assert merged.logit.tolist() == [1, 2, 1, 2, 3, 3]
    assert (merged.requested, merged.decoded) == (4, 4)


def test_links_join_a_face_over_the_border_of_shards() -> None:
    first = make_evidence({0: [1.0], 1: [2.0]}, times_us=[0])
    second = make_evidence({0: [3.0], 1: [4.0]}, times_us=[1_000_000])
    links = [np.array([0, 1]), np.array([1, 2])]
    assert merge_shards([first, second], links).track.tolist() == [0, 1, 1, 2]


def test_untracked_faces_stay_untracked_when_shards_are_merged() -> None:
    lost = make_evidence({-1: [EvidenceReason.FACE_CAP], 0: [1.0]}, times_us=[0])
    other = make_evidence({0: [1.0]}, times_us=[1_000_000])
    assert merge_shards([other, replace_times(lost, 2_000_000)]).track.tolist() == [0, -1, 1]


def replace_times(evidence: ShardEvidence, shift: int) -> ShardEvidence:
    return replace(
        evidence,
        pts_us=evidence.pts_us + shift,
        samples_us=evidence.samples_us + shift,
        missing=tuple(MissingSample(m.pts_us + shift, m.reason) for m in evidence.missing),
        cuts_us=tuple(cut + shift for cut in evidence.cuts_us),
    )


def test_merging_adds_up_what_is_missing_and_warned_of() -> None:
    first = make_evidence({0: [1.0]}, times_us=[0], missing_us=[1], warnings=[MediaWarning.HDR])
    second = make_evidence({0: [1.0]}, times_us=[9], cuts_us=[9], warnings=[MediaWarning.HDR], views=(2, 2))
    merged = merge_shards([first, second])
    assert [item.pts_us for item in merged.missing] == [1]
    assert merged.warnings == (MediaWarning.HDR,)
    assert merged.cuts_us == (9,)
    assert (merged.requested, merged.decoded) == (3, 2)


def test_a_video_is_a_still_only_if_all_of_its_shards_are() -> None:
    still = make_still(0)
    moving = make_evidence({0: [1.0, 1.0]}, times_us=[9, 10])
    assert merge_shards([still, moving]).warnings == ()
    assert merge_shards([still, make_still(9)]).warnings == (MediaWarning.STATIC_IMAGE,)


def test_a_shard_of_one_sample_or_none_takes_no_still_away() -> None:
    single, lost = make_evidence({0: [1.0]}, times_us=[9]), make_evidence({}, missing_us=[9])
    assert merge_shards([make_still(0), single]).warnings == (MediaWarning.STATIC_IMAGE,)
    assert merge_shards([make_still(0), lost]).warnings == (MediaWarning.STATIC_IMAGE,)
    assert merge_shards([make_evidence({}, times_us=[0]), lost]).warnings == ()


def test_two_stills_one_after_the_other_are_no_still() -> None:
    assert merge_shards([make_still(0), make_still(9, scene=2)]).warnings == ()


def make_still(start_us: int, scene: int = 1) -> ShardEvidence:
    times, still = [start_us, start_us + 1], [MediaWarning.STATIC_IMAGE]
    return make_evidence({0: [1.0, 1.0]}, times_us=times, warnings=still, views=(scene, scene))


def test_a_cut_exactly_at_the_border_of_shards_is_found() -> None:
    first = make_evidence({0: [1.0]}, times_us=[0], views=(1, 1))
    lost = make_evidence({}, missing_us=[5])
    other = make_evidence({0: [1.0]}, times_us=[9], views=(2, 3))
    last = make_evidence({0: [1.0]}, times_us=[20], views=(3, 3))
    merged = merge_shards([first, lost, other, last])
    assert merged.cuts_us == (9,)
    np.testing.assert_array_equal(merged.border_views, view_scenes(1, 3))


def test_shards_out_of_order_or_of_other_pipelines_do_not_merge() -> None:
    first = make_evidence({0: [1.0]}, times_us=[0])
    second = make_evidence({0: [1.0]}, times_us=[9])
    with pytest.raises(ValueError, match="order of time"):
        merge_shards([second, first])
    with pytest.raises(ValueError, match="size of frame or crop"):
        merge_shards([first, replace(second, crop_size=299)])
    with pytest.raises(ValueError, match="grid"):
        merge_shards([first, replace(second, patches=np.zeros((1, 19, 19), np.uint8))])
    with pytest.raises(ValueError, match="no ordinal"):
        merge_shards([first, second], [np.array([0]), np.array([], np.int64)])
