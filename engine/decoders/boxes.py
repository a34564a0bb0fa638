"""A walk over the boxes of an MP4: only headers are read, to tell why a file cannot be decoded.

Iterative and bounded: nesting, counts and sizes in the file cost nothing but their headers.
Source: ISO/IEC 14496-12, section 4.2 for the box header and annex on protected sample entries.
"""

import os
import struct
from dataclasses import dataclass

from engine.errors import MediaRejected
from engine.results import RejectReason

_MAX_BOXES = 20_000
_MAX_DEPTH = 12
_MAX_BOX_BYTES = 1 << 48  # no disk holds a file of such a box; above it a size is a lie, not a cut

_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"mvex", b"udta", b"sinf"})
_SAMPLE_ENTRY_BYTES = 78  # fixed fields of a video sample entry before its own boxes


@dataclass(frozen=True)
class _Span:
    start: int
    end: int
    depth: int


@dataclass
class BoxFindings:
    """What the walk saw."""

    has_moov: bool = False
    has_mdat: bool = False
    has_moof: bool = False
    is_encrypted: bool = False
    lost_bytes: int = 0  # how far the media data reaches beyond the end of the file


def _corrupt(seen: str) -> MediaRejected:
    return MediaRejected(RejectReason.CORRUPT, seen, "the file is damaged; get it again from its source")


def _truncated(seen: str) -> MediaRejected:
    hint = "the recording or the transfer stopped early; get the whole file"
    return MediaRejected(RejectReason.TRUNCATED, seen, hint)


def _read_header(descriptor: int, place: int, end: int) -> tuple[bytes, int, int]:
    """Kind, first byte of the content and first byte behind the box."""
    head = os.pread(descriptor, 16, place)
    if len(head) < 8:
        raise _corrupt(f"a box header is cut off at byte {place}")
    size, kind = struct.unpack_from(">I4s", head)
    content = place + 8
    if size == 1:
        if len(head) < 16:
            raise _corrupt(f"a box header is cut off at byte {place}")
        (size,) = struct.unpack_from(">Q", head, 8)
        content = place + 16
    elif size == 0:
        size = end - place
    if place + size < content:
        raise _corrupt(f"a box of {size} bytes at byte {place} is smaller than its header")
    if size > _MAX_BOX_BYTES:
        raise _corrupt(f"a box at byte {place} claims {size} bytes")
    return kind, content, place + size


def walk_boxes(descriptor: int, size_bytes: int) -> BoxFindings:
    """Look over an MP4 file.

    Raises `MediaRejected`: CORRUPT when its boxes contradict each other, TRUNCATED when its index is cut.
    """
    found = BoxFindings()
    spans = [_Span(0, size_bytes, 0)]
    seen = 0
    while spans:
        span = spans.pop()
        place = span.start
        while place + 8 <= span.end:
            seen += 1
            if seen > _MAX_BOXES:
                return found  # a long fragmented file: what is known so far is enough
            kind, content, behind = _read_header(descriptor, place, span.end)
            _note(found, kind, behind, size_bytes)
            if span.depth == 0 and kind == b"moov" and behind > span.end:
                raise _truncated(f"the index (moov) at byte {place} is cut off")
            if behind > span.end and not (span.depth == 0 and kind in (b"mdat", b"moof", b"free")):
                raise _corrupt(f"a box {_name(kind)} at byte {place} reaches beyond what holds it")
            inner = _inner_span(kind, content, min(behind, span.end), span.depth)
            if inner is not None:
                spans.append(inner)
            place = behind
    return found


def _name(kind: bytes) -> str:
    return "".join(chr(byte) if 32 < byte < 127 else "?" for byte in kind)


def _note(found: BoxFindings, kind: bytes, behind: int, size_bytes: int) -> None:
    found.has_moov |= kind == b"moov"
    found.has_moof |= kind == b"moof"
    found.is_encrypted |= kind == b"encv"
    if kind == b"mdat":
        found.has_mdat = True
    if kind in (b"mdat", b"moof", b"moov"):
        found.lost_bytes = max(found.lost_bytes, behind - size_bytes)


def _inner_span(kind: bytes, content: int, end: int, depth: int) -> _Span | None:
    if depth > _MAX_DEPTH:
        raise _corrupt(f"boxes are nested more than {_MAX_DEPTH} deep")
    if kind in _CONTAINERS:
        return _Span(content, end, depth + 1)
    if kind == b"stsd":
        return _Span(content + 8, end, depth + 1)
    if kind == b"encv":
        return _Span(content + _SAMPLE_ENTRY_BYTES, end, depth + 1)
    return None


def check_boxes(descriptor: int, size_bytes: int) -> BoxFindings:
    """Walk, and refuse what cannot be decoded: CORRUPT, TRUNCATED or ENCRYPTED."""
    found = walk_boxes(descriptor, size_bytes)
    if found.is_encrypted:
        raise MediaRejected(
            RejectReason.ENCRYPTED, "the video track is encrypted (sinf/encv)", "give an unprotected copy"
        )
    if not found.has_moov and not found.has_moof:
        raise _truncated("the file has no moov box: its end, or the whole index, is missing")
    return found
