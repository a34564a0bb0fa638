"""Sound for the rows that need it: a tone alone, and good pictures with bad sound."""

import io
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np

from tests.hostile_recipes.drawing import RATE, Encoding, encoder_options, pattern

SAMPLE_RATE = 48_000
CHUNK = 1024
SECONDS = 2


def _tone_packets(stream: av.AudioStream) -> Iterator[av.Packet]:
    """Yield the packets of a 440 Hz tone."""
    for start in range(0, SECONDS * SAMPLE_RATE, CHUNK):
        times = np.arange(start, start + CHUNK) / SAMPLE_RATE
        samples = (np.sin(2 * np.pi * 440 * times) * 0.3).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
        yield from stream.encode(frame)
    yield from stream.encode()


def _add_sound(container: av.container.OutputContainer) -> av.AudioStream:
    stream = container.add_stream("aac", rate=SAMPLE_RATE, options={"flags": "+bitexact"})
    stream.layout = "mono"
    return stream


def sound_only() -> bytes:
    """Return an MP4 with two seconds of sound and no picture."""
    target = io.BytesIO()
    with av.open(target, "w", format="mp4", container_options={"fflags": "+bitexact"}) as container:
        container.mux(_tone_packets(_add_sound(container)))
    return target.getvalue()


def pictures_with_bad_sound() -> bytes:
    """Return 50 good frames with a sound stream in which every packet is random bytes."""
    target, random_state = io.BytesIO(), np.random.default_rng(65)
    with av.open(target, "w", format="mp4", container_options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("libx264", rate=RATE, options=encoder_options(Encoding()))
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        video.codec_context.thread_count = 1
        sound = _add_sound(container)
        for n, picture in enumerate(pattern(320, 240)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = n, Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for packet in _tone_packets(sound):
            packet.update(random_state.bytes(packet.size))
            container.mux(packet)
    return target.getvalue()
