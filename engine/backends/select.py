"""Choose the engine that runs a bundle, and say why each other one was refused."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from engine.backends.parity import Answers, ParityReport, compare_answers, probe_crops
from engine.backends.protocol import Backend
from engine.bundle import ModelBundle
from engine.errors import BackendMissing
from engine.results import RejectReason

ENGINES = ("onnxruntime", "openvino", "torch")  # in the order in which "auto" tries them
_PRECISIONS = {"auto": ("f32",), "onnxruntime": ("f32",), "openvino": ("f32", "bf16"), "torch": ("f32",)}
_NEEDS = {
    "onnxruntime": ("onnxruntime",),
    "openvino": ("openvino",),
    "torch": ("torch", "safetensors"),
}


@dataclass(frozen=True)
class EngineStatus:
    """Whether an engine can be used here, and if not, why."""

    name: str
    version: str | None  # null where it is not installed
    refusal: str | None
    hint: str | None


def list_engines() -> tuple[EngineStatus, ...]:
    """Say of every engine whether it is installed, without loading it."""
    return tuple(_status(name) for name in ENGINES)


def _status(name: str) -> EngineStatus:
    for package in _NEEDS[name]:
        if find_spec(package) is None:
            hint = f"pip install {package}, or use --engine onnxruntime"
            return EngineStatus(name, None, f"the package {package} is not installed", hint)
    try:
        return EngineStatus(name, version(name), None, None)
    except PackageNotFoundError:  # importable without metadata, as from a bare folder
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
    """Load a bundle on the engine that was named, or with ``auto`` on the first that is installed.

    ``threads`` null means every core of this process; ``precision`` bf16 is OpenVINO's alone. Raises
    BackendMissing with the reason of each refusal and BundleInvalid if the engine cannot load the bundle.
    """
    if engine not in ("auto", *ENGINES):
        raise _missing(f"no engine {engine!r}", f"engines: {', '.join(('auto', *ENGINES))}")
    if precision not in _PRECISIONS[engine]:
        raise _missing(f"{engine} does not compute in {precision}", "use --engine openvino for bf16")
    statuses = [_status(name) for name in (ENGINES if engine == "auto" else (engine,))]
    for status in statuses:
        if status.refusal is None:
            backend = _load(
                status.name, bundle, threads or default_threads(), triage=triage, precision=precision
            )
            if status.name != ENGINES[0]:
                _admit(backend, bundle, triage=triage)
            return backend
    refusals = "; ".join(f"{status.name}: {status.refusal}" for status in statuses)
    raise _missing(refusals, statuses[0].hint or "")


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


def _missing(seen: str, hint: str) -> BackendMissing:
    return BackendMissing(RejectReason.ENGINE_UNAVAILABLE, seen, hint)
