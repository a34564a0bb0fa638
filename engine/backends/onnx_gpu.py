"""ONNX Runtime on an NVIDIA GPU, by its CUDA or its TensorRT provider.

Needs the package onnxruntime-gpu in place of onnxruntime; TensorRT's own libraries come with NVIDIA's image.
The runtime goes on without a provider that cannot start, with a line in its log, so each is looked for.
"""

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import onnxruntime as ort

from engine.arrays import F32, U8
from engine.backends.onnx import LOAD_ERRORS, RUN_ERRORS
from engine.backends.parity import probe_crops
from engine.backends.protocol import check_crops, gpu_ladder_for
from engine.bundle import GRAPH, TRIAGE_GRAPH, ModelBundle
from engine.errors import BackendFailed, BackendMissing
from engine.results import RejectReason

_runtime: Any = ort  # half typed

CUDA, TENSORRT = "onnxruntime-cuda", "onnxruntime-tensorrt"
CUDA_PROVIDER, TENSORRT_PROVIDER = "CUDAExecutionProvider", "TensorrtExecutionProvider"
Options = Mapping[str, str]

_CUDA_OPTIONS: Options = MappingProxyType(
    {
        # TF32 keeps 10 bits of 23: scores would move by more than an engine may.
        "use_tf32": "0",
        # The exhaustive search picks by time: two hosts, or two starts, would sum in different orders.
        "cudnn_conv_algo_search": "HEURISTIC",
        # Grows by what is asked for and not by powers of two: other processes may use the card.
        "arena_extend_strategy": "kSameAsRequested",
    }
)


@dataclass(frozen=True)
class GpuEngine:
    """A provider of the runtime as an engine. What the first provider cannot do is done by the next."""

    name: str
    provider: str
    precisions: tuple[str, ...]

    def list_providers(self, precision: str) -> list[tuple[str, dict[str, str]]]:
        """Return the providers to open a graph with, the wanted one first, with their options."""
        cuda = (CUDA_PROVIDER, dict(_CUDA_OPTIONS))
        if self.provider == CUDA_PROVIDER:
            return [cuda]
        return [(TENSORRT_PROVIDER, {"trt_fp16_enable": str(int(precision == "f16"))}), cuda]


GPU_ENGINES = {
    engine.name: engine
    for engine in (
        GpuEngine(CUDA, CUDA_PROVIDER, ("f32",)),
        GpuEngine(TENSORRT, TENSORRT_PROVIDER, ("f32", "f16")),
    )
}


class OnnxGpuBackend:
    """Runs a bundle's graph on the first GPU that the process sees, whole batches at a time."""

    def __init__(
        self, bundle: ModelBundle, engine: GpuEngine, *, triage: bool = False, precision: str = "f32"
    ) -> None:
        """Load the graph. Raises BackendMissing where the provider does not start or cannot load it."""
        self._engine = engine
        self._session = _open(str(bundle.path(TRIAGE_GRAPH if triage else GRAPH)), engine, precision)
        self._outputs = ["logits"] if triage else ["logits", "patch_logits"]
        self.name = engine.name
        self.precision = precision
        self.input_size = bundle.input_size
        self.grid = bundle.grid
        self.ladder = gpu_ladder_for(bundle)
        self.version = ort.__version__
        # TensorRT builds an engine for the span of batches that it has seen. The largest and the smallest at
        # once make it two builds, where a climb through the ladder would make it one a step.
        for size in (self.ladder[0], 1):
            self.infer(probe_crops(self.input_size, size))

    def infer(self, crops: U8) -> tuple[F32, F32 | None]:
        """Score crops as the protocol says."""
        check_crops(crops, self.input_size)
        try:
            answers = self._session.run(self._outputs, {"crops": crops})
        except RUN_ERRORS as fault:
            raise BackendFailed(
                RejectReason.ENGINE_UNAVAILABLE,
                f"{self.name} stopped on {len(crops)} crops: {fault}",
                "free memory of the GPU or use fewer slots, then try again",
            ) from fault
        logits, *patches = [np.asarray(answer, np.float32) for answer in answers]
        return logits, patches[0] if patches else None


def _open(path: str, engine: GpuEngine, precision: str) -> Any:
    options = _runtime.SessionOptions()
    options.log_severity_level = 3
    # Libraries of CUDA and cuDNN may lie in packages of their own, where no loader looks. It prints what it
    # misses, and what a scan prints is read by programs.
    with redirect_stdout(sys.stderr):
        _runtime.preload_dlls(directory="")
    try:
        # Without a way back: a session that fell to the processor would answer as slowly as that, unseen.
        session = _runtime.InferenceSession(
            path, options, engine.list_providers(precision), enable_fallback=0
        )
    except LOAD_ERRORS as fault:
        raise _missing(f"{engine.provider} cannot load the graph: {fault}") from fault
    if session.get_providers()[0] != engine.provider:
        raise _missing(f"{engine.provider} did not start: no GPU, or a library of it is missing")
    return session


def _missing(seen: str) -> BackendMissing:
    return BackendMissing(
        RejectReason.ENGINE_UNAVAILABLE,
        seen,
        "see the runtime's own words above, or use --engine onnxruntime",
    )
