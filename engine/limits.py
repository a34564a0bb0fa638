"""What an input may cost at most. Every bound can be set; the defaults are those of the documentation."""

from dataclasses import dataclass, fields

CODECS = ("av1", "h264", "hevc", "mpeg4", "vp8", "vp9")
"""FFmpeg's names of the codecs that can be decoded. MPEG-4 Part 2 is what OpenCV's writer makes of "mp4v", so
research footage is full of it."""


@dataclass(frozen=True)
class Limits:
    """Bounds that refuse an input before it is decoded, or stop its decoding.

    ``wall_s`` is the time that one call into the sandbox may keep its caller waiting; ``memory_bytes`` what
    the decoding child may map beyond the interpreter and its libraries, frames in shared memory included;
    ``codecs`` the accepted ones of ``CODECS``, joined by commas.
    """

    size_bytes: int = 4 << 30
    duration_us: int = 4 * 3600 * 1_000_000
    pixels: int = 7680 * 4320
    side_px: int = 16_384
    min_side_px: int = 32
    streams: int = 16
    frames: int = 2_000_000
    wall_s: float = 120.0
    memory_bytes: int = 1 << 30
    codecs: str = ",".join(CODECS)

    def __post_init__(self) -> None:
        for field in fields(self):
            value: object = getattr(self, field.name)
            if isinstance(value, int | float) and not value > 0:  # not a number is no bound either
                raise ValueError(f"limit {field.name} must be positive, is {value}")
        if not self.accepted_codecs or self.accepted_codecs - set(CODECS):
            raise ValueError(f"codecs {self.codecs!r} are not some of {', '.join(CODECS)}")
        if self.min_side_px > self.side_px:
            raise ValueError("min_side_px is above side_px: nothing could pass")

    @property
    def accepted_codecs(self) -> frozenset[str]:
        """The codecs that are accepted, by FFmpeg's names."""
        return frozenset(self.codecs.split(",")) if self.codecs else frozenset()


def format_seconds(time_us: int) -> str:
    """Return a time in seconds with every digit that it has."""
    return f"{time_us / 1e6:.12g} s"


def format_size(size_bytes: int) -> str:
    """Return a size with a unit that keeps it short."""
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    size, unit = float(size_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.1f} {unit}"
