"""Which container an input is, by its own first bytes. The only list of accepted formats.

Nothing of the input but these bytes chooses a demuxer: playlists, picture sequences and the hundreds of
other formats that FFmpeg would detect by itself are never tried.
"""

from enum import StrEnum

from engine.errors import MediaRejected
from engine.results import RejectReason

HEAD_BYTES = 4096


class Container(StrEnum):
    """Accepted containers."""

    MP4 = "mp4"  # the ISO base media family: mp4, mov, m4v, 3gp
    MATROSKA = "matroska"  # with webm
    MPEGTS = "mpegts"
    AVI = "avi"
    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"

    @property
    def kind(self) -> "MediaKind":
        """Video or still picture."""
        return MediaKind.PICTURE if self in _PICTURES else MediaKind.VIDEO


class MediaKind(StrEnum):
    """A video has time, a picture is one frame."""

    VIDEO = "video"
    PICTURE = "picture"


_PICTURES = (Container.JPEG, Container.PNG, Container.WEBP)

EXTENSIONS: dict[Container, frozenset[str]] = {
    Container.MP4: frozenset({"mp4", "m4v", "mov", "qt", "3gp", "3g2", "m4a", "mp4v", "f4v", "ismv"}),
    Container.MATROSKA: frozenset({"mkv", "webm", "mk3d", "mka"}),
    Container.MPEGTS: frozenset({"ts", "m2ts", "mts", "m2t", "tsv", "tp"}),
    Container.AVI: frozenset({"avi", "divx"}),
    Container.JPEG: frozenset({"jpg", "jpeg", "jpe", "jfif"}),
    Container.PNG: frozenset({"png", "apng"}),
    Container.WEBP: frozenset({"webp"}),
}
_VIDEO_EXTENSIONS = frozenset(
    name for container, names in EXTENSIONS.items() if container.kind is MediaKind.VIDEO for name in names
) | {"mpg", "mpeg", "wmv", "flv", "ogv", "m3u8", "gif", "vob"}

_ALWAYS_MP4 = (b"ftyp", b"moov", b"styp", b"moof")
_MP4_IF_PLAUSIBLE = (b"mdat", b"free", b"skip", b"wide", b"pnot", b"sidx", b"uuid", b"junk")
_PICTURE_BRANDS = (b"heic", b"heix", b"heif", b"mif1", b"msf1", b"avif", b"avis", b"crx ")

# Media and playlists that we know and do not take. (start of the file, name)
_REFUSED: tuple[tuple[bytes, str], ...] = (
    (b"#EXTM3U", "an HLS playlist"),
    (b"ffconcat", "an ffconcat playlist"),
    (b"v=0\r\n", "an SDP session description"),
    (b"v=0\n", "an SDP session description"),
    (b"[playlist]", "a PLS playlist"),
    (b"GIF8", "a GIF"),
    (b"DKIF", "an IVF stream"),
    (b"OggS", "an Ogg stream"),
    (b"FLV", "a Flash video"),
    (b"FWS", "a Flash file"),
    (b"CWS", "a Flash file"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file"),
    (b"\x00\x00\x01\xba", "an MPEG program stream"),
    (b"\x00\x00\x01\xb3", "an MPEG elementary stream"),
    (b"\x00\x00\x00\x01", "a raw video stream without a container"),
    (b"YUV4MPEG2", "a raw YUV4MPEG stream"),
    (b".RMF", "a RealMedia file"),
    (b"RIFF", "a RIFF file that is neither AVI nor WebP"),
    (b"fLaC", "a FLAC audio file"),
    (b"ID3", "an MP3 audio file"),
    (b"BM", "a BMP picture"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"8BPS", "a Photoshop picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", "an MXF file"),
    (b"\x84\x10\xff\xff\xff\xff", "an id RoQ video"),
    (b"\x1b[", "text for a terminal"),
    (b"NUTnut/multimedia container\x00", "a NUT file"),
    (b"<?xpacket", "metadata without media"),
)
_REFUSED_TEXT: tuple[tuple[bytes, str], ...] = (
    (b"<MPD", "a DASH manifest"),
    (b"<SmoothStreaming", "a Smooth Streaming manifest"),
)

_TS_SIZES = (188, 192)
_HINT = "give an MP4, MOV, MKV, WebM, MPEG-TS or AVI video, or a JPEG, PNG or WebP picture"


def sniff_container(head: bytes, size_bytes: int, extension: str) -> Container:
    """The container of an input, from up to `HEAD_BYTES` first bytes, its length and its name's extension.

    The extension decides nothing but one refusal: a picture that is named like a video. Raises
    `MediaRejected` with EMPTY, NOT_VIDEO or UNSUPPORTED_CONTAINER.
    """
    if size_bytes == 0 or not head:
        raise MediaRejected(RejectReason.EMPTY, "the file has no bytes", "upload or copy it again")
    container = _recognise(head, size_bytes)
    if container is None:
        raise _refusal(head)
    if container.kind is MediaKind.PICTURE and extension.lower().lstrip(".") in _VIDEO_EXTENSIONS:
        raise MediaRejected(
            RejectReason.UNSUPPORTED_CONTAINER,
            f"a {container.value.upper()} picture that is named like a video",
            f"if it is meant as a picture, name it .{container.value}",
        )
    return container


def is_extension_wrong(container: Container, extension: str) -> bool:
    """Whether a name's extension speaks for another container; no extension speaks for none."""
    plain = extension.lower().lstrip(".")
    return bool(plain) and plain not in EXTENSIONS[container]


def _recognise(head: bytes, size_bytes: int) -> Container | None:
    if head.startswith(b"\xff\xd8\xff"):
        return Container.JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Container.PNG
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return Container.WEBP
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return Container.AVI
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return Container.MATROSKA if _ebml_doc_type(head) in (b"matroska", b"webm") else None
    if _is_mp4(head, size_bytes):
        return Container.MP4
    if not head.startswith(b"GIF8") and _is_transport_stream(head, size_bytes):
        return Container.MPEGTS
    return None


def _is_mp4(head: bytes, size_bytes: int) -> bool:
    kind = head[4:8]
    if kind == b"ftyp":
        return head[8:12] not in _PICTURE_BRANDS
    if kind in _ALWAYS_MP4:
        return True
    size = int.from_bytes(head[:4], "big")
    return kind in _MP4_IF_PLAUSIBLE and (size in (0, 1) or 8 <= size <= size_bytes)


def _is_transport_stream(head: bytes, size_bytes: int) -> bool:
    for packet in _TS_SIZES:
        first = packet - 188  # the 192-byte kind carries four bytes of time before each packet
        places = range(first, min(len(head), 5 * packet), packet)
        if len(places) >= 2 and size_bytes >= 2 * packet and all(head[p] == 0x47 for p in places):
            return True
    return False


def _ebml_doc_type(head: bytes) -> bytes:
    """DocType of an EBML header; the default of the standard, 'matroska', where the header is cut."""
    place = 4
    length_size = 9 - head[4].bit_length() if len(head) > 4 and head[4] else 1
    place += length_size
    while place + 2 < len(head):
        id_size = 9 - head[place].bit_length() if head[place] else 9
        if id_size > 4:
            break
        name = head[place : place + id_size]
        place += id_size
        if place >= len(head) or not head[place]:
            break
        width = 9 - head[place].bit_length()
        value = int.from_bytes(head[place : place + width], "big") & ((1 << (7 * width)) - 1)
        place += width
        if name == b"\x42\x82":
            return head[place : place + min(value, 32)].rstrip(b"\x00")
        if not name.startswith(b"\x42") and name != b"\xec":
            break  # the header is over
        place += value
    return b"matroska"


def _refusal(head: bytes) -> MediaRejected:
    name = _name_of_refused(head)
    if name is None:
        return MediaRejected(RejectReason.NOT_VIDEO, "the first bytes are those of no known media", _HINT)
    return MediaRejected(RejectReason.UNSUPPORTED_CONTAINER, f"the file is {name}", _HINT)


def _name_of_refused(head: bytes) -> str | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    for start, name in _REFUSED:
        if head.startswith(start) or text.startswith(start):
            return name
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "an EBML file that is neither Matroska nor WebM"
    if head[4:8] == b"ftyp":
        return "a HEIF or AVIF picture"
    for word, name in _REFUSED_TEXT:
        if text.startswith(b"<") and word in text[:1024]:
            return name
    return None
