"""Decoding end to end: the frame that was asked for, upright and in its colours, or a named absence."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from engine.decode import decode_samples
from engine.errors import MediaRejected, Unavailable
from engine.probe import probe_video
from engine.results import EvidenceReason, MediaWarning, RejectReason
from engine.sampling import SampleTarget, Sampling, cut_shards, plan_samples
from engine.sandbox.handle import Sandbox
from tests.engine.decoding import SPARSE, decode, times_and_indices
from tests.media import (
    LUMA_WEIGHTS,
    Clip,
    displayed_frame,
    draw_clip,
    draw_patches,
    encode_picture,
    patch_centres,
    read_index,
    variable_times,
    with_exif_orientation,
)
from tests.tolerance import COLOUR_LEVELS, TICK_US

CLIPS: dict[str, dict[str, object]] = {
    "h264.mp4": {},
    "open.mp4": {"options": {"x264-params": "open-gop=1:keyint=12:min-keyint=12"}},
    "fragmented.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "hevc.mp4": {"codec": "libx265"},
    "ten_bit.mp4": {"pixel_format": "yuv420p10le"},
    "av1.mp4": {"codec": "libsvtav1"},
    "vp8.webm": {"codec": "libvpx"},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "h264.mkv": {},
    "h264.ts": {},
    "h264.avi": {},
    "one_key.mp4": {"keyframe_every": 1000},
    "all_keys.mp4": {"keyframe_every": 1, "b_frames": 0},
    "odd.mp4": {"width": 321, "height": 241, "pixel_format": "yuv444p"},
    "variable.mp4": {"times_us": variable_times([20, 10, 20], [33_333, 200_000, 16_667])},
    "variable.mkv": {"times_us": variable_times([20, 10, 20], [33_333, 200_000, 16_667])},
    "turned.mp4": {"rotation": 90},
    "cuts.mp4": {"cuts": (17, 31), "keyframe_every": 25},
}
BY_DECORD = ("h264.mp4", "open.mp4", "fragmented.mp4", "vp8.webm", "vp9.webm", "h264.mkv", "variable.mp4",
             "hevc.mp4", "ten_bit.mp4", "av1.mp4", "one_key.mp4", "all_keys.mp4", "turned.mp4")  # fmt: skip


@pytest.mark.parametrize("sampling", [SPARSE, Sampling()], ids=["sparse", "dense"])
@pytest.mark.parametrize(
    ("name", "decoder"), [(name, "pyav") for name in CLIPS] + [(name, "decord") for name in BY_DECORD]
)
def test_the_frame_that_comes_is_the_frame_asked_for(
    tmp_path: Path, sandbox: Sandbox, name: str, decoder: str, sampling: Sampling
) -> None:
    clip = Clip(**CLIPS[name])
    path = draw_clip(tmp_path / name, clip)
    _, groups, report = decode(path, sandbox, sampling, decoder=decoder)
    found = times_and_indices(groups)
    assert report.missing == ()
    assert (report.requested, report.decoded) == (len(found), len(found))
    truth = clip.times()
    assert all(abs(truth[index] - pts_us) <= TICK_US for pts_us, index in found)
    assert [t for t, _ in found] == [int(t) for g in groups for t in g.target_us]


@pytest.mark.parametrize("name", ["a.ts", "a.avi"])
def test_decord_refuses_what_it_would_get_wrong(tmp_path: Path, sandbox: Sandbox, name: str) -> None:
    path = draw_clip(tmp_path / name, frames=12)
    with pytest.raises(Unavailable) as caught:
        decode(path, sandbox, decoder="decord")
    assert caught.value.reason is RejectReason.ENGINE_UNAVAILABLE
    assert "pyav" in caught.value.hint


def test_decord_blames_itself_where_it_reads_no_frame(tmp_path: Path, sandbox: Sandbox) -> None:
    path = draw_clip(tmp_path / "a.mp4", frames=12)
    content = path.read_bytes()
    begin, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    begin += 700  # it looks at the first bytes when it opens
    path.write_bytes(content[:begin] + b"\xff" * (end - begin) + content[end:])
    with pytest.raises(Unavailable, match="decord stopped") as caught:
        decode(path, sandbox, decoder="decord")
    assert caught.value.hint == "use the decoder pyav"


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
def test_far_targets_are_found_across_many_groups(tmp_path: Path, sandbox: Sandbox, name: str) -> None:
    path = draw_clip(tmp_path / name, width=160, height=128, frames=800, keyframe_every=25)
    probe = probe_video(path, sandbox=sandbox)
    shards = cut_shards(plan_samples(probe, SPARSE), probe, Sampling(shard_us=9_000_000))
    assert len(shards) > 2
    for shard in shards:
        _, groups, report = decode(path, sandbox, targets=shard.targets)
        assert report.missing == ()
        assert [40_000 * index for _, index in times_and_indices(groups)] == [t.pts_us for t in shard.targets]


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_frames_come_upright(tmp_path: Path, sandbox: Sandbox, rotation: int, decoder: str) -> None:
    path = draw_clip(tmp_path / "a.mp4", width=320, height=192, frames=6, rotation=rotation)
    _, groups, _ = decode(path, sandbox, decoder=decoder)
    assert groups[0].rgb.shape == (6, 192, 320, 3)
    error = np.abs(groups[0].rgb[3].astype(int) - displayed_frame(Clip(width=320, height=192), 3))
    assert error.mean() < 8


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_frames_have_square_pixels(tmp_path: Path, sandbox: Sandbox, decoder: str) -> None:
    path = draw_clip(tmp_path / "a.mp4", frames=4, pixel_aspect=Fraction(3, 2))
    _, groups, _ = decode(path, sandbox, decoder=decoder)
    assert groups[0].rgb.shape == (4, 240, 480, 3)
    narrow = groups[0].rgb[2].reshape(240, 160, 3, 3).mean(axis=2)
    wide = displayed_frame(Clip(), 2).reshape(240, 160, 2, 3).mean(axis=2)
    assert np.abs(narrow - wide).mean() < 8


PALETTE = np.array(
    [[0, 0, 0], [255, 255, 255], [128, 128, 128], [200, 40, 40], [40, 200, 40], [40, 40, 200],
     [224, 172, 140], [141, 85, 36], [255, 219, 172], [90, 60, 50], [230, 230, 60], [60, 200, 200],
     [255, 0, 0], [0, 255, 0], [0, 0, 255], [64, 64, 64]], dtype=np.uint8,
)  # fmt: skip


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
@pytest.mark.parametrize(("bits", "codec"), [(8, "libx264"), (10, "libx264"), (10, "libx265")])
@pytest.mark.parametrize("is_full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", LUMA_WEIGHTS)
def test_colours_are_right_for_every_matrix_range_and_depth(
    tmp_path: Path, sandbox: Sandbox, matrix: str, is_full: bool, bits: int, codec: str, decoder: str
) -> None:
    path = draw_patches(tmp_path / "a.mp4", PALETTE, matrix=matrix, is_full=is_full, bits=bits, codec=codec)
    _, groups, _ = decode(path, sandbox, decoder=decoder)
    error = np.abs(patch_centres(groups[0].rgb[1], len(PALETTE)) - PALETTE)
    assert error.max() <= COLOUR_LEVELS


def test_an_undeclared_matrix_is_bt601_below_720_rows_and_bt709_from_there(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    many = np.tile(PALETTE, (6, 1))  # 12 rows of patches, 768 pixels high
    for colours, matrix in ((PALETTE, "bt601"), (many, "bt709")):
        path = draw_patches(
            tmp_path / f"{matrix}.mp4", colours, matrix=matrix, is_full=False, is_declared=False
        )
        _, groups, _ = decode(path, sandbox)
        error = np.abs(patch_centres(groups[0].rgb[1], len(colours)) - colours)
        assert error.max() <= COLOUR_LEVELS


@pytest.mark.parametrize("transfer", ["pq", "hlg"])
def test_hdr_grey_stays_grey_rises_and_keeps_white_below_the_top(
    tmp_path: Path, sandbox: Sandbox, transfer: str
) -> None:
    steps = np.arange(0, 256, 17, dtype=np.uint8)
    path = draw_patches(
        tmp_path / "a.mp4", steps[:, None].repeat(3, 1), matrix="bt2020", is_full=False, bits=10,
        transfer=transfer,
    )  # fmt: skip
    _, groups, _ = decode(path, sandbox)
    shown = patch_centres(groups[0].rgb[1], len(steps))
    assert np.ptp(shown, axis=1).max() <= COLOUR_LEVELS
    assert np.all(np.diff(shown[:, 1]) >= 0)
    assert shown[0, 1] <= COLOUR_LEVELS
    # Diffuse white, 203 cd/m2: code 58 % of PQ, 75 % of HLG (BT.2408). 0.85 in linear light is 237.
    white = np.interp(255 * {"pq": 0.581, "hlg": 0.75}[transfer], steps, shown[:, 1])
    assert abs(white - 237) <= 6


def test_interlaced_frames_show_one_moment(tmp_path: Path, sandbox: Sandbox) -> None:
    def comb(index: int, rgb: np.ndarray) -> None:
        rgb[120:200] = 30
        rgb[120:200:2, 100:200] = 220  # the first field shows a bar, the second does not yet

    path = draw_clip(tmp_path / "a.mp4", frames=4, is_interlaced=True, paint=comb)
    _, groups, _ = decode(path, sandbox)
    bar = groups[0].rgb[2, 130:190, 120:180].astype(int)
    assert np.abs(np.diff(bar, axis=0)).max() < 40
    assert bar.mean() > 190


@pytest.mark.parametrize(("codec", "name"), [("mjpeg", "a.jpg"), ("png", "a.png"), ("libwebp", "a.webp")])
@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_still_pictures_are_one_frame(
    tmp_path: Path, sandbox: Sandbox, codec: str, name: str, decoder: str
) -> None:
    picture = displayed_frame(Clip(), 77)
    path = tmp_path / name
    path.write_bytes(encode_picture(picture, codec, {"quality": "95"}))
    _, groups, report = decode(path, sandbox, decoder=decoder)
    assert (len(groups), report.decoded) == (1, 1)
    assert groups[0].pts_us.tolist() == [0]
    assert read_index(groups[0].rgb[0]) == 77
    if codec == "png":
        assert np.array_equal(groups[0].rgb[0], picture)


def test_a_jpeg_is_turned_as_its_exif_says(tmp_path: Path, sandbox: Sandbox) -> None:
    upright = displayed_frame(Clip(), 9)
    stored = {3: np.rot90(upright, 2), 6: np.rot90(upright, 1), 8: np.rot90(upright, -1), 2: upright[:, ::-1]}
    for orientation, picture in stored.items():
        path = tmp_path / f"{orientation}.jpg"
        path.write_bytes(with_exif_orientation(encode_picture(picture, "mjpeg"), orientation))
        probe, groups, _ = decode(path, sandbox)
        assert (probe.width, probe.height) == (320, 240)
        assert read_index(groups[0].rgb[0]) == 9


def test_transparent_pixels_are_shown_over_white(tmp_path: Path, sandbox: Sandbox) -> None:
    picture = np.dstack([displayed_frame(Clip(), 3), np.full((240, 320), 255, np.uint8)])
    picture[100:150, :, 3] = 0
    picture[150:200, :, 3] = 128
    path = tmp_path / "a.png"
    path.write_bytes(encode_picture(picture, "png"))
    shown = decode(path, sandbox)[1][0].rgb[0]
    assert np.array_equal(shown[:100], picture[:100, :, :3])
    assert np.all(shown[100:150] == 255)
    half = (picture[150:200, :, :3] * 128.0 + 255 * 127) / 255
    assert np.abs(shown[150:200] - half).max() <= 1


def test_groups_are_small(tmp_path: Path, sandbox: Sandbox) -> None:
    _, groups, _ = decode(draw_clip(tmp_path / "a.mp4", frames=40), sandbox, Sampling())
    assert [len(group) for group in groups] == [8, 8, 8, 8]
    large = draw_clip(tmp_path / "b.mp4", width=3840, height=2160, frames=4, options={"preset": "ultrafast"})
    assert [len(group) for group in decode(large, sandbox)[1]] == [2, 2]


def test_a_target_between_frames_gives_the_frame_shown_then(tmp_path: Path, sandbox: Sandbox) -> None:
    path = draw_clip(tmp_path / "a.mp4", frames=20)
    wanted = [SampleTarget(t, 0) for t in (10_000, 79_999, 80_000, 100_000)]
    _, groups, report = decode(path, sandbox, targets=wanted)
    assert times_and_indices(groups) == [(0, 0), (40_000, 1), (80_000, 2)]
    assert groups[0].target_us.tolist() == [10_000, 79_999, 80_000]
    assert [(m.pts_us, m.reason) for m in report.missing] == [(100_000, EvidenceReason.NOT_DECODED)]


def test_no_targets_are_no_work(tmp_path: Path, sandbox: Sandbox) -> None:
    _, groups, report = decode(draw_clip(tmp_path / "a.mp4", frames=3), sandbox, targets=[])
    assert groups == []
    assert (report.requested, report.decoded, report.missing) == (0, 0, ())


def test_a_file_that_changed_since_its_probe_is_refused(tmp_path: Path, sandbox: Sandbox) -> None:
    path = draw_clip(tmp_path / "a.mp4", frames=5)
    probe = probe_video(path, sandbox=sandbox)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(MediaRejected) as caught:
        list(decode_samples(path, probe, plan_samples(probe).targets, sandbox=sandbox))
    assert caught.value.reason is RejectReason.SOURCE_CHANGED


def test_unknown_decoders_are_named(tmp_path: Path, sandbox: Sandbox) -> None:
    with pytest.raises(Unavailable, match="pyav, decord"):
        decode(draw_clip(tmp_path / "a.mp4", frames=3), sandbox, decoder="magic")


def test_a_stream_left_early_can_be_closed(tmp_path: Path, sandbox: Sandbox) -> None:
    path = draw_clip(tmp_path / "a.mp4", frames=40)
    probe = probe_video(path, sandbox=sandbox)
    with decode_samples(path, probe, plan_samples(probe).targets, sandbox=sandbox) as stream:
        assert len(next(stream)) == 8
    with pytest.raises(RuntimeError, match="all groups"):
        _ = stream.report


def test_recordings_joined_end_to_end_are_read_through(tmp_path: Path, sandbox: Sandbox) -> None:
    # Time starts again in the middle, and the second part is larger with the same shape.
    parts = [
        draw_clip(tmp_path / f"{width}.ts", width=width, height=width * 3 // 4, frames=20)
        for width in (320, 640)
    ]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    probe, groups, report = decode(path, sandbox, Sampling(min_samples=40))
    assert MediaWarning.BAD_TIMESTAMPS in probe.warnings
    assert report.warnings == (MediaWarning.RESOLUTION_CHANGE,)
    assert all(group.rgb.shape[1:] == (240, 320, 3) for group in groups)
    indices = [index for _, index in times_and_indices(groups)]
    assert indices == list(range(20)) * 2
    assert report.missing == ()
