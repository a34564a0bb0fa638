"""The clips of the benchmark are the same on every machine and show what they claim."""

from pathlib import Path

import av
import numpy as np

from bench import work
from engine.faces.detect import MtcnnDetector


def test_equal_seeds_draw_equal_frames_and_others_do_not() -> None:
    clip, heads = work.ClipSet("T", 1, 1, 320, 180), work.cut_heads()
    first, again, other = (next(work.draw_frames(clip, heads, seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_detector_finds_every_head_that_was_drawn() -> None:
    clip, heads = work.ClipSet("T", 1, 1, 640, 360), work.cut_heads()
    frames = np.stack([next(work.draw_frames(clip, heads, seed)) for seed in range(4)])
    found = [int((faces.confidence > 0.9).sum()) for faces in MtcnnDetector().detect(frames)]
    assert all(count in (1, 2) for count in found)


def test_a_long_clip_repeats_its_packets_with_growing_times(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(work, "DRAWN_SECONDS_MAX", 1)
    clips = work.make_clips((work.ClipSet("T", 1, 3, 160, 96, gop=10),), tmp_path)
    with av.open(str(clips["T"][0])) as source:
        times = [frame.time for frame in source.decode(video=0)]
    assert len(times) == 3 * work.FPS
    assert np.allclose(np.diff(times), 1 / work.FPS)


def test_clips_that_are_there_are_not_drawn_again(tmp_path: Path, monkeypatch) -> None:
    sets = (work.ClipSet("T", 1, 1, 160, 96),)
    before = work.make_clips(sets, tmp_path)["T"][0].stat().st_mtime_ns
    monkeypatch.setattr(work, "cut_heads", lambda: (_ for _ in ()).throw(AssertionError("drawn again")))
    assert work.make_clips(sets, tmp_path)["T"][0].stat().st_mtime_ns == before
