"""Why samples did not come: by cause, and in so few entries that every result has room for them."""

from collections.abc import Iterable, Sequence

from engine.evidence import MissingSample
from engine.results import MISSING_GROUPS, EvidenceReason, MissingSamples, RejectReason

_Cause = tuple[EvidenceReason, str]
_REJECTIONS = frozenset(reason.value for reason in RejectReason)


def group_missing(missing: Iterable[MissingSample]) -> tuple[MissingSamples, ...]:
    """Return missing samples by cause, the most frequent first, ``MISSING_GROUPS`` entries at most.

    Of more causes the rarer ones share the last entry, so that no sample goes unnamed. What broke a decode
    off is told before all damage, however few samples it took: each of its reasons begins an entry, or stands
    at the beginning of the shared one. The shared entry has the reason of most of its samples.
    """
    times: dict[_Cause, list[int]] = {}
    for sample in missing:
        times.setdefault((sample.reason, sample.detail), []).append(sample.pts_us)
    causes = sorted(times, key=lambda cause: (-len(times[cause]), min(times[cause])))
    if len(causes) <= MISSING_GROUPS:
        return tuple(_name(*cause, times[cause]) for cause in causes)
    ends = _find_ends(causes)
    chosen = sorted(causes, key=lambda cause: cause not in ends)[: MISSING_GROUPS - 1]
    named = [cause for cause in causes if cause in chosen]
    rare = [cause for cause in causes if cause not in chosen]
    return (*(_name(*cause, times[cause]) for cause in named), _share(rare, ends, times))


def _find_ends(causes: Sequence[_Cause]) -> dict[_Cause, str]:
    """Return the first cause of each reason to break off, with the reason, which its text begins with."""
    firsts: dict[str, _Cause] = {}
    for cause in causes:
        begin, colon, _ = cause[1].partition(":")
        if colon and begin in _REJECTIONS:
            firsts.setdefault(begin, cause)
    return {cause: reason for reason, cause in firsts.items()}


def _share(rare: Sequence[_Cause], ends: dict[_Cause, str], times: dict[_Cause, list[int]]) -> MissingSamples:
    """Return the one entry of all causes that have none of their own."""
    untold = ", ".join(ends[cause] for cause in rare if cause in ends)
    detail = f"{len(rare)} rarer causes, the first of them: {rare[0][1]}"
    counts: dict[EvidenceReason, int] = {}
    for cause in rare:
        counts[cause[0]] = counts.get(cause[0], 0) + len(times[cause])
    return _name(
        max(counts, key=counts.__getitem__),
        f"{untold}: {detail}" if untold else detail,
        [time for cause in rare for time in times[cause]],
    )


def _name(reason: EvidenceReason, detail: str, times: Sequence[int]) -> MissingSamples:
    us = tuple(sorted(times))
    return MissingSamples(reason, detail, len(us), us[0], us[-1], us)
