"""ONNX Runtime, the engine that every installation has."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import _pybind_state

from engine.arrays import F32, U8
from engine.backends.protocol import check_crops, ladder_for
from engine.bundle import GRAPH, TRIAGE_GRAPH, ModelBundle
from engine.errors import BackendFailed, BundleInvalid
from engine.results import RejectReason

# By network; no more than a batch has. Each takes memory of its own: lv-xception 390 MB, so two are enough.
_CROPS_AT_A_TIME = {"lv-compact": 4, "lv-xception": 2}

_runtime: Any = ort  # half typed
_errors: Any = _pybind_state  # made in C++, without types

# ONNX Runtime raises these for a graph that it cannot load, without a common ancestor of their own.
LOAD_ERRORS = (
    _errors.Fail,
    _errors.InvalidArgument,
    _errors.InvalidGraph,
    _errors.InvalidProtobuf,
    _errors.NoSuchFile,
    _errors.NotImplemented,
    _errors.RuntimeException,
)
RUN_ERRORS = (_errors.Fail, _errors.RuntimeException, _errors.EPFail, MemoryError)


class OnnxBackend:
    """Runs a bundle's graph on the CPU with ``threads`` threads, float32.

    Threads take crops of their own before they share one: on two threads a face then costs lv-compact 13.2 ms
    of processor time, 15.8 where both work on each layer of a batch of four, and lv-xception 300 and not 360.
    """

    def __init__(self, bundle: ModelBundle, *, threads: int, triage: bool = False) -> None:
        """Load the graph. Raises BundleInvalid if it cannot be loaded."""
        graph = TRIAGE_GRAPH if triage else GRAPH
        path = bundle.path(graph)
        workers = min(threads, _CROPS_AT_A_TIME.get(bundle.network, 1))
        # Those that wait for a crop of their own are not counted: they are the first of a layer's threads.
        self._session = open_graph(path, threads - workers + 1)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="predict") if workers > 1 else None
        self._outputs = ["logits"] if triage else ["logits", "patch_logits"]
        self.name = "onnxruntime"
        self.precision = "f32"
        self.input_size = bundle.input_size
        self.grid = bundle.grid
        self.ladder = ladder_for(bundle)
        self.version = ort.__version__

    def infer(self, crops: U8) -> tuple[F32, F32 | None]:
        """Score crops as the protocol says."""
        check_crops(crops, self.input_size)
        single = [crops[place : place + 1] for place in range(len(crops))]
        try:
            answers = [self._run(crop) for crop in single] if self._pool is None else self._share(single)
        except RUN_ERRORS as fault:
            raise BackendFailed(
                RejectReason.ENGINE_UNAVAILABLE,
                f"ONNX Runtime stopped on {len(crops)} crops: {fault}",
                "free memory or use fewer jobs, then try again",
            ) from fault
        logits, *patches = [np.concatenate(column) for column in zip(*answers, strict=True)]
        return logits, patches[0] if patches else None

    def _share(self, single: list[U8]) -> list[list[F32]]:
        assert self._pool is not None
        return list(self._pool.map(self._run, single))

    def _run(self, crop: U8) -> list[F32]:
        return [
            np.asarray(answer, np.float32) for answer in self._session.run(self._outputs, {"crops": crop})
        ]


def open_graph(path: Path, threads: int) -> Any:
    """Load a graph on the CPU. Raises BundleInvalid if it cannot be loaded."""
    try:
        return _runtime.InferenceSession(str(path), _options(threads), ["CPUExecutionProvider"])
    except LOAD_ERRORS as fault:
        raise BundleInvalid(
            RejectReason.MODEL_INVALID,
            f"ONNX Runtime cannot load {path}: {fault}",
            "run 'fakesieve model verify' on the bundle, or make it again",
        ) from fault


def _options(threads: int) -> Any:
    options = _runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Planned blocks are kept for every batch size: 772 against 402 MB at 16 faces, at the same speed.
    options.enable_mem_pattern = False
    # A spinning thread takes the core from the decoder beside it: 758 against 298 ms on two busy cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options
