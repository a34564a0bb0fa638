"""All error rates of an evaluation: overall, by method of manipulation, by subset and by compression."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.aggregate import sigmoid
from engine.arrays import F32, F64, I64, U8
from engine.calibrate import clopper_pearson_upper, to_logit
from engine.container import MediaKind
from engine.evaluation.manifest import MANIPULATED, REAL, Item
from engine.evaluation.metrics import (
    Bootstrap,
    Estimate,
    Roc,
    RocMaker,
    calibration_measure,
    compare_pairs,
    mean_measure,
    spread_measure,
)
from engine.policy import Policy, Threshold
from engine.results import Outcome, VerdictValue

LEAST_TRACKS = 20
"""Real tracks from which on their scatter is told."""


@dataclass(frozen=True)
class PeakFace:
    """The highest scoring face of a file, for the pictures of the report."""

    pts_us: int
    score: float
    box: tuple[float, float, float, float]  # x, y, w, h as fractions of the displayed picture
    patches: U8  # [g, g]
    to_frame: F32  # [2, 3] crop pixels to displayed-frame pixels
    crop_size: int


@dataclass(frozen=True)
class ItemResult:
    """What screening said of one labelled file."""

    item: Item
    outcome: Outcome
    kind: MediaKind | None = None  # null when the file was refused
    raw: float | None = None
    calibrated: float | None = None
    interval: tuple[float, float] | None = None
    verdict: VerdictValue | None = None
    reasons: tuple[str, ...] = ()
    frame_scores: tuple[float, ...] = ()  # highest face score of every scored sample
    track_logits: tuple[float, ...] = ()  # of a video's scored tracks
    window_gaps: tuple[float, ...] = ()  # every window's logit less the mean of its track
    overlaps: tuple[float, ...] = ()  # intersection over union of map and mask, frame by frame
    peak: PeakFace | None = None
    error: str | None = None  # why the file was refused
    mask_error: str | None = None  # why its mask could not be used
    wall_ms: float = 0.0

    @property
    def used(self) -> float | None:
        """The score that verdicts use: calibrated where there is a calibration."""
        return self.raw if self.calibrated is None else self.calibrated


@dataclass(frozen=True)
class Measures:
    """The error rates of one set of files."""

    real: int  # files with a score
    manipulated: int
    frame_auc: Estimate
    video_auc: Estimate
    tpr_at_fpr_10: Estimate
    tpr_at_fpr_1: Estimate
    eer: Estimate
    ece: Estimate
    pair_accuracy: Estimate
    patch_iou: Estimate


@dataclass(frozen=True)
class Group:
    """Measures of a part of the files: ``by`` is method, subset or compression."""

    by: str
    name: str
    measures: Measures


@dataclass(frozen=True)
class OperatingPoint:
    """How many files of each kind reach a threshold."""

    name: str
    threshold: float
    real_above: int
    real: int
    manipulated_above: int
    manipulated: int
    fpr_upper: float | None  # one-sided 95 % upper bound of the false positive rate

    def __post_init__(self) -> None:
        if self.real_above > self.real or self.manipulated_above > self.manipulated:
            raise ValueError("more files above the threshold than there are")


@dataclass(frozen=True)
class RealTails:
    """How far real tracks, and windows within them, scatter upwards, in logits, with bootstrap intervals.

    That is half of their standard deviation: by as much the highest tenth exceeds its own lower end on
    average, whether values are normal (0.47) or logistic (0.55), and of 25 tracks the highest tenth is two.
    ``track_scale`` and ``window_scale`` of ``AggregationParams`` suit as long as these are no more than 1.7
    times as large; null where too few real videos were scored.
    """

    track_scale: Estimate
    window_scale: Estimate


@dataclass(frozen=True)
class Evaluation:
    """Everything that an evaluation measured."""

    results: tuple[ItemResult, ...]
    overall: Measures
    groups: tuple[Group, ...]
    points: tuple[OperatingPoint, ...]
    roc: Roc | None
    tails: RealTails

    @property
    def unscored(self) -> tuple[ItemResult, ...]:
        """The files without a score; no measure counts them."""
        return tuple(result for result in self.results if result.raw is None)

    @property
    def outcomes(self) -> dict[tuple[int, Outcome], int]:
        """Files by label and outcome."""
        return dict(Counter((result.item.label, result.outcome) for result in self.results))


def measure_results(
    results: Sequence[ItemResult], thresholds: Sequence[Threshold], policy: Policy, *, replicates: int = 1000
) -> Evaluation:
    """Compute all measures. Files without a score are kept aside: nothing stands in for them."""
    scored = [result for result in results if result.raw is not None]
    bootstrap = Bootstrap([result.item.cluster for result in scored], replicates)
    videos = join_pictures(scored, _columns(scored)[0])
    roc = RocMaker(videos.score, videos.label).curve(np.ones(len(videos.score))) if scored else None
    return Evaluation(
        results=tuple(results),
        overall=_measure(scored, bootstrap),
        groups=tuple(_groups(scored, bootstrap)),
        points=tuple(_points(scored, thresholds, policy)),
        roc=roc,
        tails=_real_tails(scored, bootstrap),
    )


def _real_tails(scored: Sequence[ItemResult], bootstrap: Bootstrap) -> RealTails:
    real = [result for result in scored if result.item.label == REAL]
    tracks = [(logit, result) for result in real for logit in result.track_logits]
    gaps = [(gap, result) for result in real for gap in result.window_gaps]
    if len(tracks) < LEAST_TRACKS:
        return RealTails(*(Estimate(None, None, None, len(column)) for column in (tracks, gaps)))
    return RealTails(_half_spread(tracks, bootstrap), _half_spread(gaps, bootstrap))


def _half_spread(column: Sequence[tuple[float, ItemResult]], bootstrap: Bootstrap) -> Estimate:
    spread = spread_measure(np.array([value for value, _ in column], np.float64))
    return bootstrap.estimate(
        lambda weight: spread(weight) / 2, [result.item.cluster for _, result in column]
    )


def _columns(scored: Sequence[ItemResult]) -> tuple[F64, I64]:
    score = np.array([result.used for result in scored], np.float64)
    return score, np.array([result.item.label for result in scored], np.int64)


@dataclass(frozen=True)
class Videos:
    """One entry for each video: what its figures are computed from, and what a model is fitted on."""

    score: F64  # [n]
    label: I64  # [n]
    clusters: tuple[str, ...]  # [n]


def join_pictures(scored: Sequence[ItemResult], scores: F64) -> Videos:
    """Return the files as videos, with ``scores`` [n]: pictures that agree in :func:`_name_video` are one.

    Its score is the mean of their logits, as frames of a file are averaged. A file of a video stays one
    entry, and so does a picture that stands alone.
    """
    videos: dict[object, list[int]] = {}
    for place, result in enumerate(scored):
        is_frame = result.kind is MediaKind.PICTURE
        key = _name_video(result.item) if is_frame else place
        videos.setdefault(key, []).append(place)
    score = [scores[places] for places in videos.values()]
    joined = [float(each[0]) if len(each) == 1 else float(sigmoid(to_logit(each).mean())) for each in score]
    first = [scored[places[0]].item for places in videos.values()]
    return Videos(
        np.array(joined, np.float64),
        np.array([item.label for item in first], np.int64),
        tuple(item.cluster for item in first),
    )


def _name_video(item: Item) -> tuple[object, ...]:
    """Return what the frames of one video share.

    ``video_id`` alone is not enough: sets give all forgeries of a recording, and all of its encodings, the id
    of the recording, so that these are drawn together for intervals.
    """
    return (item.video_id, item.label, item.method, item.subset, item.compression)


def _measure(scored: Sequence[ItemResult], bootstrap: Bootstrap) -> Measures:
    score, label = _columns(scored)
    videos = join_pictures(scored, score)
    video = RocMaker(videos.score, videos.label)
    frames = [(value, result) for result in scored for value in result.frame_scores]
    frame = RocMaker(
        np.array([value for value, _ in frames], np.float64),
        np.array([result.item.label for _, result in frames], np.int64),
    )
    return Measures(
        real=int((label == REAL).sum()),
        manipulated=int((label == MANIPULATED).sum()),
        frame_auc=bootstrap.estimate(frame.measure(Roc.area), [result.item.cluster for _, result in frames]),
        video_auc=bootstrap.estimate(video.measure(Roc.area), videos.clusters),
        tpr_at_fpr_10=bootstrap.estimate(
            video.measure(lambda roc: roc.true_positive_at(0.10)), videos.clusters
        ),
        tpr_at_fpr_1=bootstrap.estimate(
            video.measure(lambda roc: roc.true_positive_at(0.01)), videos.clusters
        ),
        eer=bootstrap.estimate(video.measure(Roc.equal_error), videos.clusters),
        ece=bootstrap.estimate(calibration_measure(videos.score, videos.label), videos.clusters),
        pair_accuracy=_pair_accuracy(scored, bootstrap),
        patch_iou=_patch_overlap(scored, bootstrap),
    )


def _pair_accuracy(scored: Sequence[ItemResult], bootstrap: Bootstrap) -> Estimate:
    score, label = _columns(scored)
    names, shares = compare_pairs(score, label, [result.item.pair_id for result in scored])
    return bootstrap.estimate(mean_measure(shares), [f"pair {name}" for name in names])


def _patch_overlap(scored: Sequence[ItemResult], bootstrap: Bootstrap) -> Estimate:
    masked = [result for result in scored if result.overlaps]
    means = np.array([np.mean(result.overlaps) for result in masked], np.float64)
    return bootstrap.estimate(mean_measure(means), [result.item.cluster for result in masked])


def _groups(scored: Sequence[ItemResult], bootstrap: Bootstrap) -> Iterable[Group]:
    """Yield the measures of every method, subset and compression that is not all that was scored.

    Methods are compared with the real files of the subsets in which they occur, or with all real files if
    those subsets hold none.
    """
    methods = _values(scored, lambda item: item.method)
    for method in methods:
        forged = [result for result in scored if result.item.method == method]
        subsets = {result.item.subset for result in forged}
        real = [result for result in scored if result.item.label == REAL]
        beside = [result for result in real if result.item.subset in subsets] or real
        if len(beside) + len(forged) < len(scored):
            yield Group("method", method, _measure([*beside, *forged], bootstrap))
    by_column: tuple[tuple[str, Callable[[Item], str]], ...] = (
        ("subset", lambda item: item.subset),
        ("compression", lambda item: item.compression),
    )
    for by, read in by_column:
        values = _values(scored, read)
        for value in values:
            within = [result for result in scored if read(result.item) == value]
            if len(within) < len(scored):
                yield Group(by, value, _measure(within, bootstrap))


def _values(scored: Sequence[ItemResult], read: Callable[[Item], str]) -> list[str]:
    return sorted({read(result.item) for result in scored} - {""})


def _points(
    scored: Sequence[ItemResult], thresholds: Sequence[Threshold], policy: Policy
) -> Iterable[OperatingPoint]:
    score, label = _columns(scored)
    named = [(f"fitted for {t.fpr_target:.3g} false alarms", t.threshold) for t in thresholds]
    named += [(f"policy {policy.name} low", policy.low), (f"policy {policy.name} high", policy.high)]
    real, forged = score[label == REAL], score[label == MANIPULATED]
    for name, threshold in named:
        above = int((real >= threshold).sum())
        yield OperatingPoint(
            name=name,
            threshold=threshold,
            real_above=above,
            real=len(real),
            manipulated_above=int((forged >= threshold).sum()),
            manipulated=len(forged),
            fpr_upper=clopper_pearson_upper(above, len(real)) if len(real) else None,
        )
