"""Processor time of the face detector's networks, these and earlier ones, in turns on one thread.

Usage: python -m bench.detector --before DIR [--rounds N] [--out DIR]

DIR holds the earlier three graphs. Each network is given what a frame of 1280x720 gives it: the first the
largest picture of the pyramid, the others 128 candidates, in calls as large as before and as now.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from bench.report import Figure, format_table, ratio
from engine.arrays import F32
from engine.faces.detect import PART_OF_SECOND, PART_OF_THIRD, WEIGHTS

RESULTS = Path(__file__).parent / "results"
CANDIDATES = 128


@dataclass(frozen=True)
class Work:
    """What one network is given: pictures [n, 3, H, W], and how many in one call, before and now."""

    network: str
    shape: tuple[int, int, int, int]
    parts: tuple[int, int]


WORK = (
    Work("pnet", (4, 3, 199, 353), (1, 1)),
    Work("rnet", (CANDIDATES, 3, 24, 24), (CANDIDATES, PART_OF_SECOND)),
    Work("onet", (CANDIDATES, 3, 48, 48), (CANDIDATES, PART_OF_THIRD)),
)


def open_on_one_thread(path: Path) -> ort.InferenceSession:
    """Load a graph as the detector does."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_mem_pattern = False
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(session: ort.InferenceSession, pictures: F32, part: int) -> tuple[float, F32]:
    """Run all pictures: processor time of each in microseconds, and the answers."""
    start = time.process_time()
    parts = [
        session.run(None, {"picture": pictures[at : at + part]})[0] for at in range(0, len(pictures), part)
    ]
    return 1e6 * (time.process_time() - start) / len(pictures), np.concatenate(parts)


def compare(work: Work, before: Path, rounds: int) -> list[Figure]:
    """Run one network of both folders in turns, after one turn that does not count."""
    pictures = np.random.default_rng(1).normal(0, 0.5, work.shape).astype(np.float32)
    sessions = [open_on_one_thread(folder / f"{work.network}.onnx") for folder in (before, WEIGHTS)]
    spent: list[list[float]] = [[], []]
    answers: list[F32] = []
    for turn in range(rounds + 1):
        answers = []
        for place, session in enumerate(sessions):
            taken, found = run(session, pictures, work.parts[place])
            answers.append(found)
            if turn:
                spent[place].append(taken)
    apart = f"answers differ by {np.abs(answers[0] - answers[1]).max():.1e}"
    own = [
        Figure(f"{work.network}, {which}, {part} a call", "us", tuple(values))
        for which, part, values in zip(("before", "now"), work.parts, spent, strict=True)
    ]
    return [*own, ratio(f"{work.network}: before over now", own[0], own[1], apart)]


def main() -> None:
    """Measure, print the table and keep it."""
    parser = argparse.ArgumentParser(prog="python -m bench.detector", description=__doc__)
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    figures = [figure for work in WORK for figure in compare(work, given.before, given.rounds)]
    text = f"# The detector's networks\n\n{given.rounds} rounds, one thread\n\n{format_table(figures, {})}"
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "detector.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
