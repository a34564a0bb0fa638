"""Figures of single parts, each against its alternative, alternating within a round."""

import os
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bench.peers.reference import grab_frames
from bench.report import Figure, ratio
from engine.arrays import U8
from engine.backends.protocol import Backend
from engine.backends.select import choose_backend
from engine.build.write import write_bundle
from engine.bundle import load_bundle
from engine.container import HEAD_BYTES, sniff_container
from engine.decode import decode_samples
from engine.decoders.inspect import inspect_media
from engine.decoders.job import DecodedFrame, DecodeJob, ProbeJob
from engine.decoders.select import load_source
from engine.limits import Limits
from engine.network.variants import build_lv_xception
from engine.probe import probe_video
from engine.sampling import SamplePlan, Sampling, plan_samples
from engine.sandbox.handle import Sandbox
from engine.sandbox.slabs import SlotShape

FACES = 8  # given to a network in one go


def network_figures(model: str, rounds: int, threads: int, folder: Path) -> list[Figure]:
    """Faces per second of both networks on ONNX Runtime and torch eager, on the same random crops."""
    import torch  # here so that the parts without a network do not load it

    xception = folder / "lv-xception-random"
    if not xception.exists():
        torch.manual_seed(1)
        write_bundle(build_lv_xception().eval(), xception, name="lv-xception-random", share_weights=True)
    runs = dict[str, list[float]]()
    contenders = {
        f"{label} on {engine}": choose_backend(load_bundle(bundle), engine, threads)
        for label, bundle in (("lv-compact", model), ("lv-xception", xception))
        for engine in ("onnxruntime", "torch")
    }
    contenders["lv-compact on onnxruntime, one core"] = choose_backend(load_bundle(model), "onnxruntime", 1)
    steps = {name: _choose_step(backend) for name, backend in contenders.items()}
    for _ in range(rounds):
        for name, backend in contenders.items():
            runs.setdefault(name, []).append(_faces_per_s(backend, steps[name]))
    speed = {name: Figure(f"faces per second, {name}", "1/s", tuple(v)) for name, v in runs.items()}
    one_core = speed.pop("lv-compact on onnxruntime, one core")
    compact, large = speed["lv-compact on onnxruntime"], speed["lv-xception on onnxruntime"]
    return [
        *speed.values(),
        Figure("faces per second, lv-compact, one core", "1/s", one_core.values),
        ratio("lv-compact: ONNX Runtime over torch eager", compact, speed["lv-compact on torch"]),
        ratio("lv-xception: ONNX Runtime over torch eager", large, speed["lv-xception on torch"]),
        ratio("lv-compact over lv-xception, per face", compact, large),
        _parity(contenders["lv-compact on onnxruntime"], contenders["lv-compact on torch"]),
    ]


def _random_crops(size: int) -> U8:
    return np.random.default_rng(1).integers(0, 256, (FACES, 3, size, size), np.uint8)


def _choose_step(backend: Backend) -> int:
    """Return how many faces at a time suit an engine: torch is slower with several, ONNX Runtime is not."""
    for step in (1, backend.ladder[0]):
        _faces_per_s(backend, step)  # the first run allocates
    return max((1, backend.ladder[0]), key=lambda step: _faces_per_s(backend, step))


def _infer_all(backend: Backend, crops: U8, step: int) -> list[float]:
    logits = list[float]()
    for start in range(0, len(crops), step):
        found = backend.infer(crops[start : start + step])[0]
        logits += [float(v) for v in found[:, 1] - found[:, 0]]
    return logits


def _faces_per_s(backend: Backend, step: int) -> float:
    crops = _random_crops(backend.input_size)
    start = time.perf_counter()
    _infer_all(backend, crops, step)
    return FACES / (time.perf_counter() - start)


def _parity(ours: Backend, eager: Backend) -> Figure:
    crops = _random_crops(ours.input_size)
    pairs = zip(*(_infer_all(each, crops, each.ladder[0]) for each in (ours, eager)), strict=True)
    worst = max(abs(_probability(a) - _probability(b)) for a, b in pairs)
    return Figure("score of ONNX Runtime against eager, largest difference", "", (worst,))


def _probability(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


def decode_figures(label: str, clip: Path, rounds: int) -> list[Figure]:
    """Core-seconds to probe and sample a long clip against passing through all of its frames."""
    samplings = {
        "32 samples": Sampling(max_samples=32),
        "default sampling": Sampling(),
    }
    through, ours = list[float](), {name: list[float]() for name in samplings}
    for _ in range(rounds):
        for name, sampling in samplings.items():
            ours[name].append(_core_seconds(lambda s=sampling: _sample(clip, s)))
        through.append(_core_seconds(lambda: grab_frames(clip)))
    whole = Figure(f"{label}: core-seconds of reading through", "s", tuple(through))
    figures = [whole]
    for name, values in ours.items():
        own = Figure(f"{label}: core-seconds of ours, {name}", "s", tuple(values))
        figures += [own, ratio(f"{label}: core-seconds of reading through over ours, {name}", whole, own)]
    return figures


def _sample(clip: Path, sampling: Sampling) -> None:
    """Probe, plan and decode as a scan does; the sandbox ends inside, so that its processes are counted."""
    with Sandbox.start() as sandbox:
        probe = probe_video(clip, sandbox=sandbox)
        plan = plan_samples(probe, sampling)
        for _ in decode_samples(clip, probe, plan.targets, sandbox=sandbox):
            pass


def _core_seconds(work: Callable[[], object]) -> float:
    """Processor time of this process and of children that have ended, in seconds."""
    before = _used_s()
    work()
    return _used_s() - before


def _used_s() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


def sandbox_figures(clips: Sequence[Path], rounds: int) -> list[Figure]:
    """Wall time that the sandbox adds to probing and decoding one video, after the first.

    The comparison calls the same functions in this process. It does not hash the file, ours does.
    """
    added = list[float]()
    start = time.perf_counter()
    with Sandbox.start() as sandbox:
        probe_video(clips[0], sandbox=sandbox)
        ready_ms = 1000 * (time.perf_counter() - start)
        plans = {clip: plan_samples(probe_video(clip, sandbox=sandbox)) for clip in clips}
        for _ in range(rounds):
            for clip, plan in plans.items():
                inside = _wall_ms(lambda c=clip, p=plan: _look_inside(c, p, sandbox))
                added.append(inside - _wall_ms(lambda c=clip, p=plan: _look_outside(c, p)))
    return [
        Figure("sandbox: start and first look, once per scan", "ms", (ready_ms,)),
        Figure("sandbox: added time per video after the first", "ms", tuple(added)),
    ]


def _look_inside(clip: Path, plan: SamplePlan, sandbox: Sandbox) -> None:
    probe = probe_video(clip, sandbox=sandbox)
    for _ in decode_samples(clip, probe, plan.targets, sandbox=sandbox):
        pass


def _look_outside(clip: Path, plan: SamplePlan) -> None:
    limits = Limits()
    with clip.open("rb") as file:
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size
        container = sniff_container(os.pread(descriptor, HEAD_BYTES, 0), size, clip.suffix)
        facts = inspect_media(descriptor, ProbeJob(container, size, limits)).facts
        slots = SlotShape.for_picture(facts.width, facts.height).count
        pairs = tuple((t.pts_us, t.seek_us) for t in plan.targets)
        job = DecodeJob(container, size, "pyav", facts, pairs, 0, slots, limits)
        for answer in load_source("pyav").decode(descriptor, job):
            if isinstance(answer, DecodedFrame):
                answer.rgb.copy()


def _wall_ms(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)
