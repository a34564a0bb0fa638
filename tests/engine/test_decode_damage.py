"""Damaged files: a frame is shown as it is, or named as missing with its time."""

from pathlib import Path

import av
import numpy as np
import pytest

from engine.results import MediaWarning
from engine.sampling import Sampling, plan_samples
from engine.sandbox.handle import Sandbox
from tests.engine.decoding import decode, times_and_indices
from tests.media import Clip, draw_clip


def test_a_cut_file_gives_its_frames_and_names_the_others(tmp_path: Path, sandbox: Sandbox) -> None:
    whole = draw_clip(tmp_path / "a.mp4", keyframe_every=10, container_options={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    probe, groups, report = decode(cut, sandbox, Sampling())
    assert probe.frame_count == 50
    assert MediaWarning.CORRUPT_FRAMES in probe.warnings
    found = times_and_indices(groups)
    assert 5 <= len(found) < 28
    assert all(pts == 40_000 * index for pts, index in found)
    assert {m.pts_us for m in report.missing} | {pts for pts, _ in found} == {
        t.pts_us for t in plan_samples(probe).targets
    }
    assert all(m.detail for m in report.missing)
    assert MediaWarning.CORRUPT_FRAMES in report.warnings


def test_damage_in_one_group_spares_the_others(tmp_path: Path, sandbox: Sandbox) -> None:
    path = draw_clip(tmp_path / "a.mp4", frames=60, keyframe_every=20)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat")
    middle = start + (len(data) - start) * 45 // 100
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    _, groups, report = decode(path, sandbox, Sampling(min_samples=60))
    good = [index for _, index in times_and_indices(groups)]
    assert set(range(20)) <= set(good)
    assert set(range(40, 60)) <= set(good)
    assert 0 < len(report.missing) <= 20


def test_a_group_behind_damage_is_shown_as_it_is(tmp_path: Path, sandbox: Sandbox) -> None:
    path = draw_clip(tmp_path / "a.mp4", width=160, height=128, frames=30, keyframe_every=10, b_frames=0)
    clean = np.concatenate([group.rgb for group in decode(path, sandbox, Sampling(min_samples=30))[1]])
    with av.open(str(path)) as source:
        packets = [packet for packet in source.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    place = data.index(bytes(packets[8])) + packets[8].size // 2
    data[place : place + 176] = bytes(176)
    path.write_bytes(data)
    _, groups, report = decode(path, sandbox, Sampling(min_samples=30))
    assert [missing.pts_us for missing in report.missing] == [320_000, 360_000]
    for group in groups:
        for rgb, time_us in zip(group.rgb, group.pts_us, strict=True):
            assert np.array_equal(rgb, clean[time_us // 40_000])


@pytest.mark.parametrize("damaged", [1, 11, 25, 39])
def test_a_file_is_answered_up_to_its_damage_and_always_alike(
    tmp_path: Path, sandbox: Sandbox, damaged: int
) -> None:
    """Which of two threads comes first moves nothing, wherever in a long group the damage is."""
    path = draw_clip(tmp_path / "a.mp4", width=160, height=128, frames=40, keyframe_every=40, b_frames=0)
    clean = np.concatenate([group.rgb for group in decode(path, sandbox, Sampling(min_samples=40))[1]])
    with av.open(str(path)) as source:
        packets = [packet for packet in source.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    place = data.index(bytes(packets[damaged])) + packets[damaged].size // 2
    data[place : place + packets[damaged].size // 2] = bytes(packets[damaged].size // 2)
    path.write_bytes(data)
    for _ in range(10):
        _, groups, report = decode(path, sandbox, Sampling(min_samples=40))
        assert [missing.pts_us for missing in report.missing] == [40_000 * n for n in range(damaged, 40)]
        assert np.array_equal(np.concatenate([group.rgb for group in groups]), clean[:damaged])


def test_frames_behind_a_spoilt_first_keyframe_are_missing_and_move_no_others(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    path = draw_clip(tmp_path / "a.mp4", frames=30, keyframe_every=10)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as source:
        first = next(packet for packet in source.demux(video=0) if packet.size)
    place = data.index(bytes(first))
    data[place : place + first.size] = bytes(first.size)
    path.write_bytes(data)
    probe, groups, report = decode(path, sandbox, Sampling(min_samples=30))
    assert (probe.frame_count, probe.keyframes_us) == (30, (0, 400_000, 800_000))
    assert times_and_indices(groups) == [(40_000 * index, index) for index in range(10, 30)]
    assert [missing.pts_us for missing in report.missing] == [40_000 * index for index in range(10)]


def test_every_frame_is_either_decoded_rightly_or_missing_wherever_bytes_are_wiped(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    # Zeros, not flipped bits: a flip may give another valid picture, which no H.264 decoder can notice. And
    # without CABAC, in which a stretch of zeros may be valid, too.
    clip = Clip(width=160, height=128, frames=30, keyframe_every=10, b_frames=0)
    whole = draw_clip(tmp_path / "a.mp4", clip).read_bytes()
    clean = decode(tmp_path / "a.mp4", sandbox, Sampling(min_samples=30))[1]
    truth = np.concatenate([group.rgb for group in clean]).astype(int)
    rng = np.random.default_rng(5)
    start, end = whole.index(b"mdat") + 4, whole.index(b"moov") - 4
    for _ in range(12):
        data = bytearray(whole)
        size = int(rng.integers(8, 200))
        place = int(rng.integers(start, end - size))
        data[place : place + size] = bytes(size)
        spoiled = tmp_path / "b.mp4"
        spoiled.write_bytes(data)
        _, groups, report = decode(spoiled, sandbox, Sampling(min_samples=30))
        assert report.decoded + len(report.missing) == report.requested == 30
        assert 0 < len(report.missing) <= 10
        shown = np.concatenate([group.rgb for group in groups])
        times = np.concatenate([group.pts_us for group in groups])
        errors = [np.abs(shown[i] - truth[t // 40_000]).mean() for i, t in enumerate(times)]
        assert max(errors) < 12
