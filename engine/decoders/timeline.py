"""From the packets of a stream to exact presentation times. Pure arithmetic, no media library."""

from dataclasses import dataclass

import numpy as np

from engine.arrays import I64, U8, Bool

NO_TIME = np.iinfo(np.int64).min  # a packet without a time stamp

KEY = 1
DISCARDED = 2  # before the start of an edit list, or invisible by its codec's rules
LOST = 4  # listed in the container's index, absent from the file

_LONGEST_LAST_FRAME_US = 10_000_000
_LONGEST_SPAN_S = 100 * 365 * 86_400  # time stamps that claim a century are noise


@dataclass(frozen=True)
class Rate:
    """Frames per second as a fraction."""

    numerator: int
    denominator: int

    def __post_init__(self) -> None:
        if self.numerator < 1 or self.denominator < 1:
            raise ValueError(f"no frame rate: {self.numerator}/{self.denominator}")

    def time_us(self, index: int) -> int:
        """Presentation time of frame number ``index`` at this constant rate."""
        return (index * 1_000_000 * self.denominator + self.numerator // 2) // self.numerator


FALLBACK_RATE = Rate(25, 1)


@dataclass(frozen=True)
class TimeBase:
    """Seconds per tick as a fraction, and the tick that counts as zero."""

    numerator: int
    denominator: int
    origin_ticks: int = 0

    def __post_init__(self) -> None:
        if self.numerator < 1 or self.denominator < 1:
            raise ValueError(f"no time base: {self.numerator}/{self.denominator}")

    def time_us(self, ticks: int) -> int:
        """Microseconds since the origin, rounded half up; exact for any size of integer."""
        scaled = (ticks - self.origin_ticks) * self.numerator * 1_000_000
        return (scaled + self.denominator // 2) // self.denominator

    def ticks(self, time_us: int) -> int:
        """The tick nearest to a time."""
        scaled = time_us * self.denominator
        unit = self.numerator * 1_000_000
        return (scaled + unit // 2) // unit + self.origin_ticks


@dataclass(frozen=True)
class PacketTable:
    """The packets of one stream in file order, as columns of equal length."""

    pts: I64  # [n] ticks, NO_TIME where absent
    dts: I64  # [n] ticks, NO_TIME where absent
    duration: I64  # [n] ticks, 0 where absent
    flags: U8  # [n] KEY, DISCARDED, LOST

    def __post_init__(self) -> None:
        lengths = {self.pts.shape, self.dts.shape, self.duration.shape, self.flags.shape}
        if len(lengths) != 1 or self.pts.ndim != 1:
            raise ValueError(f"packet columns differ in length: {lengths}")


@dataclass(frozen=True)
class Timeline:
    """When each presented frame is shown. Times are microseconds from the first presented frame."""

    origin_ticks: int
    frames_us: I64  # [n] strictly increasing, first is 0
    keyframes_us: I64  # [k] strictly increasing, first is 0: decoding can always begin at the start
    duration_us: int
    frame_us: int  # the usual distance of two frames
    is_variable_rate: bool
    is_index_timed: bool  # time stamps were unusable: frame i of the stream is shown at i / rate


def _presented(table: PacketTable) -> Bool:
    """Rows that show a frame: not discarded, from the first keyframe on in file order."""
    shown = (table.flags & DISCARDED) == 0
    keys = np.flatnonzero(table.flags & KEY)
    if keys.size:
        shown[: keys[0]] = False
        start = table.pts[keys[0]]
        if start != NO_TIME:  # pictures that lead the first keyframe need what came before it
            shown &= (table.pts == NO_TIME) | (table.pts >= start)
    return shown


def _has_usable_times(table: PacketTable, shown: Bool, base: TimeBase) -> bool:
    pts = table.pts[shown]
    if np.any(pts == NO_TIME):
        return False
    span = int(pts.max()) - int(pts.min())
    if span * base.numerator > _LONGEST_SPAN_S * base.denominator:
        return False
    if len(np.unique(pts)) < 0.95 * len(pts):
        return False
    dts = table.dts[table.dts != NO_TIME]
    return not np.any(np.diff(dts) < 0)


def _to_us(ticks: I64, base: TimeBase) -> I64:
    """`TimeBase.time_us` of sorted ticks."""
    if not len(ticks):
        return ticks
    longest = max(abs(int(ticks[0]) - base.origin_ticks), abs(int(ticks[-1]) - base.origin_ticks))
    if longest * base.numerator * 1_000_000 + base.denominator < 1 << 62:
        scaled = (ticks - base.origin_ticks) * (base.numerator * 1_000_000)
        return (scaled + base.denominator // 2) // base.denominator
    # Python integers: ticks times 10^6 pass 2^63 for hostile time stamps.
    return np.array([base.time_us(int(t)) for t in ticks], dtype=np.int64)


def _is_variable(frames_us: I64, tick_us: float) -> bool:
    steps = np.diff(frames_us)
    if steps.size < 2:
        return False
    usual = float(np.median(steps))
    tolerance = max(1.5 * tick_us, 0.02 * usual)
    return bool(np.mean(np.abs(steps - usual) > tolerance) > 0.02)


def build_timeline(
    table: PacketTable, base: TimeBase, rate: Rate | None, *, is_index_timed: bool
) -> Timeline:
    """The timeline of a stream; ``base`` without an origin. ``rate`` is used when time stamps are unusable.

    ``is_index_timed`` says that the container keeps no presentation times at all (AVI). Raises `ValueError`
    when no packet shows a frame.
    """
    shown = _presented(table)
    if not shown.any():
        raise ValueError("no packet shows a frame")
    if is_index_timed or not _has_usable_times(table, shown, base):
        return _index_timeline(table, shown, rate or FALLBACK_RATE)
    pts = table.pts[shown]
    origin = int(pts.min())
    base = TimeBase(base.numerator, base.denominator, origin)
    order = np.argsort(pts, kind="stable")
    frames_us = np.unique(_to_us(pts[order], base))
    keys = shown & ((table.flags & KEY) != 0) & ((table.flags & LOST) == 0)
    keyframes_us = np.union1d(np.zeros(1, np.int64), _to_us(np.sort(table.pts[keys]), base))
    frame_us = _usual_step_us(frames_us, rate)
    last_us = base.time_us(int(table.duration[shown][order[-1]]) + origin)
    last_us = min(last_us, max(frame_us, _LONGEST_LAST_FRAME_US)) if last_us > 0 else frame_us
    tick_us = 1e6 * base.numerator / base.denominator
    return Timeline(
        origin_ticks=origin,
        frames_us=frames_us,
        keyframes_us=keyframes_us,
        duration_us=int(frames_us[-1]) + last_us,
        frame_us=frame_us,
        is_variable_rate=_is_variable(frames_us, tick_us),
        is_index_timed=False,
    )


def _usual_step_us(frames_us: I64, rate: Rate | None) -> int:
    if len(frames_us) > 1:
        return max(1, int(np.median(np.diff(frames_us))))
    return max(1, (rate or FALLBACK_RATE).time_us(1))


def _index_timeline(table: PacketTable, shown: Bool, rate: Rate) -> Timeline:
    ordinal = np.cumsum(shown) - 1
    keys = ordinal[shown & ((table.flags & KEY) != 0) & ((table.flags & LOST) == 0)]
    count = int(shown.sum())
    frames_us = np.array([rate.time_us(i) for i in range(count)], dtype=np.int64)
    return Timeline(
        origin_ticks=0,
        frames_us=frames_us,
        keyframes_us=np.union1d(np.zeros(1, np.int64), frames_us[keys]),
        duration_us=rate.time_us(count),
        frame_us=max(1, rate.time_us(1)),
        is_variable_rate=False,
        is_index_timed=True,
    )
