"""Requests and answers as JSON: what is not exactly the record is refused."""

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.container import Container
from engine.decoders.job import DecodeJob, FieldsWrong, MediaFacts, ProbeJob, read_record
from engine.limits import Limits

FACTS = MediaFacts(
    codec="h264", pixel_format="yuv420p", coded_width=320, coded_height=240, width=240, height=320,
    rotation=90, is_mirrored=False, sar_numerator=1, sar_denominator=1, stream_index=0, time_numerator=1,
    time_denominator=90_000, origin_ticks=-7200, rate_numerator=25, rate_denominator=1, duration_us=2_000_000,
    declared_duration_us=None, frame_us=40_000, is_variable_rate=False, is_index_timed=False,
    has_bad_timestamps=False, is_hdr=False, is_interlaced=False, color_matrix="bt709", color_range="limited",
    color_transfer="bt709", has_audio=True, stream_count=2, video_streams=1, attached_pictures=0,
    lost_frames=0, bit_rate=1_000_000,
)  # fmt: skip


def test_jobs_survive_json() -> None:
    probe = ProbeJob(Container.MPEGTS, 12_345, Limits(wall_s=3.5, frames=7))
    assert ProbeJob.from_json(json.loads(json.dumps(probe.to_json()))) == probe
    decode = DecodeJob(
        Container.MP4, 99, "pyav", FACTS, ((0, 0), (40_000, 0), (1_000_000, 960_000)), 20_000, 3, Limits()
    )
    assert DecodeJob.from_json(json.loads(json.dumps(decode.to_json()))) == decode


def test_facts_survive_json() -> None:
    for facts in (FACTS, replace(FACTS, declared_duration_us=5)):
        assert read_record(MediaFacts, json.loads(json.dumps(asdict(facts)))) == facts


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=300),
    st.lists(st.integers(), max_size=3), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


@given(st.sampled_from(sorted(asdict(FACTS))), anything)
def test_any_wrong_field_is_refused_and_any_accepted_one_has_its_type(name: str, value: object) -> None:
    values = asdict(FACTS) | {name: value}
    try:
        facts = read_record(MediaFacts, values)
    except ValueError:
        return
    assert getattr(facts, name) == value
    assert type(value) is type(asdict(FACTS)[name]) or name == "declared_duration_us"


@pytest.mark.parametrize(
    "spoiled",
    [
        {"rotation": 45},
        {"width": 0},
        {"sar_denominator": 0},
        {"time_denominator": 0},
        {"duration_us": -1},
        {"frame_us": 0},
        {"codec": "h264\n"},
        {"codec": "x" * 201},
        {"bit_rate": 1 << 63},
        {"is_hdr": 1},
        {"width": True},
    ],
    ids=str,
)
def test_senseless_facts_are_refused(spoiled: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_record(MediaFacts, asdict(FACTS) | spoiled)


def test_missing_and_unknown_fields_are_named() -> None:
    values = asdict(FACTS)
    del values["codec"]
    with pytest.raises(FieldsWrong, match="codec"):
        read_record(MediaFacts, values)
    with pytest.raises(FieldsWrong, match="extra"):
        read_record(MediaFacts, asdict(FACTS) | {"extra": 1})
