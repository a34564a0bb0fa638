"""From rounds to figures: medians, spreads, ratios within a round, goals, one table."""

import statistics
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

GOALS = Path(__file__).parent / "goals.toml"


@dataclass(frozen=True)
class Figure:
    """One quantity over the rounds of a run."""

    name: str
    unit: str
    values: tuple[float, ...]
    note: str = ""

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"no round gave {self.name}")

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.values)

    def spread(self) -> str:
        """Median with least and greatest, three significant digits."""
        low, high = min(self.values), max(self.values)
        return f"{_short(self.median)} ({_short(low)} to {_short(high)})"


def ratio(name: str, above: Figure, below: Figure, note: str = "") -> Figure:
    """Divide two figures round by round, so that what slows the machine slows both."""
    pairs = zip(above.values, below.values, strict=True)
    return Figure(name, "times", tuple(a / b for a, b in pairs), note)


def _short(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


@dataclass(frozen=True)
class Goal:
    """What a figure is meant to reach."""

    figure: str
    at_least: float | None = None
    at_most: float | None = None

    def verdict(self, figure: Figure) -> str:
        """Say whether the median reaches the goal."""
        if self.at_least is not None:
            return f">= {self.at_least:g}: {'reached' if figure.median >= self.at_least else 'missed'}"
        assert self.at_most is not None
        return f"<= {self.at_most:g}: {'reached' if figure.median <= self.at_most else 'missed'}"


def read_goals(path: Path = GOALS) -> dict[str, Goal]:
    """Read the goals by the name of their figure."""
    with path.open("rb") as file:
        return {form["figure"]: Goal(**form) for form in tomllib.load(file)["goal"]}


def format_table(figures: Iterable[Figure], goals: dict[str, Goal]) -> str:
    """Write the figures as a Markdown table: median, least and greatest, and the goal where there is one."""
    lines = ["| figure | median (least to greatest) | unit | goal | note |", "|---|---|---|---|---|"]
    for figure in figures:
        goal = goals[figure.name].verdict(figure) if figure.name in goals else ""
        lines.append(f"| {figure.name} | {figure.spread()} | {figure.unit} | {goal} | {figure.note} |")
    return "\n".join(lines) + "\n"
