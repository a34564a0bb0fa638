"""What ``bench/api.py`` has measured, as a page and as figures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from bench.database.ask import percentile

PAGE = 50
QUIET, WRITES = "quiet", "writes"
_WORDS = f"""\
Milliseconds that one caller waits for a whole answer over HTTP on the same machine, one request at a time;
lists have {PAGE} lines. `processor` is the processor time of the API's process for one request, which other
work on the machine changes less. The load average meanwhile stands beside each: where it is over the number
of cores, other work took part of the time. Goals are for the database without writes."""
_HEAD = """\
| question | times | p50 | p99 | processor | load | p50, writes | p99 | processor | load | writes/s | goal |
|---|---|---|---|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Asked:
    """How long the answers to one question took, in milliseconds, and how busy the machine was meanwhile."""

    name: str
    phase: str
    goal_ms: float | None
    times_ms: tuple[float, ...]
    load: float
    writes_per_s: float
    api_cpu_ms: float

    @property
    def p50_ms(self) -> float:
        """The middle."""
        return median(self.times_ms)

    @property
    def p99_ms(self) -> float:
        """99 of 100 are below; of fewer than a hundred it is the greatest."""
        return percentile(self.times_ms, 99)


def format_page(machine: Mapping[str, str | int], note: str, asked: Sequence[Asked], analyses: int) -> str:
    """Return the results as a page."""
    busy = {each.name: each for each in asked if each.phase == WRITES}
    rows = [_format_row(each, busy.get(each.name)) for each in asked if each.phase == QUIET]
    facts = [f"- {name}: {value}" for name, value in machine.items()]
    head = [f"# The API over {analyses:,} analyses", "", "`python -m bench.api`", "", *facts, ""]
    said = [note, ""] if note else []
    return "\n".join([*head, *said, _WORDS, "", _HEAD, *rows]) + "\n"


def _format_row(quiet: Asked, busy: Asked | None) -> str:
    cells = [quiet.name, str(len(quiet.times_ms)), *_format_times(quiet)]
    cells += ["", "", "", "", ""] if busy is None else [*_format_times(busy), f"{busy.writes_per_s:.1f}"]
    return f"| {' | '.join([*cells, judge(quiet)])} |"


def _format_times(asked: Asked) -> list[str]:
    figures = (asked.p50_ms, asked.p99_ms, asked.api_cpu_ms, asked.load)
    return [f"{figure:.1f}" for figure in figures]


def judge(asked: Asked) -> str:
    """Say whether a question meets its goal."""
    if asked.goal_ms is None:
        return ""
    return f"<= {asked.goal_ms:g}: {'reached' if asked.p99_ms <= asked.goal_ms else 'missed'}"


def write_results(
    out: Path, machine: Mapping[str, str | int], note: str, asked: Sequence[Asked], analyses: int
) -> None:
    """Print the page and keep it with the figures that it was made from."""
    page = format_page(machine, note, asked, analyses)
    (out / "api.md").write_text(page, encoding="utf-8")
    raw = {"machine": dict(machine), "note": note, "asked": [asdict(each) for each in asked]}
    (out / "api.json").write_text(json.dumps(raw) + "\n", encoding="utf-8")
    print(page)
