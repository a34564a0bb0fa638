"""What a video may cost on the workers of a fleet: the engine's limits, but for what the settings say."""

from dataclasses import fields

from engine.limits import Limits, format_seconds
from fakesieve.errors import SetupRefused
from fakesieve.reasons import Reason
from fakesieve.settings import PREFIX, Settings, split_list

# The setting of each limit, by its name in ``Limits``.
SETTINGS = {
    "size_bytes": "video_bytes_max",
    "duration_us": "video_s_max",
    "pixels": "video_pixels_max",
    "side_px": "video_side_px_max",
    "min_side_px": "video_side_px_min",
    "streams": "video_streams_max",
    "frames": "video_frames_max",
    "wall_s": "decode_wait_s",
    "memory_bytes": "decode_memory_bytes_max",
    "codecs": "video_codecs",
}


def read_input_limits(settings: Settings) -> Limits:
    """Return the limits of videos that the settings mean. Raises SetupRefused for what cannot be."""
    usual = Limits()
    try:
        return Limits(
            size_bytes=settings.video_bytes_max or usual.size_bytes,
            duration_us=round((settings.video_s_max or 0) * 1e6) or usual.duration_us,
            pixels=settings.video_pixels_max or usual.pixels,
            side_px=settings.video_side_px_max or usual.side_px,
            min_side_px=settings.video_side_px_min or usual.min_side_px,
            streams=settings.video_streams_max or usual.streams,
            frames=settings.video_frames_max or usual.frames,
            wall_s=settings.decode_wait_s or usual.wall_s,
            memory_bytes=settings.decode_memory_bytes_max or usual.memory_bytes,
            codecs=_read_codecs(settings.video_codecs) or usual.codecs,
        )
    except ValueError as error:
        hint = "correct FAKESIEVE_VIDEO_*; docs/reference/limits.md has the limits and what sets them"
        raise SetupRefused(Reason.INVALID_SETTINGS, str(error), hint) from error


def _read_codecs(text: str) -> str:
    return ",".join(sorted({name.lower() for name in split_list(text)}))


def describe_input_limits(limits: Limits) -> str:
    """Return in words which limits differ from the engine's own, with the variables that set them."""
    usual = Limits()
    changed = [
        field.name for field in fields(Limits) if getattr(limits, field.name) != getattr(usual, field.name)
    ]
    if not changed:
        return "those of docs/reference/limits.md"
    told = [f"{PREFIX}{SETTINGS[name].upper()} {_write(limits, name)}" for name in changed]
    return f"those of docs/reference/limits.md but for {', '.join(told)}"


def _write(limits: Limits, name: str) -> str:
    if name == "duration_us":
        return format_seconds(limits.duration_us)
    return str(getattr(limits, name))
