"""From frame logits to window, track and video logits: the arithmetic of scoring, free of records.

Symbols: ``l`` a frame's logit (log odds of "manipulated"), ``q`` its quality weight in (0, 1].

Window. ``w_i = sum(q l) / sum(q)`` over 8 successive scored samples of one track. Windows slide by one
sample: against windows laid end to end a forged span of 8 samples among 20 is found at 5 % false alarms in
85 % of cases instead of 70 % (simulation of ``docs/explanation/scoring.md``), because some window holds all
of it. A window does not know the order of its frames.

Best of many. The largest of n noisy values grows with n, so the plain maximum calls long and crowded videos
forged. Let ``exp(x_k / s)`` stand for how much more likely item k is under "forged" than under "real". If
exactly one of n items is forged and each is equally likely to be the one, the evidence of all of them is the
mean of these ratios, on the scale of logits::

    peak(x; s) = s ln( mean_k exp(x_k / s) ),      max(x) - s ln n  <=  peak(x; s)  <=  max(x)

This is the maximum less a correction between 0 (all items agree) and ``s ln n`` (one stands alone), and the
harmonic mean of p-values when real logits have a logistic tail of scale s (D. J. Wilson, PNAS 2019). From
the formula follow the laws that the tests state: it depends on no order; it grows with every item; repeating
all items changes nothing; one more item lowers it by at most ``s ln((n + 1) / n)``.

Track. ``t = 0.5 peak(w; window_scale) + 0.5 top(w)`` where ``top`` is the mean of the highest quarter of the
windows; a quarter of n windows counts the last one in part, so that repeating all windows changes nothing.

Video. ``v = peak(t; track_scale)`` over the tracks that have a score. The score is ``1 / (1 + exp(-v))``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.arrays import F32, F64, I64


@dataclass(frozen=True)
class AggregationParams:
    """The numbers of the formulas above; all of them are part of the pipeline's fingerprint."""

    window: int = 8  # samples
    top_share: float = 0.25
    peak_weight: float = 0.5
    # Tails of real windows around their track, and of real tracks, in logits. They keep false alarms alike
    # over numbers of people and lengths for networks that scatter as much, up to 1.7 times: decision 0015.
    window_scale: float = 0.25
    track_scale: float = 0.6
    logit_limit: float = 8.0  # one wild frame may move a window of 8 by 2 logits at most

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"a window holds {self.window} samples")
        if not 0.0 < self.top_share <= 1.0 or not 0.0 <= self.peak_weight <= 1.0:
            raise ValueError("top_share and peak_weight are shares")
        if min(self.window_scale, self.track_scale, self.logit_limit) <= 0.0:
            raise ValueError("scales and limits are positive")


def sigmoid(logit: F64) -> F64:
    """Turn log odds into probabilities, without overflow for any finite input."""
    half = np.tanh(np.asarray(logit, np.float64) / 2)
    return 0.5 * (1.0 + half)


def soft_peak(values: F64, scale: float) -> F64:
    """Return ``scale * ln(mean(exp(values / scale)))`` over the last axis: the maximum, corrected for n.

    It lies below the maximum by ``scale * ln(n)`` at most.
    """
    top = values.max(axis=-1, keepdims=True)
    spread = np.log(np.exp((values - top) / scale).mean(axis=-1))
    return top[..., 0] + scale * spread


def top_mean(values: F64, share: float) -> F64:
    """Return the mean of the highest ``share`` of the last axis; an item on the edge counts in part."""
    count = values.shape[-1]
    held: F64 = np.clip(share * count - np.arange(count, dtype=np.float64), 0.0, 1.0)
    return (-np.sort(-values, axis=-1) * held).sum(axis=-1) / held.sum()


def window_logits(logit: F64, weight: F64, params: AggregationParams) -> F64:
    """Return the logits of all windows of one track.

    ``logit`` [..., n] and ``weight`` [n] are the scored frames of the track in order of time. Gives
    [..., n - window + 1]; raises ValueError for a track shorter than a window.
    """
    count = logit.shape[-1]
    if count < params.window:
        raise ValueError(f"{count} scored frames do not fill a window of {params.window}")
    limited = np.clip(logit, -params.logit_limit, params.logit_limit)
    return _slide(limited * weight, params.window) / _slide(weight, params.window)


def _slide(values: F64, window: int) -> F64:
    """Sum over every run of ``window`` successive entries, exactly alike wherever the run stands.

    Not by differences of running sums: their rounding would depend on what came before.
    """
    runs = np.lib.stride_tricks.sliding_window_view(values, window, axis=-1)
    return np.sort(runs, axis=-1).sum(axis=-1)  # in sorted order, so that the order of frames cannot show


def track_logit(windows: F64, params: AggregationParams) -> F64:
    """Return the track's logit from its windows [..., n]."""
    peak = soft_peak(windows, params.window_scale)
    return params.peak_weight * peak + (1.0 - params.peak_weight) * top_mean(windows, params.top_share)


def video_logit(tracks: F64, params: AggregationParams) -> F64:
    """Return the video's logit from the logits [..., k] of the tracks that have one."""
    return soft_peak(np.sort(tracks, axis=-1), params.track_scale)


@dataclass(frozen=True)
class TrackFrames:
    """The scored frames of one track, in order of time."""

    logit: F64  # [n]
    weight: F64  # [n] in (0, 1]

    def __post_init__(self) -> None:
        if self.logit.ndim != 1 or self.logit.shape != self.weight.shape:
            raise ValueError(f"columns disagree: {self.logit.shape}, {self.weight.shape}")
        if not np.isfinite(self.logit).all():
            raise ValueError("a logit is not finite")
        if len(self.weight) and not 0.0 < self.weight.min() <= self.weight.max() <= 1.0:
            raise ValueError("a weight lies outside (0, 1]")


def bootstrap_interval(
    tracks: Sequence[TrackFrames], params: AggregationParams, *, replicates: int, seed: int
) -> tuple[float, float] | None:
    """Return the 95 % interval of the video's logit under redrawing of frames; None for single frames.

    Each track is cut into runs of about one window and every run's frames are drawn anew from that run, so
    the course over time stays and only the noise of frames speaks: the interval says how far the score would
    move had neighbouring frames been sampled, not how far the network may be wrong. Redrawn frames are
    noisier than real ones and lift the peak, so the spread is laid around the score itself. The same evidence
    and seed give the same interval.
    """
    if any(len(track.logit) < 2 for track in tracks):
        return None
    random = np.random.default_rng(seed)
    columns = [_redraw(track, params, replicates, random) for track in tracks]
    drawn = video_logit(np.stack(columns, axis=-1), params)
    low, middle, high = (float(q) for q in np.quantile(drawn, (0.025, 0.5, 0.975)))
    center = float(video_logit(np.array([_logit_of(track, params) for track in tracks]), params))
    return center + low - middle, center + high - middle


def _logit_of(track: TrackFrames, params: AggregationParams) -> float:
    return float(track_logit(window_logits(track.logit, track.weight, params), params))


def _redraw(
    track: TrackFrames, params: AggregationParams, replicates: int, random: np.random.Generator
) -> F64:
    """Return [replicates] logits of one track, each from frames drawn anew within runs."""
    runs = np.array_split(np.arange(len(track.logit)), max(1, len(track.logit) // params.window))
    drawn: list[I64] = []
    for run in runs:
        # Sorted first, so that the order of frames within a run cannot change which are drawn.
        ordered = run[np.lexsort((track.weight[run], track.logit[run]))]
        drawn.append(ordered[random.integers(0, len(run), (replicates, len(run)))])
    rows = np.concatenate(drawn, axis=1)
    limited = np.clip(track.logit, -params.logit_limit, params.logit_limit)
    weight = track.weight[rows]
    windows = _slide(limited[rows] * weight, params.window) / _slide(weight, params.window)
    return track_logit(windows, params)


@dataclass(frozen=True)
class QualityParams:
    """How much a frame counts by how well its face is seen; factors multiply, the floor keeps every frame."""

    full_size_px: float = 96.0  # shorter side of the box from which on size costs nothing
    full_sharpness: float = 40.0  # variance of the Laplacian on the crop, likewise
    turned_yaw: float = 60.0  # degrees at which a turned face counts half
    floor: float = 0.1

    def __post_init__(self) -> None:
        if min(self.full_size_px, self.full_sharpness, self.turned_yaw) <= 0 or not 0 < self.floor <= 1:
            raise ValueError("quality parameters are positive and the floor is a share")


def quality_weights(size_px: F32, sharpness: F32, yaw: F32, confidence: F32, params: QualityParams) -> F64:
    """Return the weight of each face in its window, in [floor, 1].

    ``size_px`` shorter side of the box, ``sharpness`` variance of the Laplacian, ``yaw`` degrees,
    ``confidence`` of the detector 0 to 1.
    """
    size = np.clip(size_px / params.full_size_px, 0.0, 1.0)
    sharp = np.sqrt(np.clip(sharpness / params.full_sharpness, 0.0, 1.0))
    pose = 1.0 / (1.0 + np.square(yaw / params.turned_yaw))
    weight = size * sharp * pose * np.clip(confidence, 0.0, 1.0)
    return np.clip(weight.astype(np.float64), params.floor, 1.0)
