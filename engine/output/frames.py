"""Frames of a scanned input once more, for pictures of the result; always through the sandbox."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from engine.arrays import I64, U8
from engine.decode import decode_samples
from engine.limits import Limits
from engine.probe import Probe
from engine.sampling import SampleTarget
from engine.sandbox.handle import Sandbox
from engine.scan_result import ScanResult


def plan_frames(probe: Probe, most_hz: float | None = None) -> tuple[SampleTarget, ...]:
    """Return targets for all frames of a video, or for as many as keep to ``most_hz`` at every place."""
    times = probe.frames_us if len(probe.frames_us) else np.zeros(1, np.int64)
    if most_hz is not None:
        times = _thin_out(times, 1e6 / most_hz)
    return plan_times(probe, times.tolist())


def plan_times(probe: Probe, times_us: Iterable[int]) -> tuple[SampleTarget, ...]:
    """Return targets for given times, each with the keyframe from which to decode."""
    times = np.unique(np.array(list(times_us), np.int64))
    keys = np.asarray(probe.keyframes_us, np.int64)
    seeks = keys[np.searchsorted(keys, times, side="right") - 1]
    return tuple(SampleTarget(pts, seek) for pts, seek in zip(times.tolist(), seeks.tolist(), strict=True))


def _thin_out(times: I64, step_us: float) -> I64:
    """Keep the first time and every later one that lies nearly a step or more after the one kept before."""
    kept: list[int] = []
    for time in times.tolist():
        if not kept or time - kept[-1] >= 0.9 * step_us:
            kept.append(time)
    return np.array(kept, np.int64)


def read_frames(
    result: ScanResult, targets: tuple[SampleTarget, ...], sandbox: Sandbox, limits: Limits
) -> Iterator[tuple[int, U8]]:
    """Yield time and picture, RGB [H, W, 3], of the targets that can be decoded. Raises MediaRejected."""
    assert result.probe is not None
    # Every frame takes longer than the samples that the limit is meant for; real time is still a bound.
    patient = replace(limits, wall_s=limits.wall_s + result.probe.duration_us / 1e6)
    with decode_samples(result.path, result.probe, targets, sandbox=sandbox, limits=patient) as stream:
        for group in stream:
            yield from zip(group.pts_us.tolist(), group.rgb, strict=True)
