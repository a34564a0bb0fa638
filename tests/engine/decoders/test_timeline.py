"""Presentation times from packets: exact, from zero, whatever the file claims."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.decoders.timeline import (
    DISCARDED,
    KEY,
    LOST,
    NO_TIME,
    PacketTable,
    Rate,
    TimeBase,
    Timeline,
    build_timeline,
)


def timeline(
    pts: list[int | None],
    dts: list[int | None] | None = None,
    flags: list[int] | None = None,
    *,
    base: tuple[int, int] = (1, 1000),
    rate: Rate | None = None,
    duration: int = 40,
    is_index_timed: bool = False,
) -> Timeline:
    def ticks(values: list[int | None]) -> np.ndarray:
        return np.array([NO_TIME if v is None else v for v in values], dtype=np.int64)

    n = len(pts)
    table = PacketTable(
        ticks(pts),
        ticks(dts if dts is not None else list(range(n))),
        np.full(n, duration, dtype=np.int64),
        np.array(flags if flags is not None else [KEY] + [0] * (n - 1), dtype=np.uint8),
    )
    return build_timeline(table, TimeBase(*base), rate, is_index_timed=is_index_timed)


def test_times_count_from_the_first_frame_shown_not_from_the_first_stored() -> None:
    found = timeline([1000, 1120, 1040, 1080])
    assert found.frames_us.tolist() == [0, 40_000, 80_000, 120_000]
    assert found.origin_ticks == 1000
    assert found.duration_us == 160_000
    assert not found.is_variable_rate


def test_what_an_edit_list_cuts_off_is_not_shown_and_does_not_shift_time() -> None:
    found = timeline([-80, -40, 0, 40, 80], flags=[KEY | DISCARDED, DISCARDED, 0, 0, KEY])
    assert found.frames_us.tolist() == [0, 40_000, 80_000]
    assert found.keyframes_us.tolist() == [0, 80_000]


def test_pictures_that_lead_the_first_keyframe_are_not_counted() -> None:
    found = timeline([120, 40, 80, 160], flags=[KEY, 0, 0, 0])
    assert found.frames_us.tolist() == [0, 40_000]


def test_packets_before_the_first_keyframe_are_not_counted() -> None:
    found = timeline([0, 40, 80, 120], flags=[0, 0, KEY, 0])
    assert found.frames_us.tolist() == [0, 40_000]
    assert found.origin_ticks == 80


def test_a_stream_without_any_keyframe_starts_at_its_first_packet() -> None:
    assert timeline([0, 40, 80], flags=[0, 0, 0]).frames_us.tolist() == [0, 40_000, 80_000]


def test_ticks_are_turned_into_microseconds_exactly_over_four_hours() -> None:
    ticks: list[int | None] = [i * 1001 for i in range(0, 431_568, 1000)]
    found = timeline(ticks, base=(1, 30_000))
    assert found.frames_us[-1] == round(431_000 * 1001 * 1_000_000 / 30_000)


@pytest.mark.parametrize(
    ("pts", "dts"),
    [
        ([0, 0, 0, 0, 0], None),
        ([0, 40, 80, 0, 40], [0, 40, 80, 0, 40]),
        ([0, None, 80, 120, 160], None),
    ],
    ids=["all zero", "starts again", "one missing"],
)
def test_unusable_time_stamps_give_frame_number_over_rate(
    pts: list[int | None], dts: list[int | None] | None
) -> None:
    found = timeline(pts, dts, rate=Rate(50, 1))
    assert found.is_index_timed
    assert found.frames_us.tolist() == [0, 20_000, 40_000, 60_000, 80_000]
    assert found.duration_us == 100_000


def test_a_container_without_presentation_times_is_timed_by_index() -> None:
    found = timeline([0, 40, 80], rate=Rate(30_000, 1001), is_index_timed=True)
    assert found.frames_us.tolist() == [0, 33_367, 66_733]


def test_two_rates_in_one_file_are_a_variable_rate() -> None:
    assert timeline([0, 40, 80, 120, 320, 520, 720]).is_variable_rate


def test_rounding_to_milliseconds_is_no_variable_rate() -> None:
    assert not timeline([round(i * 1000 / 29.97) for i in range(300)]).is_variable_rate


def test_lost_frames_have_times_but_offer_no_keyframe() -> None:
    found = timeline([0, 40, 80, 120], flags=[KEY, 0, LOST | KEY, LOST])
    assert found.frames_us.tolist() == [0, 40_000, 80_000, 120_000]
    assert found.keyframes_us.tolist() == [0]


def test_a_last_frame_may_stay_long_but_not_for_ever() -> None:
    assert timeline([0, 40], duration=2000).duration_us == 2_040_000
    assert timeline([0, 40], duration=10**12).duration_us == 10_040_000


def test_nothing_to_show_is_an_error() -> None:
    with pytest.raises(ValueError, match="shows a frame"):
        timeline([0, 40], flags=[DISCARDED, DISCARDED])


@given(
    st.lists(st.integers(-(1 << 62), 1 << 62), min_size=1, max_size=60),
    st.lists(st.integers(0, 7), min_size=60, max_size=60),
    st.tuples(st.integers(1, 1 << 31), st.integers(1, 1 << 31)),
)
def test_any_time_stamps_give_increasing_times_from_zero(
    pts: list[int], flags: list[int], base: tuple[int, int]
) -> None:
    flags = [KEY, *flags[1 : len(pts)]]  # so that one packet shows a frame, whatever follows
    found = timeline(list(pts), list(pts), flags, base=base)
    assert found.frames_us[0] == 0
    assert np.all(np.diff(found.frames_us) > 0)
    assert np.all(np.diff(found.keyframes_us) > 0)
    assert found.keyframes_us[0] == 0
    assert found.duration_us > found.frames_us[-1]


@given(st.permutations(list(range(12))), st.integers(0, 10**9))
def test_the_order_of_storage_and_the_origin_do_not_matter(order: list[int], origin: int) -> None:
    shown = [origin + 40 * i for i in range(12)]
    stored: list[int | None] = [shown[0]] + [shown[1:][i] for i in order if i < 11]
    assert timeline(stored).frames_us.tolist() == [40_000 * i for i in range(12)]


@given(st.integers(0, 1 << 50), st.integers(1, 100_000), st.integers(1, 1_000_000_000))
def test_a_time_finds_its_tick_again(ticks: int, numerator: int, denominator: int) -> None:
    base = TimeBase(numerator, denominator, 17)
    if 2 * denominator < numerator * 1_000_000:  # a tick is longer than two microseconds
        assert base.ticks(base.time_us(ticks)) == ticks
