"""Which frames of a video are looked at: a grid over time, bent to keyframes and to shots."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from engine.arrays import I64, Bool
from engine.container import MediaKind
from engine.probe import Probe


@dataclass(frozen=True)
class Sampling:
    """How densely a video is sampled."""

    rate_hz: float = 1.0
    min_samples: int = 32
    max_samples: int = 600
    shard_us: int = 120_000_000

    def __post_init__(self) -> None:
        if not 0 < self.rate_hz <= 1000:
            raise ValueError(f"a rate of {self.rate_hz} samples per second")
        if not 1 <= self.min_samples <= self.max_samples:
            raise ValueError(f"{self.min_samples} to {self.max_samples} samples")
        if self.shard_us < 1_000_000:
            raise ValueError("a shard holds at least a second")


@dataclass(frozen=True, order=True)
class SampleTarget:
    """One frame to decode: when it is shown, and the keyframe from which decoding goes forward."""

    pts_us: int
    seek_us: int

    def __post_init__(self) -> None:
        if not 0 <= self.seek_us <= self.pts_us:
            raise ValueError(f"target at {self.pts_us} us from a keyframe at {self.seek_us} us")


@dataclass(frozen=True)
class SamplePlan:
    """All targets of a video, sorted by time, none twice."""

    targets: tuple[SampleTarget, ...]

    def __post_init__(self) -> None:
        times = [target.pts_us for target in self.targets]
        if any(b <= a for a, b in pairwise(times)):
            raise ValueError("targets are sorted by time and none stands twice")


@dataclass(frozen=True)
class ShardPlan:
    """The targets in one span [start_us, end_us) of the video: the unit of work."""

    index: int
    start_us: int
    end_us: int
    targets: tuple[SampleTarget, ...]

    def __post_init__(self) -> None:
        if not all(self.start_us <= target.pts_us < self.end_us for target in self.targets):
            raise ValueError("a target lies outside its shard")


def plan_samples(probe: Probe, sampling: Sampling | None = None) -> SamplePlan:
    """The frames to look at, every target the time of a frame. Deterministic.

    The grid has one target in the middle of each of `grid_count` equal cells. A target moves to the
    keyframe nearest to it in its cell, which costs least to decode, or else to the frame nearest to it;
    in a video so long that the maximum stretches the cells, it may be dropped between two keyframes.
    Then every shot that an irregular keyframe announces gets its first frame while the budget lasts, and
    what is missing to the minimum is filled with frames spread over those left.
    """
    sampling = sampling or Sampling()
    if probe.kind is MediaKind.PICTURE:
        return SamplePlan((SampleTarget(0, 0),))
    frames = _frame_times(probe)
    keys = np.asarray(probe.keyframes_us, dtype=np.int64)
    count = min(grid_count(probe.duration_us, sampling), len(frames))
    is_stretched = probe.duration_us * sampling.rate_hz > sampling.max_samples * 1e6
    chosen = _snapped_grid(frames, keys, probe.duration_us, count, may_thin=is_stretched)
    budget = min(sampling.max_samples, len(frames))
    chosen = _add_unseen_shots(chosen, frames, shot_starts(keys), budget)
    chosen = _fill_up(chosen, frames, min(sampling.min_samples, len(frames)))
    seeks = keys[np.searchsorted(keys, chosen, side="right") - 1]
    pairs = zip(chosen.tolist(), seeks.tolist(), strict=True)
    return SamplePlan(tuple(SampleTarget(pts, seek) for pts, seek in pairs))


def grid_count(duration_us: int, sampling: Sampling) -> int:
    """Number of grid cells: the rate times the duration, within the bounds."""
    wished = round(duration_us * sampling.rate_hz / 1e6)
    return max(sampling.min_samples, min(sampling.max_samples, wished))


def _frame_times(probe: Probe) -> I64:
    if len(probe.frames_us):
        return probe.frames_us
    # A probe without times (made by hand): an even rate is the best guess.
    return np.arange(probe.frame_count, dtype=np.int64) * probe.duration_us // probe.frame_count


def _nearest(times: I64, at: I64) -> I64:
    """For each of ``at`` the nearest of the sorted ``times``, the earlier of two equally near."""
    after = np.clip(np.searchsorted(times, at), 0, len(times) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(times[after] - at < at - times[before], times[after], times[before])


def _snapped_grid(frames: I64, keys: I64, duration_us: int, count: int, *, may_thin: bool) -> I64:
    edges = np.arange(count + 1, dtype=np.int64) * duration_us // count
    middles = (edges[:-1] + edges[1:]) // 2
    key = _nearest(keys, middles)
    # Half-open cells: two neighbours never move to the same keyframe.
    is_key = (edges[:-1] <= key) & (key < edges[1:]) & np.isin(key, frames)
    grid = np.where(is_key, key, _nearest(frames, middles))
    if may_thin:
        grid = grid[~_is_dispensable(grid, is_key, duration_us / count)]
    return np.unique(grid)


def _is_dispensable(grid: I64, is_key: Bool, spacing_us: float) -> Bool:
    """Targets that are no keyframes while both neighbours are, and lie close enough without them.

    Only asked in videos longer than the samples reach, whose spacing is stretched anyway: with a keyframe
    every 2.5 s, 20 minutes then cost 480 keyframes instead of 480 and 120 halves of groups, which is half.
    """
    result = np.zeros(len(grid), dtype=np.bool_)
    if len(grid) > 2:
        is_between = ~is_key[1:-1] & is_key[:-2] & is_key[2:]
        result[1:-1] = is_between & (grid[2:] - grid[:-2] <= 1.5 * spacing_us)
    return result


def shot_starts(keys: I64) -> I64:
    """Keyframes that stand off the usual rhythm, where encoders put them at cuts. The first is one always.

    The usual distance is the most common one (to 10 %) if half of all distances agree with it; if there is
    none, every keyframe counts.
    """
    if len(keys) < 3:
        return keys
    steps = np.diff(keys)
    steps_sorted = np.sort(steps)
    reach = np.searchsorted(steps_sorted, steps_sorted * 1.1, side="right") - np.arange(len(steps))
    start = int(np.argmax(reach))
    usual = float(np.median(steps_sorted[start : start + int(reach[start])]))
    is_usual = np.abs(steps - usual) <= 0.1 * usual
    if is_usual.mean() < 0.5:
        return keys
    return np.concatenate([keys[:1], keys[1:][~is_usual]])


def _add_unseen_shots(chosen: I64, frames: I64, starts: I64, budget: int) -> I64:
    """Add the first frame of each shot without a sample, longest shots first, within the budget."""
    ends = np.append(starts[1:], np.int64(frames[-1] + 1))
    is_unseen: Bool = np.searchsorted(chosen, starts) == np.searchsorted(chosen, ends)
    starts, lengths = starts[is_unseen], (ends - starts)[is_unseen]
    room = max(0, budget - len(chosen))
    longest = np.argsort(-lengths, kind="stable")[:room]
    return np.union1d(chosen, _nearest(frames, starts[longest]))


def _fill_up(chosen: I64, frames: I64, least: int) -> I64:
    """Frames spread evenly over those not chosen yet, until there are ``least``."""
    missing = least - len(chosen)
    if missing <= 0:
        return chosen
    left = np.setdiff1d(frames, chosen)
    places = (np.arange(missing) * 2 + 1) * len(left) // (2 * missing)
    return np.union1d(chosen, left[places])


def cut_shards(plan: SamplePlan, probe: Probe, sampling: Sampling | None = None) -> tuple[ShardPlan, ...]:
    """Cut a plan into shards of at most ``shard_us``, at keyframes where it can.

    The spans tile the video; spans without a target are left out. A cut at a keyframe means that no group
    of pictures is decoded for two shards.
    """
    sampling = sampling or Sampling()
    if probe.kind is MediaKind.PICTURE:
        return (ShardPlan(0, 0, 1, plan.targets),)
    end_us = max(probe.duration_us, plan.targets[-1].pts_us + 1) if plan.targets else probe.duration_us
    keys = np.asarray(probe.keyframes_us, dtype=np.int64)
    times = np.array([target.pts_us for target in plan.targets], dtype=np.int64)
    shards: list[ShardPlan] = []
    start = 0
    while start < end_us:
        stop = _next_cut(start, end_us, keys, sampling.shard_us)
        first, last = np.searchsorted(times, [start, stop])
        if last > first:
            shards.append(ShardPlan(len(shards), start, stop, plan.targets[first:last]))
        start = stop
    return tuple(shards)


def _next_cut(start: int, end_us: int, keys: I64, shard_us: int) -> int:
    limit = start + shard_us
    if limit >= end_us:
        return end_us
    key = int(keys[np.searchsorted(keys, limit, side="right") - 1])
    # A keyframe in the first half would make many small shards; then a cut inside a group is cheaper.
    return key if key - start > shard_us // 2 else limit
