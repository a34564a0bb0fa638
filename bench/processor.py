"""Processor time of whole scans, of this tree and of an earlier one, in turns.

Usage: python -m bench.processor [--before DIR] [--rounds N] [--samples N] [--out DIR] CLIP...

Every scan is a command of its own, from its start to the last of its processes. Time on the clock tells
nothing on a machine with other work; processor time tells which of two trees does less. DIR holds the earlier
one, as ``git worktree add DIR COMMIT`` makes it; both run with this environment's packages.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import fmean

from bench.report import Figure, format_table, ratio

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results"


def scan_cpu_s(tree: Path, clip: Path, samples: int | None) -> tuple[float, str]:
    """Scan one clip with a tree's code: processor time in seconds, children included, and what was found."""
    options = [] if samples is None else ["--max-samples", str(samples)]
    command = [sys.executable, "-m", "fakesieve", "scan", str(clip.resolve()), "--json", *options]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    process = subprocess.Popen(command, cwd=tree, env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    document = json.loads(process.stdout.read())[0]
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0
    faces = [frame["score"] for track in document["tracks"] for frame in track["frames"]]
    scores = [score for score in faces if score is not None]
    return used.ru_utime + used.ru_stime, f"{len(scores)} faces, mean score {fmean(scores or [0.0]):.5f}"


def measure(trees: dict[str, Path], clips: list[Path], rounds: int, samples: int | None) -> list[Figure]:
    """Scan every clip with every tree in turns, after one turn that does not count."""
    figures: list[Figure] = []
    for clip in clips:
        taken = {name: list[float]() for name in trees}
        looks = dict[str, str]()
        for turn in range(rounds + 1):
            for name, tree in trees.items():
                spent, looks[name] = scan_cpu_s(tree, clip, samples)
                if turn:
                    taken[name].append(spent)
        looked = "default sampling" if samples is None else f"{samples} samples"
        label = f"{clip.stem.partition('-')[0]}, {looked}"
        own = [
            Figure(f"{label}: {name}", "core-s", tuple(spent), looks[name]) for name, spent in taken.items()
        ]
        figures += own
        if len(own) > 1:
            figures.append(ratio(f"{label}: before over now", own[0], own[1]))
    return figures


def main() -> None:
    """Measure, print the table and keep it."""
    parser = argparse.ArgumentParser(prog="python -m bench.processor", description=__doc__)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, help="at most so many frames of a video")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    before = {} if given.before is None else {"before": given.before.resolve()}
    table = format_table(measure({**before, "now": ROOT}, given.clips, given.rounds, given.samples), {})
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "processor.md").write_text(
        f"# Processor time of whole scans\n\n{given.rounds} rounds\n\n{table}", encoding="utf-8"
    )
    print(table)


if __name__ == "__main__":
    main()
