"""OpenVINO on the CPU. It computes in float32 unless bfloat16 is asked for."""

from typing import Any

import numpy as np
import openvino

from engine.arrays import F32, U8
from engine.backends.protocol import check_crops, ladder_for
from engine.bundle import GRAPH, TRIAGE_GRAPH, ModelBundle
from engine.errors import BackendFailed, BackendMissing, BundleInvalid
from engine.results import RejectReason

_runtime: Any = openvino  # half typed


class OpenVinoBackend:
    """Runs a bundle's graph on the CPU with ``threads`` threads."""

    def __init__(
        self, bundle: ModelBundle, *, threads: int, triage: bool = False, precision: str = "f32"
    ) -> None:
        """Load and compile the graph.

        Raises BundleInvalid if it cannot be loaded, and BackendMissing if this processor computes in
        another precision: OpenVINO takes that one then and does not say so.
        """
        path = bundle.path(TRIAGE_GRAPH if triage else GRAPH)
        settings = {
            # Left alone it picks bfloat16 where the processor has it: scores would depend on the machine.
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            compiled = _runtime.Core().compile_model(str(path), "CPU", settings)
        except RuntimeError as fault:
            raise BundleInvalid(
                RejectReason.MODEL_INVALID,
                f"OpenVINO cannot load {path}: {fault}",
                "run 'fakesieve model verify' on the bundle, or use --engine onnxruntime",
            ) from fault
        _check_precision(compiled, precision)
        self._request = compiled.create_infer_request()
        self._outputs = ["logits"] if triage else ["logits", "patch_logits"]
        self.name = "openvino"
        self.precision = precision
        self.input_size = bundle.input_size
        self.grid = bundle.grid
        self.ladder = ladder_for(bundle)
        self.version = str(openvino.__version__)

    def infer(self, crops: U8) -> tuple[F32, F32 | None]:
        """Score crops as the protocol says."""
        check_crops(crops, self.input_size)
        try:
            results = self._request.infer({"crops": crops})
        except RuntimeError as fault:
            raise BackendFailed(
                RejectReason.ENGINE_UNAVAILABLE,
                f"OpenVINO stopped on {len(crops)} crops: {fault}",
                "free memory or use --engine onnxruntime, then try again",
            ) from fault
        # Copied: the next call writes into the same buffers.
        logits, *patches = [np.array(results[name], np.float32) for name in self._outputs]
        return logits, patches[0] if patches else None


def _check_precision(compiled: Any, precision: str) -> None:
    """Raise BackendMissing unless a compiled graph computes in what was asked for."""
    used = compiled.get_property("INFERENCE_PRECISION_HINT")
    if used != getattr(_runtime.Type, precision):
        raise BackendMissing(
            RejectReason.ENGINE_UNAVAILABLE,
            f"OpenVINO does not compute in {precision} on this processor but in {used.get_type_name()}",
            "leave --precision away, which is f32 on every processor",
        )
