"""The benchmark: fakesieve and its peers on the same clips with the same weights, in one run.

Usage: python -m bench.run [--full | --tiny] [--rounds N] [--threads N] [--model NAME_OR_DIR] [--out DIR]

Contenders take turns at every video, so what slows the machine slows all. Prints tables and writes them with
the raw figures to bench/results/.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from bench.measure import Timed, Worker, first_verdict_ms
from bench.parts import decode_figures, network_figures, sandbox_figures
from bench.report import Figure, format_table, ratio, read_goals
from bench.work import FULL, SHORT, TINY, ClipSet, make_clips
from bench.worker import Setting
from engine.backends.select import default_threads
from engine.model_names import DEFAULT_MODEL

CONTENDERS = ("fakesieve", "fakesieve-32", "N2", "N1", "N0")
SCREENED_SETS = ("A", "B", "C")
STAGES = ("probe", "decode", "detect", "crop", "predict", "score")
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("av", "facenet-pytorch", "numpy", "onnxruntime", "opencv-python-headless", "torch")


@dataclass(frozen=True)
class Plan:
    """What one run does."""

    name: str
    sets: tuple[ClipSet, ...]
    rounds: int
    slice_frames: int  # N0 looks at so many frames of each video and is extrapolated


PLANS = {
    "tiny": Plan("tiny", TINY, 1, 5),
    "short": Plan("short", SHORT, 3, 10),
    "full": Plan("full", FULL, 5, 50),
}


@dataclass(frozen=True)
class Row:
    """One set by one contender in one round."""

    round: int
    clip_set: str
    contender: str
    videos: tuple[Timed, ...]

    @property
    def videos_per_minute(self) -> float:
        """Throughput over the set, one video at a time."""
        return 60_000 * len(self.videos) / sum(v.whole_video_ms for v in self.videos)

    def stage_ms(self, stage: str) -> float:
        """Mean time of one stage per video, extrapolated like the whole."""
        spent = (v.screening.stages_ms.get(stage, 0.0) * v.screening.scale for v in self.videos)
        return sum(spent) / len(self.videos)


def screen_sets(plan: Plan, setting: Setting, clips: dict[str, list[Path]]) -> Iterator[Row]:
    """Let all contenders take turns over the sets, round after round."""
    workers = {name: Worker(name, setting) for name in CONTENDERS}
    try:
        for worker in workers.values():  # the first video loads pages and picks algorithms: not counted
            worker.screen(clips["A"][0])
        for turn in range(plan.rounds):
            for clip_set in SCREENED_SETS:
                taken = {name: list[Timed]() for name in CONTENDERS}
                for path in clips[clip_set]:
                    for name, worker in workers.items():
                        taken[name].append(worker.screen(path))
                yield from (Row(turn, clip_set, name, tuple(timed)) for name, timed in taken.items())
    finally:
        for worker in workers.values():
            worker.close()


def summarise(rows: Sequence[Row]) -> Iterator[Figure]:
    """Turn rows into throughput, ratios and memory."""
    for clip_set in SCREENED_SETS:
        speeds = {name: _figure(rows, clip_set, name) for name in CONTENDERS}
        yield from speeds.values()
        for ours in CONTENDERS[:2]:
            for peer in CONTENDERS[2:]:
                yield ratio(f"{clip_set}: speed of {ours} over {peer}", speeds[ours], speeds[peer])
        for name in CONTENDERS:
            own = [r for r in rows if (r.clip_set, r.contender) == (clip_set, name)]
            peaks = tuple(max(v.peak_pss_bytes for v in r.videos) / 2**20 for r in own)
            yield Figure(f"{clip_set}: peak memory of {name}", "MiB", peaks)


def tabulate_stages(rows: Sequence[Row]) -> str:
    """Write the milliseconds of each stage per video as a Markdown table, medians over the rounds."""
    lines = [f"| set, contender | {' | '.join(STAGES)} |", "|---|" + "---|" * len(STAGES)]
    for clip_set in SCREENED_SETS:
        for name in CONTENDERS:
            own = [r for r in rows if (r.clip_set, r.contender) == (clip_set, name)]
            cells = [f"{median(r.stage_ms(stage) for r in own):,.0f}" for stage in STAGES]
            lines.append(f"| {clip_set}, {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _figure(rows: Sequence[Row], clip_set: str, name: str) -> Figure:
    own = [r for r in rows if (r.clip_set, r.contender) == (clip_set, name)]
    looked = own[0].videos[0].screening
    scores = [v.screening.score for v in own[0].videos if v.screening.score is not None]
    note = (
        f"{looked.faces} faces in the first video, mean score {sum(scores) / len(scores):.3f}"
        if scores
        else ""
    )
    if looked.scale > 1:
        note += f"; extrapolated from {looked.frames_read} of {looked.frames_in_video} frames"
    return Figure(
        f"{clip_set}: videos per minute, {name}", "1/min", tuple(r.videos_per_minute for r in own), note
    )


def first_verdicts(plan: Plan, setting: Setting, clips: dict[str, list[Path]]) -> Iterator[Figure]:
    """Time from starting a process to its first verdict; N0 on the short clips alone."""
    for clip_set in ("A", "B"):
        times = dict[str, list[float]]()
        for _ in range(plan.rounds):
            for name in CONTENDERS[:-1] if clip_set == "B" else CONTENDERS:
                spent = first_verdict_ms(name, setting, clips[clip_set][0])
                times.setdefault(name, []).append(spent)
        for name, spent in times.items():
            yield Figure(f"{clip_set}: first verdict of {name}", "ms", tuple(spent))


def describe_machine(threads: int) -> dict[str, str | int]:
    """Say what the figures were taken on."""
    cpu = [
        x.partition(":")[2].strip()
        for x in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in x
    ]
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "processor": cpu[0] if cpu else platform.machine(),
        "cores": default_threads(),
        "threads": threads,
        "load_at_start": f"{os.getloadavg()[0]:.2f}",
        "python": platform.python_version(),
        "commit": head.stdout.strip(),
        "date": time.strftime("%Y-%m-%d"),
        **{name: version(name) for name in PACKAGES},
    }


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--full", dest="size", action="store_const", const="full", help="hours: whole sets, 5 rounds"
    )
    size.add_argument(
        "--tiny", dest="size", action="store_const", const="tiny", help="a minute: does it run?"
    )
    parser.add_argument("--rounds", type=int, help="instead of the setting's own")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--work", type=Path, default=Path(".cache/bench"), help="where clips are kept")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Run all parts and write table and raw figures."""
    given = parse_arguments(arguments)
    plan = PLANS[given.size or "short"]
    rounds = given.rounds or plan.rounds
    plan = Plan(plan.name, plan.sets, rounds, plan.slice_frames)
    setting = Setting(given.model, given.threads, plan.slice_frames)
    machine = describe_machine(given.threads)
    _say("drawing clips")
    clips = make_clips(plan.sets, given.work)
    rows = list[Row]()
    for row in screen_sets(plan, setting, clips):
        speed = f"{row.contender}: {row.videos_per_minute:.3g} videos a minute"
        _say(f"round {row.round + 1} of {rounds}: set {row.clip_set}, {speed}")
        rows.append(row)
    figures = list(summarise(rows))
    _say("first verdicts")
    figures += first_verdicts(plan, setting, clips)
    _say("parts")
    figures += network_figures(given.model, rounds, given.threads, given.work)
    figures += sandbox_figures(clips["A"], rounds)
    for long_set in (s.name for s in plan.sets if s.name.startswith("D")):
        figures += decode_figures(long_set, clips[long_set][0], rounds)
    write_results(given.out, plan, machine, figures, rows)


def write_results(
    folder: Path, plan: Plan, machine: dict[str, str | int], figures: list[Figure], rows: list[Row]
) -> None:
    """Print the table and keep it with everything that it was made from."""
    table = format_table(figures, read_goals())
    facts = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    sets = "\n".join(
        f"- {s.name}: {s.count} x {s.seconds} s, {s.width}x{s.height}, keyframe every {s.gop} frames"
        for s in plan.sets
    )
    command = f"make bench ARGS=--{plan.name}" if plan.name != "short" else "make bench"
    text = (
        f"# {plan.name} run\n\n`{command}`, {plan.rounds} rounds\n\n{facts}\n\nClips:\n\n{sets}\n\n{table}\n"
        f"Milliseconds per video by stage, median of the rounds:\n\n{tabulate_stages(rows)}"
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{plan.name}.md").write_text(text, encoding="utf-8")
    raw = {"machine": machine, "figures": [asdict(f) for f in figures], "rows": [asdict(r) for r in rows]}
    (folder / f"{plan.name}.json").write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    print(text)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
