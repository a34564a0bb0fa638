"""fakesieve as a contender: the whole way of a scan in one process and its sandbox, one video at a time."""

from pathlib import Path

import numpy as np

from bench.contender import Screening, mean_score
from engine.bundle import load_bundle
from engine.sampling import Sampling
from engine.sandbox.handle import Sandbox
from engine.screen import ScanSettings, open_tools, scan_video


class Ours:
    """Scans with the default sampling, or with the 32 samples that the peers take."""

    def __init__(self, name: str, model: str, threads: int) -> None:
        self.name = name
        sampling = Sampling(max_samples=32) if name.endswith("-32") else Sampling()
        self._settings = ScanSettings(sampling=sampling)
        sandbox = Sandbox.start()  # before the model is read, as the command does
        self._tools = open_tools(load_bundle(model), sandbox, engine="onnxruntime", threads=threads)

    def screen(self, path: Path) -> Screening:
        """Scan one video; a video that cannot be scanned ends the benchmark."""
        result = scan_video(path, self._tools, self._settings)
        if result.fault is not None or result.evidence is None or result.probe is None:
            raise RuntimeError(f"{path}: {result.fault}")
        logits = result.evidence.logit[np.isfinite(result.evidence.logit)]
        stages = {name: float(ms) for name, ms in result.timings_ms.items() if name != "total"}
        frames = result.probe.frame_count
        return Screening(mean_score(logits.tolist()), frames, frames, len(logits), stages)
