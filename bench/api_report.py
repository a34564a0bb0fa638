"""What ``bench/api.py`` has measured, as a page and as figures.

Usage: python -m bench.api_report FOLDER

Writes the folder's ``api.md`` again from the figures in its ``api.json``; nothing is measured.
"""

import json
import sys
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
of cores, other work took part of the time. Goals are for the p99: first of the quiet database, then, behind
`writes/s`, of the one that another process writes to meanwhile."""
_HEADS = (
    ("question", "times", "goal"),
    ("p50", "p99", "goal is", "processor", "load"),
    ("writes/s", "p50", "p99", "goal is", "processor", "load"),
)


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
    return "\n".join([*head, *said, _WORDS, "", *_format_heads(), *rows]) + "\n"


def _format_heads() -> list[str]:
    names = [name for part in _HEADS for name in part]
    return [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]


def _format_row(quiet: Asked, busy: Asked | None) -> str:
    goal = "" if quiet.goal_ms is None else f"<= {quiet.goal_ms:g}"
    cells = [quiet.name, str(len(quiet.times_ms)), goal, *_format_times(quiet)]
    cells += [""] * len(_HEADS[2]) if busy is None else [f"{busy.writes_per_s:.1f}", *_format_times(busy)]
    return f"| {' | '.join(cells)} |"


def _format_times(asked: Asked) -> list[str]:
    waited = [f"{asked.p50_ms:.2f}", f"{asked.p99_ms:.2f}", judge(asked)]
    return [*waited, f"{asked.api_cpu_ms:.1f}", f"{asked.load:.1f}"]


def judge(asked: Asked) -> str:
    """Say whether a question meets its goal in its phase; nothing where it has none."""
    if asked.goal_ms is None:
        return ""
    return "reached" if asked.p99_ms <= asked.goal_ms else "missed"


def write_results(
    out: Path, machine: Mapping[str, str | int], note: str, asked: Sequence[Asked], analyses: int
) -> None:
    """Print the page and keep it with the figures that it was made from."""
    raw = {
        "analyses": analyses,
        "machine": dict(machine),
        "note": note,
        "asked": [asdict(each) for each in asked],
    }
    (out / "api.json").write_text(json.dumps(raw) + "\n", encoding="utf-8")
    print(rewrite_page(out))


def rewrite_page(out: Path) -> str:
    """Make the page of a folder from its figures, keep it and return it."""
    raw = json.loads((out / "api.json").read_text(encoding="utf-8"))
    asked = [Asked(**{**each, "times_ms": tuple(each["times_ms"])}) for each in raw["asked"]]
    page = format_page(raw["machine"], raw["note"], asked, raw["analyses"])
    (out / "api.md").write_text(page, encoding="utf-8")
    return page


if __name__ == "__main__":
    (folder,) = sys.argv[1:]
    print(rewrite_page(Path(folder)))
