"""The rounds as figures: what the queue costs, how fast it was beside scan, what it uses."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.fleet.clips import CLIP
from bench.fleet.costs import Costs, Piece, percentile
from bench.fleet.rounds import FleetRound, ScanRound
from bench.report import Figure, format_table, ratio, read_goals

KINDS = ("prepare", "screen", "score")
PERCENTILES = (50, 99)
CALLS = (
    ("prepare", "fan_out"),
    ("screen", "finish_shard"),
    ("screen", "finish_only_shard"),
    ("score", "load_evidence"),
    ("score", "finish_job"),
)


@dataclass(frozen=True)
class Run:
    """Everything that a run has found; the lists have one entry for each round."""

    machine: Mapping[str, str | int]
    note: str
    slots: int
    frame_every: int  # drawn frames of the clips to one that they have
    fleets: Sequence[FleetRound]
    scans: Sequence[ScanRound]
    costs: Sequence[Costs]
    peaks: Mapping[str, int]


def summarise(run: Run) -> Iterator[Figure]:
    """Turn the rounds into figures."""
    yield from _throughput(run)
    yield from _overhead(run)
    yield from _use(run)


def _throughput(run: Run) -> Iterator[Figure]:
    fleet = Figure("fleet: clips per second", "1/s", tuple(each.per_second for each in run.fleets))
    scan = Figure("scan: clips per second", "1/s", tuple(each.steady_per_second for each in run.scans))
    whole = Figure(
        "scan: clips per second, with its start", "1/s", tuple(each.per_second for each in run.scans)
    )
    yield from (fleet, scan, whole)
    yield ratio("throughput of the fleet over scan", fleet, scan, "scan without the start of its process")
    yield ratio("throughput of the fleet over scan, with its start", fleet, whole)
    yield Figure(
        "fleet: submitting a job", "ms", tuple(1000 * each.submit_s / each.clips for each in run.fleets)
    )


def _overhead(run: Run) -> Iterator[Figure]:
    """What claims, results and messages took."""
    note = (
        "its result and, where no other piece did that, its claim; the analysis too where it is the only one"
    )
    for share in PERCENTILES:
        name = f"queue overhead of a screen shard, p{share}"
        yield _of_pieces(run, name, "screen", share, lambda piece: piece.overhead_ms, note)
    yield _of_rounds(
        run,
        "queue overhead of a screen shard, share of its time",
        "%",
        lambda each: 100 * each.overhead_share("screen"),
        note,
    )
    for share in PERCENTILES:
        yield _of_rounds(
            run,
            f"queue overhead of a job of one shard, p{share}",
            "ms",
            lambda each, share=share: percentile(each.turns_ms, share),
            "all that its host asks of the database, the analysis too",
        )
    yield _of_rounds(
        run,
        "all that the queue takes of the slots' time",
        "%",
        lambda each: 100 * each.queue_share,
        "every call of the database, the analysis too; refused doorbells, heartbeats, empty slots",
    )
    yield from _pieces(run)
    yield from _messages(run)


def _pieces(run: Run) -> Iterator[Figure]:
    """What there was: a job of one shard has no piece for its scoring, and one claim for all its pieces."""
    kinds = [kind for kind in KINDS if all(each.of_kind(kind) for each in run.costs)]
    for kind in kinds:
        yield _of_pieces(run, f"{kind}: time of a piece, p50", kind, 50, lambda piece: piece.time_ms)
    for share in PERCENTILES:
        for kind in kinds:
            if all(any(piece.claim_ms for piece in each.of_kind(kind)) for each in run.costs):
                yield _of_pieces(run, f"{kind}: claim, p{share}", kind, share, lambda piece: piece.claim_ms)
        for kind, call in CALLS:
            if kind in kinds and all(
                call in piece.calls_ms for each in run.costs for piece in each.of_kind(kind)
            ):
                name = f"{kind}: {call}, p{share}"
                yield _of_pieces(run, name, kind, share, lambda piece, call=call: piece.calls_ms[call])


def _messages(run: Run) -> Iterator[Figure]:
    for share in PERCENTILES:
        yield _of_rounds(
            run,
            f"message: from its arrival to its slot, p{share}",
            "ms",
            lambda each, share=share: percentile([message.wait_ms for message in each.messages], share),
        )
        yield _of_rounds(
            run,
            f"slot: empty between two doorbells, p{share}",
            "ms",
            lambda each, share=share: percentile(each.gaps_ms, share),
        )
    refused = "doorbells that were refused"
    yield _of_rounds(run, refused, "%", lambda each: 100 * len(each.refused_ms) / len(each.messages))
    beats = [ms for each in run.costs for ms in each.beats_ms]
    if beats:
        note = f"{len(beats)} of them in all rounds"
        yield Figure("heartbeat: one transaction, p50", "ms", (percentile(beats, 50),), note)


def _of_rounds(run: Run, name: str, unit: str, measure: Callable[[Costs], float], note: str = "") -> Figure:
    return Figure(name, unit, tuple(measure(each) for each in run.costs), note)


def _of_pieces(
    run: Run, name: str, kind: str, share: int, measure: Callable[[Piece], float], note: str = ""
) -> Figure:
    values = (percentile([measure(piece) for piece in each.of_kind(kind)], share) for each in run.costs)
    return Figure(name, "ms", tuple(values), note)


def _use(run: Run) -> Iterator[Figure]:
    """Batches, processor time and memory."""
    yield _of_rounds(run, "crops in a batch that the network ran", "", lambda each: each.batch_mean)
    for share in PERCENTILES:
        name = f"wait for a batch, p{share}"
        yield _of_rounds(run, name, "ms", lambda each, share=share: percentile(each.waits_ms, share))
    for role in run.fleets[0].cpu_s:
        spent = tuple(each.cpu_s[role] / each.clips for each in run.fleets)
        yield Figure(f"processor time per clip: {role}", "s", spent)
    whole = tuple(sum(each.cpu_s.values()) / each.clips for each in run.fleets)
    yield Figure("processor time per clip: whole fleet", "s", whole)
    scans = tuple(each.cpu_s / each.clips for each in run.scans)
    yield Figure("processor time per clip: scan", "s", scans, "with the start of its process")
    for name, size in run.peaks.items():
        yield Figure(f"peak memory: {name}", "MiB", (size / 2**20,), "proportional set size")


def write_run(folder: Path, name: str, run: Run) -> None:
    """Print the page and keep it under a name, with the figures that it was made from."""
    figures = list(summarise(run))
    page = format_page(run, figures)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(page, encoding="utf-8")
    raw = {
        "machine": dict(run.machine),
        "note": run.note,
        "clips": sum(each.clips for each in run.fleets),
        "slots": run.slots,
        "frame_every": run.frame_every,
        "figures": [asdict(each) for each in figures],
        "fleet_rounds": [asdict(each) for each in run.fleets],
        "scan_rounds": [asdict(each) for each in run.scans],
    }
    (folder / f"{name}.json").write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    print(page)


def format_page(run: Run, figures: Sequence[Figure]) -> str:
    """Return the page."""
    facts = "\n".join(f"- {name}: {value}" for name, value in run.machine.items())
    clips, rounds = sum(each.clips for each in run.fleets), len(run.fleets)
    scored = sum(each.scored for each in run.fleets)
    note = f"{run.note}\n\n" if run.note else ""
    options = f"--clips {clips} --rounds {rounds} --frame-every {run.frame_every}"
    what = (
        f"{clips} clips of {CLIP.seconds} s, {CLIP.width}x{CLIP.height}, one in {run.frame_every} frames"
        f" of 25 a second, no two of the same bytes; {scored} of them got an analysis of their own."
        f" {run.slots} slots, and {run.slots} jobs of scan. {rounds} rounds, fleet and scan in turns."
    )
    return (
        f"# One host of a fleet\n\n`python -m bench.fleet {options}`\n\n{note}{facts}\n\n{what}\n\n"
        f"{format_table(figures, read_goals())}"
    )
