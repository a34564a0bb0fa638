"""The walk over MP4 boxes: it tells what is wrong, and nothing in a file can make it slow or deep."""

import os
import struct
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.decoders.boxes import BoxFindings, check_boxes, walk_boxes
from engine.errors import MediaRejected
from engine.results import RejectReason


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def large_box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4sQ", 1, kind, 16 + len(content)) + content


def entry(kind: bytes, inner: bytes = b"") -> bytes:
    return box(b"stsd", bytes(8) + box(kind, bytes(78) + inner))


def movie(sample_entry: bytes = b"") -> bytes:
    return box(
        b"moov", box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", sample_entry or entry(b"avc1")))))
    )


def walk(data: bytes) -> BoxFindings:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return walk_boxes(file.fileno(), len(data))


def check(data: bytes) -> BoxFindings:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return check_boxes(file.fileno(), len(data))


def reason_of(data: bytes) -> RejectReason:
    with pytest.raises(MediaRejected) as caught:
        check(data)
    return caught.value.reason


def reason_or_none(data: bytes) -> RejectReason | None:
    try:
        walk(data)
    except MediaRejected as refusal:
        return refusal.reason
    return None


ALLOWED = (None, RejectReason.CORRUPT, RejectReason.TRUNCATED)
FTYP = box(b"ftyp", b"isom" + bytes(12))
MDAT = box(b"mdat", bytes(100))


def test_a_whole_file_passes() -> None:
    found = check(FTYP + movie() + MDAT)
    assert (found.has_moov, found.has_mdat, found.is_encrypted, found.lost_bytes) == (True, True, False, 0)


def test_boxes_of_64_bits_and_of_no_stated_size_are_followed() -> None:
    assert check(FTYP + large_box(b"moov") + struct.pack(">I4s", 0, b"mdat") + bytes(50)).has_mdat


def test_an_encrypted_video_track_is_named_but_encrypted_sound_is_not() -> None:
    assert reason_of(FTYP + movie(entry(b"encv", box(b"sinf"))) + MDAT) is RejectReason.ENCRYPTED
    assert not check(FTYP + movie(entry(b"enca")) + MDAT).is_encrypted


def test_a_missing_or_cut_index_is_a_truncated_file() -> None:
    assert reason_of(FTYP + MDAT) is RejectReason.TRUNCATED
    assert reason_of(FTYP + MDAT + movie()[:-20]) is RejectReason.TRUNCATED


def test_cut_media_data_is_counted_and_does_not_refuse_the_file() -> None:
    assert check(FTYP + movie() + MDAT[:-30]).lost_bytes == 30


@pytest.mark.parametrize(
    "spoiled",
    [
        FTYP + struct.pack(">I4s", 3, b"moov") + bytes(20),
        FTYP + struct.pack(">I4sQ", 1, b"mdat", 1 << 63) + movie(),
        FTYP + struct.pack(">I4sQ", 1, b"mdat", 15) + movie(),
        FTYP + box(b"moov", struct.pack(">I4s", 4000, b"trak")) + MDAT,
    ],
    ids=["smaller than its header", "2^63 bytes", "64 bits too small", "child larger than parent"],
)
def test_contradicting_sizes_are_corrupt(spoiled: bytes) -> None:
    assert reason_of(spoiled) is RejectReason.CORRUPT


def test_deep_nesting_is_refused_without_recursion() -> None:
    nested = b"".join(struct.pack(">I4s", 8 * (20_000 - i), b"trak") for i in range(20_000))
    assert reason_of(FTYP + box(b"moov", nested)) is RejectReason.CORRUPT


def test_a_file_of_endless_tiny_boxes_is_left_after_a_bounded_number() -> None:
    assert walk(FTYP + movie() + box(b"free") * 100_000).has_moov


@given(st.binary(max_size=400))
def test_any_bytes_are_walked_or_refused(data: bytes) -> None:
    assert reason_or_none(data) in ALLOWED


@given(st.integers(0, 300), st.integers(0, 255))
def test_one_changed_byte_never_breaks_the_walk(place: int, value: int) -> None:
    data = bytearray(FTYP + movie() + MDAT)
    data[place % len(data)] = value
    assert reason_or_none(bytes(data)) in ALLOWED


def test_the_descriptors_place_is_left_alone() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(FTYP + movie() + MDAT)
        file.seek(5)
        walk_boxes(file.fileno(), os.fstat(file.fileno()).st_size)
        assert file.tell() == 5
