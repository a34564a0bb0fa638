"""Whatever the first bytes are, the sniffer names a container or refuses with one of its three reasons."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.container import EXTENSIONS, HEAD_BYTES, Container, sniff_container
from engine.errors import MediaRejected
from engine.results import RejectReason

STARTS = (
    b"", b"\0\0\0\x18ftypisom", b"\0\0\0\x08moov", b"\0\0\0\0mdat", b"\0\0\0\x01free", b"RIFF\0\0\0\0AVI ",
    b"RIFF\0\0\0\0WEBP", b"RIFF", b"\x1a\x45\xdf\xa3", b"\x1a\x45\xdf\xa3\x93\x42\x82\x88matroska",
    b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f\x42\x82\x84webm", b"\x1a\x45\xdf\xa3\xff\x42\x82\xff", b"\x47",
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"#EXTM3U", b"\xef\xbb\xbf<?xml <MPD",
    b"ffconcat version",
    b"G" * 189, b"\0\0\0\0" + b"G" * 193,
)  # fmt: skip
REASONS = (RejectReason.EMPTY, RejectReason.NOT_VIDEO, RejectReason.UNSUPPORTED_CONTAINER)
SUFFIXES = ("", ".", ".mp4", ".MOV", ".png", ".m3u8", ".\x00", "." + "x" * 300)

heads = st.builds(
    lambda start, rest: (start + rest)[:HEAD_BYTES],
    st.sampled_from(STARTS),
    st.binary(max_size=2 * 192) | st.integers(0, 255).map(lambda n: bytes([n]) * 1000),
)


@given(head=heads, more=st.integers(0, 1 << 40), suffix=st.sampled_from(SUFFIXES))
def test_arbitrary_bytes_are_named_or_refused(head: bytes, more: int, suffix: str) -> None:
    try:
        found = sniff_container(head, len(head) + more, suffix)
    except MediaRejected as refusal:
        found = refusal.reason
    assert found in {
        *Container,
        RejectReason.EMPTY,
        RejectReason.NOT_VIDEO,
        RejectReason.UNSUPPORTED_CONTAINER,
    }


@given(head=st.binary(min_size=1, max_size=HEAD_BYTES))
def test_noise_is_hardly_ever_media(head: bytes) -> None:
    if head[:1] not in {b"\x1a", b"\xff", b"\x89", b"R", b"G", b"#", b"<", b"f", b"\0", b"B", b"I", b"M"}:
        with pytest.raises(MediaRejected):
            sniff_container(head[:3] + b"\x01" + head[4:], len(head), ".mp4")


@given(head=heads, more=st.integers(0, 1 << 32))
def test_extension_never_turns_one_container_into_another(head: bytes, more: int) -> None:
    answers = set()
    for suffix in ("", *(f".{min(names)}" for names in EXTENSIONS.values())):
        try:
            answers.add(sniff_container(head, len(head) + more, suffix))
        except MediaRejected as refusal:
            answers.add(refusal.reason)
    assert len(answers & set(Container)) <= 1
