"""Looking at whole files: what is found, what is warned of, what is refused."""

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from engine.container import Container, MediaKind
from engine.decode import decode_samples
from engine.errors import MediaRejected
from engine.limits import Limits
from engine.probe import Probe, probe_video
from engine.results import MediaWarning, RejectReason
from engine.sampling import Sampling, plan_samples
from engine.sandbox.handle import Sandbox
from tests.media import (
    TRANSFER_CODES,
    Clip,
    displayed_frame,
    draw_clip,
    draw_patches,
    draw_two_streams,
    encode_picture,
    read_index,
    variable_times,
)
from tests.tolerance import TICK_US

Look = Callable[[Path], Probe]


@pytest.fixture
def look(sandbox: Sandbox) -> Look:
    return lambda path: probe_video(path, sandbox=sandbox)


def refusal(path: Path, sandbox: Sandbox, limits: Limits | None = None) -> MediaRejected:
    with pytest.raises(MediaRejected) as caught:
        probe_video(path, limits, sandbox)
    return caught.value


@pytest.mark.parametrize(
    ("name", "container", "codec", "changes"),
    [
        ("a.mp4", Container.MP4, "h264", {}),
        ("a.mov", Container.MP4, "hevc", {"codec": "libx265"}),
        ("a.mkv", Container.MATROSKA, "h264", {}),
        ("a.webm", Container.MATROSKA, "vp9", {"codec": "libvpx-vp9"}),
        ("b.webm", Container.MATROSKA, "vp8", {"codec": "libvpx"}),
        ("b.mp4", Container.MP4, "av1", {"codec": "libsvtav1"}),
        ("a.ts", Container.MPEGTS, "h264", {}),
        ("a.avi", Container.AVI, "h264", {}),
        ("f.mp4", Container.MP4, "h264", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    ],
)
def test_every_container_and_codec_gives_the_same_facts(
    tmp_path: Path, look: Look, name: str, container: Container, codec: str, changes: dict[str, object]
) -> None:
    path = draw_clip(tmp_path / name, frames=30, keyframe_every=10, **changes)
    probe = look(path)
    assert (probe.kind, probe.container, probe.codec) == (MediaKind.VIDEO, container, codec)
    assert (probe.width, probe.height, probe.coded_width, probe.coded_height) == (320, 240, 320, 240)
    assert probe.frame_count == 30
    assert probe.frames_us.tolist() == [40_000 * i for i in range(30)]
    assert probe.duration_us == 1_200_000
    assert probe.keyframes_us == (0, 400_000, 800_000)
    assert probe.warnings == ()
    assert probe.size_bytes == path.stat().st_size
    assert not probe.has_audio


def draw_mpeg4(path: Path) -> Path:
    """Write 30 frames of MPEG-4 Part 2, whose time base has at most 16 bits."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for index in range(30):
            rgb = np.full((240, 320, 3), 8 * index, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        out.mux(stream.encode())
    return path


def test_mpeg4_part_2_is_taken_where_its_times_can_be_trusted(
    tmp_path: Path, look: Look, sandbox: Sandbox
) -> None:
    probe = look(draw_mpeg4(tmp_path / "a.mp4"))
    assert (probe.codec, probe.frames_us.tolist()) == ("mpeg4", [40_000 * i for i in range(30)])
    fault = refusal(draw_mpeg4(tmp_path / "a.avi"), sandbox)
    assert fault.reason is RejectReason.UNSUPPORTED_CODEC
    assert "mpeg4 in AVI" in fault.seen


def test_the_hash_is_that_of_the_bytes(tmp_path: Path, look: Look) -> None:
    import hashlib

    path = draw_clip(tmp_path / "a.mp4", frames=3)
    assert look(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_the_displayed_size_is_that_after_rotation(tmp_path: Path, look: Look, rotation: int) -> None:
    probe = look(draw_clip(tmp_path / "a.mp4", width=320, height=192, frames=3, rotation=rotation))
    assert (probe.width, probe.height, probe.rotation) == (320, 192, rotation)
    assert (probe.coded_width > probe.coded_height) == (rotation in (0, 180))


def test_the_displayed_size_has_square_pixels(tmp_path: Path, look: Look) -> None:
    probe = look(draw_clip(tmp_path / "a.mp4", frames=3, pixel_aspect=Fraction(4, 3)))
    assert (probe.coded_width, probe.width, probe.height) == (320, 427, 240)
    assert probe.sample_aspect_ratio == (4, 3)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_variable_rates_keep_their_times(tmp_path: Path, look: Look, name: str) -> None:
    times = variable_times([20, 10, 20], [33_333, 200_000, 16_667])
    probe = look(draw_clip(tmp_path / name, times_us=times))
    assert probe.is_variable_rate
    assert MediaWarning.VARIABLE_RATE in probe.warnings
    assert np.abs(probe.frames_us - np.array(times)).max() <= TICK_US


def test_interlaced_and_hdr_are_flagged(tmp_path: Path, look: Look) -> None:
    interlaced = look(draw_clip(tmp_path / "i.mp4", frames=5, is_interlaced=True))
    assert interlaced.is_interlaced
    assert MediaWarning.INTERLACED in interlaced.warnings
    grey = np.full((4, 3), 128, np.uint8)
    for transfer in TRANSFER_CODES:
        path = draw_patches(
            tmp_path / f"{transfer}.mp4", grey, matrix="bt2020", is_full=False, bits=10, transfer=transfer
        )
        probe = look(path)
        assert (probe.color_matrix, probe.color_range, probe.color_transfer) == (
            "bt2020",
            "limited",
            transfer,
        )
        assert probe.is_hdr == (transfer != "bt709")
        assert (MediaWarning.HDR in probe.warnings) == probe.is_hdr


def test_a_wrong_extension_is_only_a_warning(tmp_path: Path, look: Look) -> None:
    path = draw_clip(tmp_path / "a.mkv", frames=3).rename(tmp_path / "a.mp4")
    assert look(path).warnings == (MediaWarning.EXTENSION_MISMATCH,)


def test_sound_and_a_cover_picture_are_told(tmp_path: Path, look: Look) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        sound = out.add_stream("aac", rate=48_000)
        picture = np.full((64, 64, 3), 99, np.uint8)
        out.mux(cover.encode(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuvj420p")))
        for index in range(5):
            out.mux(video.encode(av.VideoFrame.from_ndarray(displayed_frame(Clip(), index), format="rgb24")))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 48_000
        for stream, frame in ((video, None), (sound, silence), (sound, None)):
            out.mux(stream.encode(frame))
    probe = look(path)
    assert (probe.has_audio, probe.stream_count, probe.attached_pictures) == (True, 3, 1)
    assert probe.warnings == (MediaWarning.ATTACHED_PICTURE,)
    assert (probe.codec, probe.frame_count) == ("h264", 5)


def test_an_edit_list_moves_zero_to_the_first_frame_shown(tmp_path: Path, look: Look) -> None:
    # Copying from inside a group of pictures makes players skip what is stored before the start.
    source = draw_clip(tmp_path / "s.mp4", frames=50, keyframe_every=50)
    with av.open(str(source)) as given, av.open(str(tmp_path / "cut.mp4"), "w") as out:
        video = given.streams.video[0]
        copy = out.add_stream_from_template(video)
        for packet in given.demux(video):
            if packet.size:
                shift = int(Fraction(18, 25) / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
                out.mux(packet)
    probe = look(tmp_path / "cut.mp4")
    assert probe.frames_us.tolist() == [40_000 * i for i in range(32)]
    assert probe.keyframes_us == (0,)


@pytest.mark.parametrize(("name", "codec"), [("a.jpg", "mjpeg"), ("a.png", "png"), ("a.webp", "libwebp")])
def test_still_pictures_are_a_kind_of_their_own(tmp_path: Path, look: Look, name: str, codec: str) -> None:
    path = tmp_path / name
    path.write_bytes(encode_picture(displayed_frame(Clip(), 5), codec))
    probe = look(path)
    assert probe.kind is MediaKind.PICTURE
    assert (probe.width, probe.height, probe.frame_count, probe.duration_us) == (320, 240, 1, 0)
    assert probe.warnings == ()


def test_each_limit_refuses_by_its_own_reason(tmp_path: Path, sandbox: Sandbox) -> None:
    path = draw_clip(tmp_path / "a.mp4", frames=30)
    cases = {
        RejectReason.SOURCE_TOO_LARGE: Limits(size_bytes=1000),
        RejectReason.LIMIT_DURATION: Limits(duration_us=1_000_000),
        RejectReason.LIMIT_PIXELS: Limits(pixels=320 * 239),
        RejectReason.LIMIT_FRAMES: Limits(frames=29),
        RejectReason.TOO_SMALL: Limits(min_side_px=241),
    }
    for reason, limits in cases.items():
        assert refusal(path, sandbox, limits).reason is reason
    assert (
        probe_video(path, Limits(frames=30, duration_us=1_200_000, pixels=320 * 240), sandbox).frame_count
        == 30
    )


def test_refusals_tell_small_bounds_by_their_numbers(tmp_path: Path, sandbox: Sandbox) -> None:
    path = draw_clip(tmp_path / "a.mp4", frames=30)
    picture = tmp_path / "a.png"
    picture.write_bytes(encode_picture(displayed_frame(Clip(), 0), "png"))
    said = refusal(path, sandbox, Limits(duration_us=1_000_000)).seen
    assert said == "1.2 s, at most 1 s are taken"
    assert refusal(path, sandbox, Limits(size_bytes=1000)).seen.endswith("at most 1.0 kB are taken")
    memory = refusal(picture, sandbox, Limits(memory_bytes=1))
    assert memory.reason is RejectReason.LIMIT_MEMORY
    assert memory.seen.endswith("needs more than 1 bytes")


def test_a_picture_above_the_limit_is_refused_by_its_header(tmp_path: Path, sandbox: Sandbox) -> None:
    path = tmp_path / "a.png"
    data = bytearray(encode_picture(displayed_frame(Clip(), 0), "png"))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    path.write_bytes(data)
    assert refusal(path, sandbox).reason is RejectReason.LIMIT_PIXELS


def test_paths_that_are_no_files_are_refused(tmp_path: Path, sandbox: Sandbox) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert refusal(tmp_path / "absent.mp4", sandbox).reason is RejectReason.SOURCE_NOT_FOUND
    assert refusal(tmp_path, sandbox).reason is RejectReason.NOT_VIDEO
    assert refusal(tmp_path / "pipe.mp4", sandbox).reason is RejectReason.NOT_VIDEO
    assert refusal(Path("with\0nul.mp4"), sandbox).reason is RejectReason.SOURCE_NOT_FOUND
    assert refusal(tmp_path / f"{'a' * 300}.mp4", sandbox).reason is RejectReason.SOURCE_NOT_FOUND


def test_every_cut_of_a_small_file_has_an_answer(tmp_path: Path, sandbox: Sandbox) -> None:
    data = draw_clip(tmp_path / "a.mp4", width=64, height=64, frames=5).read_bytes()
    cut = tmp_path / "cut.mp4"
    reasons: set[RejectReason] = set()
    for length in range(0, len(data), max(1, len(data) // 60)):
        cut.write_bytes(data[:length])
        reasons.add(refusal(cut, sandbox).reason)
    assert reasons <= {
        RejectReason.EMPTY, RejectReason.NOT_VIDEO, RejectReason.TRUNCATED, RejectReason.CORRUPT,
    }  # fmt: skip


def test_a_probe_without_a_sandbox_brings_its_own(tmp_path: Path) -> None:
    assert probe_video(draw_clip(tmp_path / "a.mp4", frames=3)).frame_count == 3


@pytest.mark.parametrize("name", ["two.mp4", "two.mkv"])
def test_of_several_video_streams_the_first_is_screened_with_a_warning(
    tmp_path: Path, look: Look, sandbox: Sandbox, name: str
) -> None:
    """The one behind it is larger and longer: a choice by size or length would show."""
    second = Clip(width=640, height=480, frames=60)
    path = draw_two_streams(tmp_path / name, second, width=320, height=240, frames=30)
    seen = look(path)
    assert MediaWarning.SEVERAL_VIDEO_STREAMS in seen.warnings
    assert (seen.stream_index, seen.stream_count) == (0, 2)
    assert (seen.width, seen.height, seen.frame_count, seen.duration_us) == (320, 240, 30, 1_200_000)
    stream = decode_samples(path, seen, plan_samples(seen, Sampling()).targets, sandbox=sandbox)
    frames = [frame for group in stream for frame in group.rgb]
    assert [read_index(frame) for frame in frames] == list(range(30))
    assert {frame.shape for frame in frames} == {(240, 320, 3)}
