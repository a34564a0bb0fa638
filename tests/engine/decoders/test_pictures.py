"""Picture headers: sizes and orientation are read before anything is decoded, from any bytes."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.container import Container
from engine.decoders.geometry import Orientation
from engine.decoders.pictures import read_orientation, read_size
from engine.errors import MediaRejected
from engine.results import RejectReason
from tests.media import encode_picture, with_exif_orientation

PICTURE = np.full((48, 80, 3), 90, np.uint8)
FILES = {
    Container.JPEG: encode_picture(PICTURE, "mjpeg"),
    Container.PNG: encode_picture(PICTURE, "png"),
    Container.WEBP: encode_picture(PICTURE, "libwebp"),
}


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(n + struct.pack("<I", len(c)) + c + b"\0" * (len(c) % 2) for n, c in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


@pytest.mark.parametrize("container", FILES)
def test_the_size_is_read_from_the_header(container: Container) -> None:
    assert read_size(FILES[container], container) == (80, 48)


def test_the_size_of_every_kind_of_webp_is_read() -> None:
    lossless = b"\x2f" + (79 | 47 << 14).to_bytes(4, "little")
    extended = bytes(4) + (79).to_bytes(3, "little") + (47).to_bytes(3, "little")
    assert read_size(riff((b"VP8L", lossless)), Container.WEBP) == (80, 48)
    assert read_size(riff((b"VP8X", extended), (b"VP8 ", bytes(10))), Container.WEBP) == (80, 48)


@pytest.mark.parametrize("container", FILES)
@pytest.mark.parametrize("kept", [0, 4, 12, 20])
def test_a_cut_header_is_corrupt(container: Container, kept: int) -> None:
    with pytest.raises(MediaRejected) as caught:
        read_size(FILES[container][:kept], container)
    assert caught.value.reason is RejectReason.CORRUPT


@pytest.mark.parametrize("value", range(1, 9))
def test_exif_orientation_is_found_in_all_three_formats(value: int) -> None:
    jpeg = with_exif_orientation(FILES[Container.JPEG], value)
    tiff = jpeg[jpeg.index(b"II*\x00") :][:26]
    png = FILES[Container.PNG]
    exif = struct.pack(">I", len(tiff)) + b"eXIf" + tiff + bytes(4)
    found = {
        read_orientation(jpeg, Container.JPEG),
        read_orientation(png[:33] + exif + png[33:], Container.PNG),
        read_orientation(riff((b"VP8X", bytes(10)), (b"EXIF", tiff)), Container.WEBP),
    }
    assert len(found) == 1
    assert (found.pop() == Orientation()) == (value == 1)


def test_big_endian_exif_is_read_too() -> None:
    tiff = b"MM\x00*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    assert read_orientation(riff((b"EXIF", tiff)), Container.WEBP) == Orientation(90)


@pytest.mark.parametrize("container", FILES)
def test_a_picture_without_exif_is_upright(container: Container) -> None:
    assert read_orientation(FILES[container], container) == Orientation()


@given(st.sampled_from(list(FILES)), st.data())
def test_any_header_gives_a_size_or_a_refusal(container: Container, data: st.DataObject) -> None:
    head = bytearray(FILES[container][:200])
    for _ in range(data.draw(st.integers(0, 6))):
        head[data.draw(st.integers(0, len(head) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(head[: data.draw(st.integers(0, len(head)))])
    assert isinstance(read_orientation(cut, container), Orientation)
    try:
        width, height = read_size(cut, container)
    except MediaRejected:
        return
    assert width > 0
    assert height > 0


@given(st.binary(max_size=80))
def test_any_exif_block_gives_an_orientation(tiff: bytes) -> None:
    for start in (b"", b"II*\x00\x08\x00\x00\x00", b"MM\x00*\x00\x00\x00\x08"):
        found = read_orientation(riff((b"EXIF", start + tiff)), Container.WEBP)
        assert isinstance(found, Orientation)
