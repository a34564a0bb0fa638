import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.container import Container, MediaKind
from engine.probe import Probe
from engine.results import MediaWarning
from engine.sampling import SampleTarget, ShardPlan, cut_shards, plan_samples
from workers.plan_json import PlanInvalid, plan_from_json, plan_to_json, probe_from_json, probe_to_json

steps = st.lists(st.integers(1, 10**9), max_size=60)
pairs = st.tuples(st.integers(-(10**9), 10**9), st.integers(1, 10**9))


@st.composite
def probes(draw):
    frames_us = np.cumsum([0, *draw(steps)], dtype=np.int64)
    keys = sorted({0, *draw(st.lists(st.sampled_from(frames_us.tolist()), max_size=9))})
    return Probe(
        kind=draw(st.sampled_from(MediaKind)),
        container=draw(st.sampled_from(Container)),
        codec=draw(st.text(max_size=20)),
        pixel_format="yuv420p",
        coded_width=draw(st.integers(1, 16384)),
        coded_height=draw(st.integers(1, 16384)),
        width=draw(st.integers(1, 16384)),
        height=draw(st.integers(1, 16384)),
        rotation=draw(st.sampled_from((0, 90, 180, 270))),
        sample_aspect_ratio=draw(pairs),
        duration_us=int(frames_us[-1]) + 40_000,
        frame_count=len(frames_us),
        keyframes_us=tuple(keys),
        time_base=draw(pairs),
        is_variable_rate=draw(st.booleans()),
        is_hdr=draw(st.booleans()),
        is_interlaced=draw(st.booleans()),
        color_matrix="bt709",
        color_range="tv",
        color_transfer="bt709",
        has_audio=draw(st.booleans()),
        stream_count=draw(st.integers(1, 16)),
        attached_pictures=draw(st.integers(0, 3)),
        size_bytes=draw(st.integers(1, 2**40)),
        sha256="ab" * 32,
        bit_rate=draw(st.integers(0, 2**33)),
        warnings=tuple(draw(st.lists(st.sampled_from(MediaWarning), unique=True))),
        is_mirrored=draw(st.booleans()),
        rate=draw(pairs),
        origin_ticks=draw(st.integers(-(2**40), 2**40)),
        frames_us=frames_us if draw(st.booleans()) else np.zeros(0, np.int64),
    )


@st.composite
def plans(draw):
    times = np.cumsum(draw(st.lists(st.integers(1, 10**8), max_size=40)), dtype=np.int64).tolist()
    targets = tuple(SampleTarget(time, draw(st.integers(0, time))) for time in times)
    end_us = (times[-1] if times else 0) + draw(st.integers(1, 10**9))
    return ShardPlan(draw(st.integers(0, 63)), 0, end_us, targets)


@given(probes())
def test_probe_comes_back_from_the_text_of_its_json(probe):
    again = probe_from_json(json.loads(json.dumps(probe_to_json(probe), allow_nan=False)))
    assert again == probe
    assert again.frames_us.tolist() == probe.frames_us.tolist()


@given(plans())
def test_plan_comes_back_from_the_text_of_its_json(plan):
    assert plan_from_json(json.loads(json.dumps(plan_to_json(plan), allow_nan=False))) == plan


@given(probes())
def test_probe_from_json_leads_to_the_same_shards(probe):
    again = probe_from_json(probe_to_json(probe))
    assert cut_shards(plan_samples(again), again) == cut_shards(plan_samples(probe), probe)


def _probe(count=900):
    frames_us = np.arange(count, dtype=np.int64) * 1_000_000 // 30
    values = dict.fromkeys(("is_variable_rate", "is_hdr", "is_interlaced", "has_audio"), False)
    values |= dict.fromkeys(("color_matrix", "color_range", "color_transfer"), "bt709")
    values |= dict.fromkeys(("coded_width", "coded_height", "width", "height"), 64)
    return Probe(
        kind=MediaKind.VIDEO, container=Container.MP4, codec="h264", pixel_format="yuv420p", rotation=0,
        sample_aspect_ratio=(1, 1), duration_us=int(frames_us[-1]) + 33_333, frame_count=count,
        keyframes_us=(0,), time_base=(1, 30), stream_count=1, attached_pictures=0, size_bytes=1,
        sha256="0" * 64, bit_rate=1, frames_us=frames_us, **values,
    )  # fmt: skip


def test_times_of_four_hours_take_little_room():
    text = json.dumps(probe_to_json(_probe(4 * 3600 * 30)))
    assert len(text) < 20_000


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"kind": "film"},
        {"frames_us": {"n": 3, "z": ""}},
        {"frames_us": {"n": 10**12, "z": ""}},
        {"frames_us": {"n": 900, "z": "!"}},
        {"width": 0},
        {"rate": [1]},
        {"colour": "red"},
    ],
)
def test_altered_probe_is_refused(change):
    with pytest.raises(PlanInvalid):
        probe_from_json({**probe_to_json(_probe()), **change})


@pytest.mark.parametrize(
    "change",
    [
        {"v": None},
        {"targets": [[1]]},
        {"targets": [[10**12, 0]]},
        {"index": "0"},
        {"end_us": 0.5},
        {"more": 1},
    ],
)
def test_altered_plan_is_refused(change):
    plan = ShardPlan(0, 0, 100, (SampleTarget(5, 0),))
    with pytest.raises(PlanInvalid):
        plan_from_json({**plan_to_json(plan), **change})


def test_probe_without_frame_times_stays_without_them():
    probe = replace(_probe(), frames_us=np.zeros(0, np.int64))
    assert len(probe_from_json(probe_to_json(probe)).frames_us) == 0
