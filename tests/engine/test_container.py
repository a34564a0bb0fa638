"""Sniffing: the first bytes decide, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.container import HEAD_BYTES, Container, MediaKind, is_extension_wrong, sniff_container
from engine.errors import MediaRejected
from engine.results import RejectReason

EBML = b"\x1a\x45\xdf\xa3"


def ebml(doc_type: bytes) -> bytes:
    body = b"\x42\x86\x81\x01" + b"\x42\x82" + bytes([0x80 | len(doc_type)]) + doc_type
    return EBML + bytes([0x80 | len(body)]) + body + bytes(64)


def ts(packet: int, count: int = 6) -> bytes:
    one = bytes(packet - 188) + b"\x47" + bytes(187)
    return one * count


ACCEPTED = {
    "mp4": (b"\x00\x00\x00\x20ftypisom" + bytes(32), Container.MP4),
    "mov brand": (b"\x00\x00\x00\x14ftypqt  " + bytes(32), Container.MP4),
    "64-bit box": (b"\x00\x00\x00\x01ftyp" + bytes(32), Container.MP4),
    "moov first": (b"\x00\x00\x01\x00moov\x00\x00\x00\x6cmvhd" + bytes(32), Container.MP4),
    "wide, old QuickTime": (b"\x00\x00\x00\x08wide\x00\x00\x10\x00mdat" + bytes(32), Container.MP4),
    "mdat first": (b"\x00\x00\x00\x18mdat" + bytes(64), Container.MP4),
    "fragment": (b"\x00\x00\x00\x18stypmsdh" + bytes(32), Container.MP4),
    "broken ftyp size": (b"\x00\x00\x00\x03ftypisom" + bytes(32), Container.MP4),
    "webm": (ebml(b"webm"), Container.MATROSKA),
    "matroska": (ebml(b"matroska"), Container.MATROSKA),
    "matroska without type": (EBML + b"\x80" + bytes(32), Container.MATROSKA),
    "transport stream": (ts(188), Container.MPEGTS),
    "transport stream with time": (ts(192), Container.MPEGTS),
    "avi": (b"RIFF\x00\x10\x00\x00AVI LIST" + bytes(32), Container.AVI),
    "jpeg": (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(32), Container.JPEG),
    "png": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR" + bytes(32), Container.PNG),
    "webp": (b"RIFF\x00\x10\x00\x00WEBPVP8 " + bytes(32), Container.WEBP),
}

REFUSED = {
    "nothing": (b"", RejectReason.EMPTY),
    "one byte": (b"\x00", RejectReason.NOT_VIDEO),
    "html": (b"<!doctype html><html><body>hello</body></html>", RejectReason.NOT_VIDEO),
    "zip": (b"PK\x03\x04" + bytes(64), RejectReason.NOT_VIDEO),
    "elf": (b"\x7fELF\x02\x01\x01" + bytes(64), RejectReason.NOT_VIDEO),
    "hls": (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", RejectReason.UNSUPPORTED_CONTAINER),
    "hls behind a mark": (b"\xef\xbb\xbf#EXTM3U\n", RejectReason.UNSUPPORTED_CONTAINER),
    "concat": (b"ffconcat version 1.0\nfile ok.ts\n", RejectReason.UNSUPPORTED_CONTAINER),
    "sdp": (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n", RejectReason.UNSUPPORTED_CONTAINER),
    "dash": (b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash">', RejectReason.UNSUPPORTED_CONTAINER),
    "gif": (b"GIF89a" + bytes(64), RejectReason.UNSUPPORTED_CONTAINER),
    "ivf": (b"DKIF\x00\x00\x20\x00VP90" + bytes(32), RejectReason.UNSUPPORTED_CONTAINER),
    "ogg": (b"OggS\x00\x02" + bytes(64), RejectReason.UNSUPPORTED_CONTAINER),
    "flv": (b"FLV\x01\x05" + bytes(64), RejectReason.UNSUPPORTED_CONTAINER),
    "asf": (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(64), RejectReason.UNSUPPORTED_CONTAINER),
    "annex b": (b"\x00\x00\x00\x01\x67" + bytes(64), RejectReason.UNSUPPORTED_CONTAINER),
    "wav": (b"RIFF\x00\x10\x00\x00WAVEfmt " + bytes(32), RejectReason.UNSUPPORTED_CONTAINER),
    "heic": (b"\x00\x00\x00\x18ftypheic" + bytes(32), RejectReason.UNSUPPORTED_CONTAINER),
    "other ebml": (ebml(b"secret"), RejectReason.UNSUPPORTED_CONTAINER),
    "free text with a box name": (b"The free lunch is over, said the cat", RejectReason.NOT_VIDEO),
    "GIF that syncs like TS": (b"GIF89a".ljust(188, b"G") * 5, RejectReason.UNSUPPORTED_CONTAINER),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_containers_are_known_by_their_first_bytes(name: str) -> None:
    head, expected = ACCEPTED[name]
    assert sniff_container(head, 10_000, "") is expected


@pytest.mark.parametrize("name", REFUSED)
def test_everything_else_is_refused_with_its_reason(name: str) -> None:
    head, expected = REFUSED[name]
    with pytest.raises(MediaRejected) as caught:
        sniff_container(head, len(head), "mp4")
    assert caught.value.reason is expected
    assert caught.value.hint


@pytest.mark.parametrize("picture", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("extension", [".mp4", "MKV", ".mov", "ts", ".m3u8"])
def test_a_picture_dressed_as_a_video_is_refused(picture: str, extension: str) -> None:
    with pytest.raises(MediaRejected) as caught:
        sniff_container(ACCEPTED[picture][0], 10_000, extension)
    assert caught.value.reason is RejectReason.UNSUPPORTED_CONTAINER


@pytest.mark.parametrize("extension", ["", ".jpg", ".png", ".dat"])
def test_a_picture_under_another_name_is_a_picture(extension: str) -> None:
    assert sniff_container(ACCEPTED["jpeg"][0], 10_000, extension).kind is MediaKind.PICTURE


def test_a_video_with_another_containers_extension_is_taken_and_told_apart() -> None:
    assert sniff_container(ACCEPTED["webm"][0], 10_000, ".mp4") is Container.MATROSKA
    assert is_extension_wrong(Container.MATROSKA, ".mp4")
    assert is_extension_wrong(Container.MP4, ".jpg")
    assert not is_extension_wrong(Container.MP4, ".MOV")
    assert not is_extension_wrong(Container.MP4, "")


def answer(head: bytes, size: int, extension: str) -> Container | RejectReason:
    try:
        return sniff_container(head, size, extension)
    except MediaRejected as refusal:
        return refusal.reason


ANSWERS = {*Container, RejectReason.EMPTY, RejectReason.NOT_VIDEO, RejectReason.UNSUPPORTED_CONTAINER}


@given(st.binary(max_size=HEAD_BYTES), st.integers(0, 1 << 40), st.text(max_size=5))
def test_any_bytes_are_either_a_container_or_a_refusal(head: bytes, size: int, extension: str) -> None:
    assert answer(head, size, extension) in ANSWERS


@given(st.sampled_from(sorted(ACCEPTED)), st.integers(0, 64), st.binary(max_size=64))
def test_spoiled_heads_never_break_the_sniffer(name: str, cut: int, tail: bytes) -> None:
    head = ACCEPTED[name][0][:cut] + tail
    assert answer(head, len(head), "") in ANSWERS
