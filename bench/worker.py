"""One contender in a process of its own: loads, says so, then screens the videos named on its input.

Usage: python -m bench.worker NAME SETTING_JSON. Each line in is a path, each line out a Screening as JSON.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2

from bench.contender import Contender


@dataclass(frozen=True)
class Setting:
    """What all contenders share in one run."""

    model: str  # name or folder of the bundle whose weights all use
    threads: int
    slice_frames: int  # frames of a video that N0 looks at


def build_contender(name: str, setting: Setting) -> Contender:
    """Load one contender. Imports stand here so that ours never pays for torch."""
    if name.startswith("fakesieve"):
        from bench.ours import Ours

        return Ours(name, setting.model, setting.threads)
    from bench.peers.naive import Naive
    from bench.peers.reference import Reference
    from engine.backends.select import choose_backend
    from engine.bundle import load_bundle

    backend = choose_backend(load_bundle(setting.model), "torch", setting.threads)
    if name == "N0":
        return Naive(backend, setting.slice_frames)
    return Reference(backend, own_detector_threads=setting.threads if name == "N2" else 0)


def main(name: str, setting: Setting) -> None:
    """Answer one line for each line, until the input ends."""
    cv2.setNumThreads(setting.threads)
    contender = build_contender(name, setting)
    print(json.dumps({"ready": name}), flush=True)
    for line in sys.stdin:
        print(json.dumps(asdict(contender.screen(Path(line.strip())))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Setting(**json.loads(sys.argv[2])))
