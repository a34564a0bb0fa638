"""Decodes a clip as a scan does, for tests that look at what came of it."""

from collections.abc import Sequence
from pathlib import Path

from engine.decode import DecodeReport, SampledFrames, decode_samples
from engine.limits import Limits
from engine.probe import Probe, probe_video
from engine.sampling import SampleTarget, Sampling, plan_samples
from engine.sandbox.handle import Sandbox
from tests.media import read_index

SPARSE = Sampling(min_samples=6)


def decode(
    path: Path,
    sandbox: Sandbox,
    sampling: Sampling = SPARSE,
    *,
    decoder: str = "pyav",
    targets: Sequence[SampleTarget] | None = None,
    limits: Limits | None = None,
) -> tuple[Probe, list[SampledFrames], DecodeReport]:
    probe = probe_video(path, sandbox=sandbox)
    wanted = plan_samples(probe, sampling).targets if targets is None else targets
    stream = decode_samples(path, probe, wanted, sandbox=sandbox, decoder=decoder, limits=limits)
    groups = list(stream)
    return probe, groups, stream.report


def times_and_indices(groups: list[SampledFrames]) -> list[tuple[int, int]]:
    return [(int(t), read_index(f)) for g in groups for t, f in zip(g.pts_us, g.rgb, strict=True)]
