"""Choose the engine that runs a bundle, and say why each other one was refused."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from engine.backends.parity import Answers, ParityReport, compare_answers, probe_crops
from engine.backends.protocol import Backend, gpu_ladder_for, ladder_for
from engine.bundle import ModelBundle
from engine.errors import BackendFailed, BackendMissing
from engine.results import RejectReason

ENGINES = ("onnxruntime", "openvino", "torch")  # on the processor, in the order in which "auto" tries them
# With the provider of ONNX Runtime that each needs.
GPU_ENGINES = {
    "onnxruntime-cuda": "CUDAExecutionProvider",
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
}
# TensorRT is asked for by name: it builds for minutes, and picks its kernels by how long they take.
_AUTO = ("onnxruntime-cuda", *ENGINES)
_PRECISIONS = {
    "auto": ("f32",),
    "onnxruntime": ("f32",),
    "openvino": ("f32", "bf16"),
    "torch": ("f32",),
    "onnxruntime-cuda": ("f32",),
    "onnxruntime-tensorrt": ("f32", "f16"),
}
_NEEDS = {
    "onnxruntime": ("onnxruntime",),
    "openvino": ("openvino",),
    "torch": ("torch", "safetensors"),
}

_EXTRAS = {"openvino": "openvino", "torch": "train", "safetensors": "train"}  # that bring a package

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineStatus:
    """Whether an engine can be used here, and if not, why."""

    name: str
    version: str | None  # null where it is not installed
    refusal: str | None
    hint: str | None


def list_engines() -> tuple[EngineStatus, ...]:
    """Say of every engine whether it is installed, without loading it."""
    return tuple(_status(name) for name in (*ENGINES, *GPU_ENGINES))


def is_offered(engine: str) -> bool:
    """Return whether the installed ONNX Runtime has what a GPU engine needs; not whether there is a GPU."""
    return GPU_ENGINES[engine] in list_providers()


def list_providers() -> frozenset[str]:
    """Return the providers that the installed ONNX Runtime was built with, none without it."""
    if find_spec("onnxruntime") is None:
        return frozenset()
    # Lazy: 35 ms, and only the processes that run a network load it.
    import onnxruntime

    runtime: Any = onnxruntime  # half typed
    return frozenset(runtime.get_available_providers())


def _status(name: str) -> EngineStatus:
    if name in GPU_ENGINES:
        return _gpu_status(name)
    for package in _NEEDS[name]:
        if find_spec(package) is None:
            wanted = f"'fakesieve[{_EXTRAS[package]}]'" if package in _EXTRAS else package
            hint = f"pip install {wanted}, or use --engine onnxruntime"
            return EngineStatus(name, None, f"the package {package} is not installed", hint)
    try:
        return EngineStatus(name, version(name), None, None)
    except PackageNotFoundError:  # importable without metadata, as from a bare folder
        return EngineStatus(name, "unknown", None, None)


def _gpu_status(name: str) -> EngineStatus:
    if not is_offered(name):
        seen = f"the installed onnxruntime has no {GPU_ENGINES[name]}"
        return EngineStatus(name, None, seen, "install onnxruntime-gpu in place of onnxruntime")
    try:
        return EngineStatus(name, version("onnxruntime-gpu"), None, None)
    except PackageNotFoundError:  # built by hand, under another name
        return EngineStatus(name, "unknown", None, None)


def default_threads() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def choose_backend(
    bundle: ModelBundle,
    engine: str = "auto",
    threads: int | None = None,
    *,
    triage: bool = False,
    precision: str = "f32",
) -> Backend:
    """Load a bundle on the engine that was named, or with ``auto`` on the first that can be used.

    ``auto`` tries the GPU where the installed runtime offers it, and goes on to the processor where it does
    not start or does not pass its check. ``threads`` null means every core of this process; ``precision``
    bf16 is OpenVINO's alone, f16 TensorRT's. Raises BackendMissing with the reason of each refusal and
    BundleInvalid if the engine cannot load the bundle.
    """
    if engine not in ("auto", *ENGINES, *GPU_ENGINES):
        raise _missing(f"no engine {engine!r}", f"engines: {', '.join(('auto', *ENGINES, *GPU_ENGINES))}")
    if precision not in _PRECISIONS[engine]:
        raise _missing(f"{engine} does not compute in {precision}", _advise_engine(precision))
    statuses = [_status(name) for name in (_AUTO if engine == "auto" else (engine,))]
    refusals = list[str]()
    for status in statuses:
        if status.refusal is not None:
            refusals.append(f"{status.name}: {status.refusal}")
            continue
        try:
            return _load_checked(
                status.name, bundle, threads or default_threads(), triage=triage, precision=precision
            )
        except (BackendMissing, BackendFailed) as fault:
            if engine != "auto" or status.name not in GPU_ENGINES:
                raise
            _log.warning("%s is not used: %s", status.name, fault.seen)
            refusals.append(f"{status.name}: {fault.seen}")
    raise _missing("; ".join(refusals), statuses[-1 if engine != "auto" else 1].hint or "")


def _advise_engine(precision: str) -> str:
    """Return which engines compute in a precision."""
    able = [name for name, known in _PRECISIONS.items() if precision in known and name != "auto"]
    return f"for {precision} use --engine {' or '.join(able)}" if able else "use f32, bf16 or f16"


def _load_checked(name: str, bundle: ModelBundle, threads: int, *, triage: bool, precision: str) -> Backend:
    backend = _load(name, bundle, threads, triage=triage, precision=precision)
    if name != ENGINES[0]:
        _admit(backend, bundle, triage=triage)
    return backend


def _load(name: str, bundle: ModelBundle, threads: int, *, triage: bool, precision: str) -> Backend:
    match name:
        case "openvino":
            # Lazy: an optional package, 0.3 s to import.
            from engine.backends.openvino import OpenVinoBackend

            return OpenVinoBackend(bundle, threads=threads, triage=triage, precision=precision)
        case "torch":
            # Lazy: an optional package of 0.9 GB, 2 s to import; no other engine may load it.
            from engine.backends.eager import TorchBackend

            return TorchBackend(bundle, threads=threads, triage=triage)
        case "onnxruntime-cuda" | "onnxruntime-tensorrt":
            # Lazy: it loads CUDA's libraries, of which some are hundreds of megabytes.
            from engine.backends import onnx_gpu

            chosen = onnx_gpu.GPU_ENGINES[name]
            return onnx_gpu.OnnxGpuBackend(bundle, chosen, triage=triage, precision=precision)
        case _:
            # Lazy: 35 ms, in which the sandbox is starting.
            from engine.backends.onnx import OnnxBackend

            return OnnxBackend(bundle, threads=threads, triage=triage)


def _admit(backend: Backend, bundle: ModelBundle, *, triage: bool) -> ParityReport:
    """Compare an engine with ONNX Runtime on two crops. Raises BackendMissing if it answers differently."""
    crops = probe_crops(bundle.input_size, 2)
    reference = _load("onnxruntime", bundle, 1, triage=triage, precision="f32")
    expected = reference.infer(crops)
    report = compare_answers(Answers(*expected), Answers(*backend.infer(crops)), backend.precision)
    if not report.passes:
        raise _missing(
            f"{backend.name} differs from ONNX Runtime by {report.describe()}",
            "use --engine onnxruntime, and report the processor and the engine's version",
        )
    return report


def check_engines(bundle: ModelBundle) -> Iterator[str]:
    """Load a bundle on every installed engine and say in a line each how it compares with ONNX Runtime.

    Raises BundleInvalid or BackendMissing for the first engine that cannot load it or answers differently.
    """
    for status in list_engines():
        if status.refusal is not None:
            yield f"{status.name}: not checked, {status.refusal}"
            continue
        backend = _load(status.name, bundle, 1, triage=False, precision="f32")
        report = _admit(backend, bundle, triage=False)
        yield f"{status.name} {status.version}: {report.describe()}"


def largest_batch(bundle: ModelBundle, engine: str = "auto") -> int:
    """Return the most crops that a batch may hold on the engine that would be chosen, without loading it."""
    wanted = (_AUTO[0],) if engine == "auto" else (engine,)
    on_gpu = any(name in GPU_ENGINES and is_offered(name) for name in wanted)
    return (gpu_ladder_for(bundle) if on_gpu else ladder_for(bundle))[0]


def is_late(engine: str, precision: str = "f32") -> bool:
    """Return whether an engine may go on loading while a scan begins: ONNX Runtime on the processor may.

    Others are compared with it first, and a GPU takes batches of other sizes. A precision that it does not
    compute in is refused at once.
    """
    if precision not in _PRECISIONS["onnxruntime"]:
        return False
    return engine == "onnxruntime" or (engine == "auto" and not any(map(is_offered, GPU_ENGINES)))


def _missing(seen: str, hint: str) -> BackendMissing:
    return BackendMissing(RejectReason.ENGINE_UNAVAILABLE, seen, hint)
