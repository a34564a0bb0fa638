import math
import struct
import zlib

from hypothesis import given
from hypothesis import strategies as st

from api.pages.packing import WORST, pack_faces, pack_lanes
from engine.results import EvidenceReason
from fakesieve.records.analyses import TrackMaps
from fakesieve.records.evidence import Lane, Lanes, MapSpan, PlacedFace
from tests.factories import make_maps, make_track

ReadLane = tuple[list[float], list[float], bytes]


def read_lanes(content: bytes) -> dict[int, ReadLane]:
    """Read lanes as the browser's module does."""
    letters, version, blocks, _ = struct.unpack_from("<4sIII", content)
    assert (letters, version) == (b"FSVL", 1)
    place, lanes = 16, dict[int, ReadLane]()
    for _ in range(blocks):
        assert place % 8 == 0
        ordinal, n = struct.unpack_from("<II", content, place)
        times = struct.unpack_from(f"<{n}d", content, place + 8)
        scores = struct.unpack_from(f"<{n}d", content, place + 8 + 8 * n)
        start = place + 8 + 16 * n
        lanes[ordinal] = (list(times), list(scores), content[start : start + n])
        place = start + n + (-n % 8)
    assert place == len(content)
    return lanes


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**53), st.one_of(st.none(), st.floats(0, 1)), st.sampled_from(EvidenceReason)
        ),
        max_size=20,
        unique_by=lambda row: row[0],
    )
)
def test_lanes_hold_times_and_scores_to_the_last_bit(rows: list[tuple[int, float | None, EvidenceReason]]):
    lane = Lane(
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
    lanes = read_lanes(pack_lanes(Lanes(Lane([0, 5], [0.25, None]), {0: Lane([0], [0.25], [None])})))
    assert list(lanes) == [WORST, 0]
    assert lanes[WORST][0] == [0.0, 5.0]
    assert lanes[WORST][1][0] == 0.25
    assert math.isnan(lanes[WORST][1][1])


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
