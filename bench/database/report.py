"""The results of the database's benchmark as a page and as raw figures."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.database.ask import Asked
from bench.database.prepare import Filled
from bench.database.templates import Steps
from bench.database.weigh import TableSize, WriteRate
from bench.fleet.costs import percentile
from bench.report import Goal

# These have rows for whole analyses only; see Filled.
WIDE = ("frame_score", "patch_map")
_TIMES = (
    "Times of questions are those of the caller, with SQLAlchemy and the way over TCP; 'in the database' is"
    " one run under EXPLAIN (ANALYZE, BUFFERS) of each statement. What a question writes is undone. Apply of"
    " a policy's change runs all its steps in one transaction, so without their commits, and explained is"
    " the first step alone, which writes 20,000 analyses at most."
)


@dataclass(frozen=True)
class Findings:
    """Everything that a run has found."""

    machine: Mapping[str, str | int]
    server: str
    note: str
    filled: Filled
    sizes: Sequence[TableSize]
    evidence_bytes: float  # of a shard, wherever it is
    kept_bytes: float  # of the evidence in a row that has some
    asked: Sequence[Asked]
    rates: Sequence[WriteRate]
    runs: Sequence[tuple[WriteRate, Steps]]


def tabulate_sizes(found: Findings) -> Iterator[str]:
    """Write rows and bytes of the tables, and what one analysis with all its rows adds to each."""
    yield "| table | rows | MiB | of it indexes | bytes a row | bytes an analysis | largest index |"
    yield "|---|---|---|---|---|---|---|"
    total = 0.0
    for size in found.sizes:
        both = size.table_bytes + size.index_bytes
        each = per_analysis(size, found)
        total += each
        largest = size.indexes[0][0] if size.indexes else ""
        yield (
            f"| {size.name} | {size.rows:,} | {both / 2**20:,.0f} | {size.index_bytes / 2**20:,.0f} |"
            f" {both / size.rows:,.0f} | {each:,.0f} | {largest} |"
        )
    yield f"| all | | | | | {total:,.0f} | |"


def per_analysis(size: TableSize, found: Findings) -> float:
    """Return the bytes of a table and its indexes that one analysis with all its rows adds."""
    total, filled = size.table_bytes + size.index_bytes, found.filled
    if size.name in WIDE:
        return total / filled.whole
    if size.name == "shard":
        return (total - filled.whole * found.kept_bytes) / filled.analyses + found.evidence_bytes
    return total / filled.analyses


def tabulate_rates(found: Findings) -> Iterator[str]:
    """Write how fast analyses and whole jobs are written."""
    yield "| what | writers | a second | rows a second |"
    yield "|---|---|---|---|"
    for rate in (*found.rates, *(rate for rate, _ in found.runs)):
        rows = f"{rate.rows / rate.seconds:,.0f}" if rate.rows else ""
        yield f"| {rate.name} | {rate.writers} | {rate.per_second:,.1f} | {rows} |"


def tabulate_steps(found: Findings) -> Iterator[str]:
    """Write how long the steps of a job take when one writer is at work."""
    yield "| step | p50 ms | p99 ms |"
    yield "|---|---|---|"
    for name, spent in found.runs[0][1].spent_ms.items():
        yield f"| {name} | {percentile(spent, 50):.2f} | {percentile(spent, 99):.2f} |"


def tabulate_questions(asked: Sequence[Asked]) -> Iterator[str]:
    """Write the times of the questions, and what the database says of one run of each."""
    heads = "question | runs | p50 ms | p99 ms | goal | in the database, ms | MiB read | round trips"
    yield f"| {heads} | reads whole |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for each in asked:
        goal = "" if each.goal_ms is None else _judge(each)
        spent = sum(plan.execution_ms + plan.planning_ms for plan in each.plans)
        read = sum(plan.hit_bytes + plan.read_bytes for plan in each.plans) / 2**20
        yield (
            f"| {each.name} | {len(each.times_ms)} | {each.p50_ms:,.2f} | {each.p99_ms:,.2f} | {goal} |"
            f" {spent:,.2f} | {read:,.2f} | {each.statements} | {', '.join(each.scans)} |"
        )


def _judge(asked: Asked) -> str:
    assert asked.goal_ms is not None
    goal = Goal(asked.name, at_most=asked.goal_ms)
    reached = asked.p99_ms <= asked.goal_ms
    return f"<= {goal.at_most:g}: {'reached' if reached else 'missed'}"


def write_findings(folder: Path, found: Findings) -> None:
    """Print the page and keep it with the figures that it was made from."""
    page = format_page(found)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "database.md").write_text(page, encoding="utf-8")
    (folder / "database.json").write_text(json.dumps(build_raw(found), indent=1) + "\n", encoding="utf-8")
    print(page)


def format_page(found: Findings) -> str:
    """Return the page."""
    filled = found.filled
    parts = (
        ("Sizes", tabulate_sizes(found)),
        ("Writing", tabulate_rates(found)),
        ("Steps of a job, one writer", tabulate_steps(found)),
        ("Questions", tabulate_questions(found.asked)),
    )
    tables = "\n".join(f"## {title}\n\n" + "\n".join(lines) + "\n" for title, lines in parts)
    return (
        f"# {filled.analyses:,} analyses in Postgres {found.server}\n\n"
        f"`python -m bench.database --analyses {filled.analyses} --waiting {filled.waiting}`\n\n"
        f"{_format_facts(found.machine, found.note)}{_describe_rows(filled)}"
        f" Filling took {filled.fill_s:,.0f} s, vacuum and analyze {filled.clean_s:,.0f} s, at a load of"
        f" {filled.load_at_fill:g}. {_TIMES}\n\n{tables}"
    )


def format_answers(
    command: str, machine: Mapping[str, str | int], server: str, filled: Filled, asked: Sequence[Asked]
) -> str:
    """Return the page of some of the questions, which ``command`` has asked."""
    table = "\n".join(tabulate_questions(asked))
    return (
        f"# Some questions over {filled.analyses:,} analyses in Postgres {server}\n\n`{command}`\n\n"
        f"{_format_facts(machine, '')}{_describe_rows(filled)} {_TIMES}\n\n{table}\n"
    )


def _format_facts(machine: Mapping[str, str | int], note: str) -> str:
    facts = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    return (f"{note}\n\n" if note else "") + f"{facts}\n\n"


def _describe_rows(filled: Filled) -> str:
    return (
        f"Rows are those of real jobs over 10 s clips with one or two faces, copied by the server with other"
        f" ids, times, tenants and scores; {filled.whole:,} analyses have their wide rows too (faces in"
        f" frames, patch maps, evidence). {filled.waiting:,} jobs wait or run beside them."
    )


def build_raw(found: Findings) -> dict[str, object]:
    """Return the figures as JSON."""
    return {
        "machine": dict(found.machine),
        "server": found.server,
        "note": found.note,
        "filled": asdict(found.filled),
        "sizes": [asdict(size) | {"bytes_per_analysis": per_analysis(size, found)} for size in found.sizes],
        "evidence_bytes": found.evidence_bytes,
        "kept_bytes": found.kept_bytes,
        "rates": [asdict(rate) for rate in (*found.rates, *(rate for rate, _ in found.runs))],
        "steps_ms": {
            name: [percentile(spent, 50), percentile(spent, 99)]
            for name, spent in found.runs[0][1].spent_ms.items()
        },
        "questions": [
            {
                "name": each.name,
                "goal_ms": each.goal_ms,
                "runs": len(each.times_ms),
                "p50_ms": each.p50_ms,
                "p99_ms": each.p99_ms,
                "round_trips": each.statements,
                "plans": [asdict(plan) for plan in each.plans],
            }
            for each in found.asked
        ],
    }
