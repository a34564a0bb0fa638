"""When two boxes are one face: the rule that links frames to tracks and the tracks of successive shards."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from engine.arrays import F32, I64, U8, Bool
from engine.faces.shots import is_cut


@dataclass(frozen=True)
class TrackRules:
    """How far a face may move and change between two samples and still be the same."""

    max_shift: float = 1.0  # distance of the centres over the mean side: one face between two samples
    max_growth: float = 1.7  # ratio of the sides: a step towards the camera
    max_growth_alone: float = 1.3  # likewise of the only face before and after, however far it moved
    max_gap_us: int = 3_000_000  # unseen for longer it is a new track
    max_step_us: int = 30_000_000  # if seen in the sample before; 600 samples of 4 h are 24 s apart
    max_tracks: int = 20  # scored at the same time


TRACK_RULES = TrackRules()


def to_places(boxes: F32, aspect: float) -> F32:
    """Bring boxes [n, 4] from fractions of a picture of that width by height to a square unit, its height."""
    return boxes * np.array([aspect, 1, aspect, 1], np.float32)


def match_places(
    before: F32, after: F32, rules: TrackRules, allowed: Bool | None = None, *, may_be_alone: bool = True
) -> list[tuple[int, int]]:
    """Pair places [n, 4] with later places [m, 4], closest pairs first, each at most once.

    Pairs that moved or grew too far, or are not ``allowed`` [n, m], stay apart. The only face before and the
    only one after may have crossed the whole picture, as somebody does who walks through it between two
    samples; not if other faces are known of (``may_be_alone``). The cost of a pair is its shift over the
    mean side, plus the logarithm of its growth, less its overlap; equal costs go by order.
    """
    first, second = before[:, None, :], after[None, :, :]
    side_first, side_second = _sides(first), _sides(second)
    centres = (first[..., :2] + first[..., 2:] / 2) - (second[..., :2] + second[..., 2:] / 2)
    shift = np.hypot(centres[..., 0], centres[..., 1]) / ((side_first + side_second) / 2)
    growth = np.abs(np.log(side_first / side_second))
    possible = (shift <= rules.max_shift) & (growth <= np.log(rules.max_growth))
    if may_be_alone and len(before) == len(after) == 1:
        possible |= growth <= np.log(rules.max_growth_alone)
    if allowed is not None:
        possible &= allowed
    cost = shift + growth - overlap(before, after)
    rows, columns = np.nonzero(possible)
    pairs: list[tuple[int, int]] = []
    free_rows, free_columns = set(rows.tolist()), set(columns.tolist())
    for place in np.argsort(cost[rows, columns], kind="stable"):
        row, column = int(rows[place]), int(columns[place])
        if row in free_rows and column in free_columns:
            free_rows.remove(row)
            free_columns.remove(column)
            pairs.append((row, column))
    return pairs


def overlap(before: F32, after: F32) -> F32:
    """Return intersection over union of places [n, 4] and [m, 4] as [n, m]."""
    first, second = before[:, None, :], after[None, :, :]
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    union = first[..., 2:].prod(axis=-1) + second[..., 2:].prod(axis=-1) - shared
    return shared / union


def _sides(places: F32) -> F32:
    return np.sqrt(places[..., 2] * places[..., 3])


class ShardTracks(Protocol):
    """What linking reads of a shard's evidence; rows are faces, in order of time."""

    @property
    def track(self) -> I64:
        """[n] ordinal of the track, from 0; negative for a face without one."""
        ...

    @property
    def pts_us(self) -> I64:
        """[n] time of the face's sample."""
        ...

    @property
    def box(self) -> F32:
        """[n, 4] fractions of the displayed picture."""
        ...

    @property
    def samples_us(self) -> I64:
        """[m] times of the decoded samples, rising."""
        ...

    @property
    def cuts_us(self) -> tuple[int, ...]:
        """Times of the samples that are the first of a new shot."""
        ...

    @property
    def border_views(self) -> U8:
        """[2, ``VIEW_SIZE``] views of the first and last sample; [0, ``VIEW_SIZE``] without a sample."""
        ...

    @property
    def frame_width(self) -> int:
        """Width of the displayed picture, square pixels."""
        ...

    @property
    def frame_height(self) -> int:
        """Height of the displayed picture."""
        ...


@dataclass(frozen=True)
class _Ends:
    """The tracks that reach one border of a shard, by ordinal."""

    track: I64  # [n]
    time_us: I64  # [n] of the sample next to the border
    places: F32  # [n, 4] there
    border_us: int  # of the shard's sample next to the border


def find_border_cuts(shards: Sequence[ShardTracks]) -> list[int]:
    """Return the times of the samples that begin a shard and, unlike the one before them, a new shot.

    No shard can see these cuts by itself. Shards without a sample are passed over.
    """
    seen = [shard for shard in shards if len(shard.samples_us)]
    return [int(after.samples_us[0]) for before, after in pairwise(seen) if _is_cut_between(before, after)]


def _is_cut_between(before: ShardTracks, after: ShardTracks) -> bool:
    return is_cut(before.border_views[-1], after.border_views[0])


def link_tracks(shards: Sequence[ShardTracks], *, rules: TrackRules = TRACK_RULES) -> list[I64]:
    """Give the tracks of successive shards ordinals in the video, joining those that cross a border.

    Returns for each shard the video's ordinal of each of its tracks. Across a border faces are joined as
    within a shard: not over a cut, and not when they were out of sight for long.
    """
    links: list[I64] = []
    before: ShardTracks | None = None
    following = 0
    for shard in shards:
        link = np.full(int(shard.track.max(initial=-1)) + 1, -1, np.int64)
        if before is not None and len(shard.samples_us) and not _is_cut_between(before, shard):
            last, first = _ends(before, at_start=False), _ends(shard, at_start=True)
            for row, column in _match_ends(last, first, rules):
                link[first.track[column]] = links[-1][last.track[row]]
        new = np.flatnonzero(link < 0)
        link[new] = following + np.arange(len(new))
        following += len(new)
        links.append(link)
        before = shard if len(shard.samples_us) else None
    return links


def _ends(shard: ShardTracks, *, at_start: bool) -> _Ends:
    """Take each track's first or last face, unless a cut lies between it and the border."""
    border = int(shard.samples_us[0 if at_start else -1])
    tracks, rows = np.unique(shard.track if at_start else shard.track[::-1], return_index=True)
    rows = rows if at_start else len(shard.track) - 1 - rows
    times = shard.pts_us[rows]
    cuts = np.array(shard.cuts_us, np.int64)
    within = times < cuts.min(initial=np.iinfo(np.int64).max) if at_start else times >= cuts.max(initial=0)
    kept = within & (tracks >= 0)
    places = to_places(shard.box[rows[kept]], shard.frame_width / shard.frame_height)
    return _Ends(tracks[kept], times[kept], places, border)


def _match_ends(last: _Ends, first: _Ends, rules: TrackRules) -> list[tuple[int, int]]:
    gap = first.time_us[None, :] - last.time_us[:, None]
    at_border = (last.time_us == last.border_us)[:, None] & (first.time_us == first.border_us)[None, :]
    allowed = (gap <= rules.max_gap_us) | (at_border & (gap <= rules.max_step_us))
    pairs: list[tuple[int, int]] = []
    for place, time_us in enumerate(
        np.unique(first.time_us)
    ):  # who comes first has the choice, as in a shard
        allowed[[row for row, _ in pairs]] = False
        columns = np.flatnonzero(first.time_us == time_us)
        # Whoever comes later finds those in sight who came before.
        found = match_places(
            last.places, first.places[columns], rules, allowed[:, columns], may_be_alone=place == 0
        )
        pairs += [(row, int(columns[column])) for row, column in found]
    return pairs
