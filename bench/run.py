"""The benchmark: fakesieve and its peers on the same clips with the same weights, in one run.

Usage: python -m bench.run [--full | --tiny] [--rounds N] [--threads N] [--model NAME_OR_DIR] [--out DIR]
       python -m bench.run --from bench/results/short.json

Contenders take turns at every video, so what slows the machine slows all. Prints tables and writes them with
the raw figures to bench/results/. ``--from`` makes the tables of an earlier run again from its raw figures,
which say on which clips they were taken; nothing is measured.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from bench.comparison import (
    CONTENDERS,
    SCREENED_SETS,
    Row,
    assemble_figures,
    tabulate_stage_ratios,
    tabulate_stages,
)
from bench.contender import Screening
from bench.measure import Timed, Worker, first_verdict_ms
from bench.parts import decode_figures, network_figures, sandbox_figures
from bench.report import Figure, format_table, read_goals
from bench.work import FULL, SHORT, TINY, ClipSet, make_clips
from bench.worker import Setting
from engine.backends.select import default_threads
from engine.model_names import DEFAULT_MODEL

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("av", "facenet-pytorch", "numpy", "onnxruntime", "opencv-python-headless", "torch")
_STAGES = """\
Milliseconds per video by stage, median (least to greatest) of the rounds. Those of N0 are extrapolated to the
whole video; an empty cell is a stage that a contender does not do apart."""
_STAGE_RATIOS = """\
How many times as long as ours a peer takes for a stage of a video, median (least to greatest) of the ratios
within a round. Of a minute `fakesieve` looks at 60 frames, `fakesieve-32`, N1 and N2 at 32, and N0 at all."""


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
    size.add_argument(
        "--from", dest="raw", type=Path, metavar="FILE", help="only tables, from an earlier run's raw figures"
    )
    parser.add_argument("--rounds", type=int, help="instead of the setting's own")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--work", type=Path, default=Path(".cache/bench"), help="where clips are kept")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Run all parts and write table and raw figures, or write an earlier run's again."""
    given = parse_arguments(arguments)
    if given.raw:
        rewrite_results(given.raw)
    else:
        _run_all(given)


def _run_all(given: argparse.Namespace) -> None:
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
    _say("first verdicts")
    measured = list(first_verdicts(plan, setting, clips))
    _say("parts")
    measured += network_figures(given.model, rounds, given.threads, given.work)
    measured += sandbox_figures(clips["A"], rounds)
    for long_set in (s.name for s in plan.sets if s.name.startswith("D")):
        measured += decode_figures(long_set, clips[long_set][0], rounds)
    write_results(given.out / f"{plan.name}.json", plan, machine, measured, rows)


def rewrite_results(path: Path) -> None:
    """Write the tables of an earlier run again, beside the raw figures that they are made from.

    Clips and rounds are those that the file says: today's plans may be others. Raises SystemExit for a file
    that does not say them, as of another benchmark or an earlier release.
    """
    raw = json.loads(path.read_text(encoding="utf-8"))
    if "plan" not in raw:
        sys.exit(
            f"error: {path} does not say on which clips its figures were taken: no tables can be made of it"
        )
    rows = [_read_row(form) for form in raw["rows"]]
    figures = [Figure(**{**form, "values": tuple(form["values"])}) for form in raw["figures"]]
    sets = tuple(ClipSet(**form) for form in raw["plan"]["sets"])
    write_results(path, Plan(**{**raw["plan"], "sets": sets}), raw["machine"], figures, rows)


def _read_row(form: Mapping[str, object]) -> Row:
    videos = form["videos"]
    assert isinstance(videos, list)
    timed = tuple(Timed(**{**each, "screening": Screening(**each["screening"])}) for each in videos)
    return Row(**{**form, "videos": timed})


def write_results(
    path: Path, plan: Plan, machine: Mapping[str, str | int], measured: Sequence[Figure], rows: list[Row]
) -> None:
    """Print the tables and keep them, beside ``path`` with everything that they were made from."""
    figures = assemble_figures(rows, measured)
    table = format_table(figures, read_goals())
    facts = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    sets = "\n".join(
        f"- {s.name}: {s.count} x {s.seconds} s, {s.width}x{s.height}, keyframe every {s.gop} frames"
        for s in plan.sets
    )
    command = f"make bench ARGS=--{plan.name}" if plan.name != "short" else "make bench"
    text = (
        f"# {plan.name} run\n\n`{command}`, {plan.rounds} rounds\n\n{facts}\n\nClips:\n\n{sets}\n\n{table}\n"
        f"{_STAGES}\n\n{tabulate_stages(rows)}\n{_STAGE_RATIOS}\n\n{tabulate_stage_ratios(rows)}"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    raw = {
        "plan": asdict(plan),
        "machine": dict(machine),
        "figures": [asdict(f) for f in figures],
        "rows": [asdict(r) for r in rows],
    }
    path.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    print(text)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
