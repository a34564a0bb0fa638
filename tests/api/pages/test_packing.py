import math
import struct
import zlib
from array import array
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from api.pages.packing import WORST, pack_faces, pack_lanes, pack_regions
from engine.results import EvidenceReason
from fakesieve.records.analyses import TrackMaps
from fakesieve.records.evidence import MapSpan, PlacedFace
from fakesieve.records.score_series import Lane, Lanes, RegionSeries
from tests.factories import make_maps, make_track

ReadLane = tuple[list[float], list[float], bytes]
Row = tuple[int, float | None, EvidenceReason]


def sorted_by_time(rows: list[Row]) -> list[Row]:
    """Return rows in the order of their times, as they are stored."""
    return sorted(rows, key=lambda row: row[0])


def read_times(content: bytes, letters: str) -> tuple[int, list[float], int]:
    """Return the count of blocks, all times, and where the first block begins."""
    seen, version, blocks, count = struct.unpack_from("<4sIII", content)
    assert (seen.decode(), version) == (letters, 2)
    return blocks, list(struct.unpack_from(f"<{count}d", content, 16)), 16 + 8 * count


def read_block(content: bytes, place: int, times: list[float]) -> tuple[int, int, list[float], int]:
    """Return ordinal, form and times of a block, and where its samples begin."""
    assert place % 8 == 0
    ordinal, n, first, form = struct.unpack_from("<IIII", content, place)
    place += 16
    if not form & 1:
        return ordinal, form, times[first : first + n], place
    places = struct.unpack_from(f"<{n}I", content, place)
    return ordinal, form, [times[each] for each in places], place + 4 * n + (-4 * n % 8)


def read_lanes(content: bytes) -> dict[int, ReadLane]:
    """Read lanes as the browser's module does."""
    blocks, times, place = read_times(content, "FSVL")
    lanes = dict[int, ReadLane]()
    for _ in range(blocks):
        ordinal, form, own, place = read_block(content, place, times)
        n, (letter, size) = len(own), ("f", 4) if form & 2 else ("d", 8)
        scores = struct.unpack_from(f"<{n}{letter}", content, place)
        place += size * n + (-size * n % 8)
        reasons = content[place : place + n] if form & 4 else bytes(n)
        lanes[ordinal] = (own, list(scores), reasons)
        place += n + (-n % 8) if form & 4 else 0
    assert place == len(content)
    return lanes


def make_lane(
    times: Sequence[int],
    scores: Sequence[float | None],
    reasons: Sequence[EvidenceReason | None] = (),
) -> Lane:
    """Return a lane of plain numbers."""
    return Lane(
        array("q", times), array("d", (math.nan if each is None else each for each in scores)), reasons
    )


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**53), st.one_of(st.none(), st.floats(0, 1)), st.sampled_from(EvidenceReason)
        ),
        max_size=20,
        unique_by=lambda row: row[0],
    ).map(sorted_by_time)
)
def test_lanes_hold_times_and_scores_to_the_last_bit(rows: list[Row]):
    lane = make_lane(
        [time for time, _, _ in rows],
        [score for _, score, _ in rows],
        [None if score is not None else reason for _, score, reason in rows],
    )
    times, scores, reasons = read_lanes(pack_lanes(Lanes(None, {3: lane})))[3]
    assert times == [float(time) for time, _, _ in rows]
    for (_, score, reason), seen, code in zip(rows, scores, reasons, strict=True):
        assert (seen == score and code == 0) if score is not None else math.isnan(seen)
        assert score is not None or list(EvidenceReason)[code - 1] is reason


def test_the_highest_face_of_each_sample_is_a_lane_of_its_own():
    lanes = read_lanes(
        pack_lanes(Lanes(make_lane([0, 5], [0.25, None]), {0: make_lane([0], [0.25], [None])}))
    )
    assert list(lanes) == [WORST, 0]
    assert lanes[WORST][0] == [0.0, 5.0]
    assert lanes[WORST][1][0] == 0.25
    assert math.isnan(lanes[WORST][1][1])


rising = st.sets(st.integers(0, 50), max_size=20).map(sorted)


@given(st.dictionaries(st.integers(0, 5), rising), st.none() | rising)
def test_faces_that_come_and_go_keep_their_own_times(faces: dict[int, list[int]], highest: list[int] | None):
    lanes = {ordinal: make_lane(times, [time / 64 for time in times]) for ordinal, times in faces.items()}
    top = None if highest is None else make_lane(highest, [None] * len(highest))
    content = pack_lanes(Lanes(top, lanes))
    found = {ordinal: (own, scores) for ordinal, (own, scores, _) in read_lanes(content).items()}
    if highest is not None:
        assert found.pop(WORST)[0] == highest
    assert found == {ordinal: (times, [time / 64 for time in times]) for ordinal, times in faces.items()}
    every = set[int]().union(highest or (), *faces.values())
    assert read_times(content, "FSVL")[1] == sorted(every)


def test_times_that_faces_share_are_sent_once_and_short_scores_as_they_are():
    times = range(0, 1000 * 500_000, 500_000)
    half = make_lane(times[250:750], [0.5] * 500)
    whole = pack_lanes(Lanes(make_lane(times, [0.5] * 1000), dict.fromkeys(range(4), half)))
    assert len(whole) == 16 + 8 * 1000 + (16 + 4 * 1000) + 4 * (16 + 4 * 500)
    fine = 0.1  # which no number of 32 bits is
    assert read_lanes(pack_lanes(Lanes(None, {0: make_lane([7], [fine])})))[0][1] == [fine]


def test_regions_share_their_times_too():
    series = [
        RegionSeries(0, array("q", [5, 7, 9]), bytes(range(21))),
        RegionSeries(2, array("q", [5, 9]), b"z" * 14),
    ]
    content = pack_regions(series)
    blocks, times, place = read_times(content, "FSVR")
    assert (blocks, times) == (2, [5, 7, 9])
    ordinal, _, own, place = read_block(content, place, times)
    assert (ordinal, own, content[place : place + 21]) == (0, [5, 7, 9], bytes(range(21)))
    ordinal, _, own, place = read_block(content, place + 24, times)
    assert (ordinal, own, content[place : place + 14]) == (2, [5, 9], b"z" * 14)


def cut_maps(maps: TrackMaps, first: int) -> MapSpan:
    """Return the maps from a place on, as they are read for a span."""
    numbers = [number for matrix in maps.to_frame[first:] for number in matrix]
    cells = zlib.decompress(maps.packed)[first * maps.grid**2 :]
    return MapSpan(maps.ordinal, maps.grid, maps.crop_size, maps.pts_us[first:], numbers, cells)


def test_faces_carry_the_maps_of_their_own_samples():
    track = make_track()
    maps = make_maps(track)  # of the samples at 0 and 1 s; the one at 2 s has no score
    faces = [PlacedFace(0, pts_us, (0.375, 0.25, 0.125, 0.5)) for pts_us in (1_000_000, 2_000_000)]
    content = pack_faces(faces, [cut_maps(maps, 1)])
    assert content[:4] == b"FSVF"
    assert struct.unpack_from("<IIIII", content, 16) == (0, 2, 1, maps.grid, maps.crop_size)
    assert struct.unpack_from("<2d", content, 40) == (1e6, 2e6)
    assert struct.unpack_from("<8f", content, 56) == (0.375, 0.25, 0.125, 0.5) * 2
    assert struct.unpack_from("<2i", content, 88) == (0, -1)
    assert struct.unpack_from("<6f", content, 96) == maps.to_frame[1]
    assert content[120:136] == bytes(range(16))


def test_a_face_without_maps_has_its_box():
    content = pack_faces([PlacedFace(4, 7, (0.0, 0.0, 1.0, 1.0))], [])
    assert struct.unpack_from("<IIIII", content, 16) == (4, 1, 0, 0, 0)
    assert struct.unpack_from("<i", content, 64) == (-1,)
