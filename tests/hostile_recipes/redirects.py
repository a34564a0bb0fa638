"""Rows F41 to F46 and F48: files that send their reader elsewhere, to a sibling or over the network."""

import struct
from pathlib import Path

from tests.hostile_recipes.boxes import box, full_box, replace_box
from tests.hostile_recipes.drawing import plain_clip, remux
from tests.hostile_recipes.recipe import Recipe, of_bytes

HLS = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n{target}\n#EXT-X-ENDLIST\n"
CONCAT = "ffconcat version 1.0\nfile '{target}'\n"
DASH = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S">
 <Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1000" codecs="avc1.42c01e">
  <BaseURL>{target}</BaseURL><SegmentBase indexRange="0-100"/></Representation></AdaptationSet></Period>
</MPD>
"""
SDP = (
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
)


def _text(row: str, file_name: str, template: str, target: str) -> Recipe:
    return of_bytes(row, file_name, lambda: template.format(target=target).encode())


def _with_sibling(row: str, file_name: str, template: str) -> Recipe:
    """Return the recipe of a playlist that names a good file beside it."""

    def make(path: Path) -> None:
        path.with_name("sibling.ts").write_bytes(remux(plain_clip(), "mpegts"))
        path.write_text(template.format(target="sibling.ts"), encoding="ascii")

    return Recipe(row, file_name, make)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def _subtitle_playlist(address: str) -> bytes:
    """Return an AVI whose one stream is a GAB2 text chunk with a playlist inside."""
    name = "x.m3u8".encode("utf-16-le") + b"\0\0"
    playlist = HLS.format(target=f"{address}/gab2.ts").encode()
    gab2 = (
        b"GAB2\0" + struct.pack("<HI", 2, len(name)) + name + struct.pack("<HI", 4, len(playlist)) + playlist
    )
    main = struct.pack("<14I", 40_000, 0, 0, 0, 1, 0, 1, 0, 320, 240, 0, 0, 0, 0)
    stream = b"txts" + bytes(4) + struct.pack("<10I4H", 0, 0, 0, 1, 25, 0, 1, 0, 0, 0, 0, 0, 0, 0)
    lines = _chunk(b"LIST", b"strl" + _chunk(b"strh", stream) + _chunk(b"strf", bytes(40)))
    header = _chunk(b"LIST", b"hdrl" + _chunk(b"avih", main) + lines)
    return _chunk(b"RIFF", b"AVI " + header + _chunk(b"LIST", b"movi" + _chunk(b"00tx", gab2)))


def _redirecting_movie(address: str) -> bytes:
    """Return a QuickTime reference movie: no media, one address to read instead."""
    target = f"{address}/reference.mov".encode() + b"\0"
    reference = full_box(b"rdrf", b"url ", struct.pack(">I", len(target)), target)
    return box(b"ftyp", b"qt  \0\0\2\0qt  ") + box(b"moov", box(b"rmra", box(b"rmda", reference)))


def _alias(path: bytes) -> bytes:
    """Return the record with which a QuickTime movie says that its samples lie in another file."""
    head = (
        bytes(10) + b"\x04disk".ljust(28, b"\0") + bytes(12) + b"\x0bsamples.bin".ljust(64, b"\0") + bytes(16)
    )
    absolute = struct.pack(">hH", 2, len(path)) + path + bytes(len(path) % 2)
    return head + struct.pack(">HH", 1, 1) + bytes(16) + absolute + struct.pack(">hH", -1, 0)


def _with_data_reference(reference: bytes) -> bytes:
    """Return the plain clip with a data reference that says: the samples are not in this file."""
    return replace_box(
        plain_clip(), "moov/trak/mdia/minf/dinf/dref", full_box(b"dref", b"\0\0\0\1", reference)
    )


def redirect_recipes(address: str, outside: Path) -> tuple[Recipe, ...]:
    """Return the rows that point at ``address``, such as ``http://127.0.0.1:8123``, or at a file outside."""
    elsewhere = f"file://{outside}"
    return (
        _text("F41", "outside.mp4", HLS, elsewhere),
        _text("F41b", "outside.m3u8", HLS, elsewhere),
        _with_sibling("F41c", "sibling.m3u8", HLS),
        _with_sibling("F41d", "sibling_playlist.mp4", HLS),
        _text("F42", "network.m3u8", HLS, f"{address}/hls.ts"),
        _text("F42b", "network.mp4", HLS, f"{address}/hls.ts"),
        _text("F43", "absolute.mp4", CONCAT, str(outside)),
        _text("F43b", "network_concat.mp4", CONCAT, f"{address}/concat.mp4"),
        _with_sibling("F43c", "relative.mp4", CONCAT),
        of_bytes("F44", "subtitles.avi", lambda: _subtitle_playlist(address)),
        _text("F45", "session.sdp", SDP, ""),
        _text("F45b", "session.mp4", SDP, ""),
        _text("F46", "manifest.mpd", DASH, f"{address}/dash.mp4"),
        _text("F46b", "manifest.mp4", DASH, f"{address}/dash.mp4"),
        of_bytes(
            "F48",
            "outside_address.mp4",
            lambda: _with_data_reference(full_box(b"url ", elsewhere.encode() + b"\0")),
        ),
        of_bytes(
            "F48b",
            "outside_alias.mp4",
            lambda: _with_data_reference(full_box(b"alis", _alias(str(outside).encode()))),
        ),
        of_bytes("F48c", "redirect.mov", lambda: _redirecting_movie(address)),
    )
