"""How long the README's way takes: from ``make demo`` in a fresh clone to the forged clip in the browser.

Usage: python -m bench.newcomer [--out DIR]

Clones this repository's last commit into a temporary folder, with a home of its own that is empty, and does
there what the README says. Needs git, make, Chromium, and the places from which packages are installed.
"""

import argparse
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import sync_playwright

from bench.console_browser import READY, launch, sign_in
from bench.run import RESULTS, describe_machine
from engine.backends.select import default_threads

ROOT = Path(__file__).resolve().parent.parent
GOAL_S = 300.0
INVITATION = re.compile(
    r"(?P<address>http://\S+)/r/(?P<analysis>ana_\w+)\s.*organisation +(?P<organisation>\S+)\s+"
    r"e-mail +(?P<email>\S+)\s+password +(?P<password>\S+)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Step:
    """One thing that a newcomer does; seconds from the enter key to its end."""

    told: str
    seconds: float


def main() -> None:
    """Go the way, print its times and keep them."""
    parser = argparse.ArgumentParser(prog="python -m bench.newcomer", description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    machine = describe_machine(default_threads())
    with tempfile.TemporaryDirectory(prefix="fakesieve-newcomer-") as name:
        Path(name).chmod(0o755)  # Postgres does not run as root, and must enter its folder
        text = write_report(machine, go(Path(name)))
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "newcomer.md").write_text(text, encoding="utf-8")
    print(text)


def go(place: Path) -> list[Step]:
    """Clone, then do each step of the README; the fleet is ended in any case."""
    clone, home = place / "fakesieve", place / "home"
    home.mkdir()
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PY", "VIRTUAL"))}
    environment = {**kept, "HOME": str(home)}
    _, installing = run(clone, environment, "make demo")
    # Where it fails it has ended the fleet itself.
    told, starting = run(clone, environment, ". .venv/bin/activate; fakesieve demo-fleet --keep fleet")
    try:
        return [installing, starting, look(told)]
    finally:
        run(clone, environment, ".venv/bin/fakesieve down --dir fleet")


def run(clone: Path, environment: Mapping[str, str], command: str) -> tuple[str, Step]:
    """Run a line of shell in the clone, return what it printed. Raises CalledProcessError if it fails."""
    began = time.perf_counter()
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=clone,
        env=dict(environment),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout, Step(f"`{command}`", time.perf_counter() - began)


def look(told: str) -> Step:
    """Sign in as what was printed says and open the forged clip, until its frame and its scores are drawn."""
    found = INVITATION.search(told)
    if found is None:
        raise ValueError(f"demo-fleet has not said where to look: {told[-500:]!r}")
    with sync_playwright() as driver, closing(launch(driver)) as browser:
        began = time.perf_counter()
        page = sign_in(browser, found["address"], found["organisation"], found["email"], found["password"])
        page.goto(f"/r/{found['analysis']}")
        page.wait_for_function(READY)
        return Step("sign in and open the forged clip's page, in Chromium", time.perf_counter() - began)


def write_report(machine: Mapping[str, object], steps: list[Step]) -> str:
    """Return the figures as a page."""
    total = sum(step.seconds for step in steps)
    facts = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    rows = "\n".join(f"| {step.told} | {step.seconds:.1f} |" for step in steps)
    reached = "reached" if total <= GOAL_S else "MISSED"
    return f"""# From a fresh clone to the forged clip in the browser

`python -m bench.newcomer`

{facts}

A clone of that commit, an empty home, packages from where this machine gets them. What a person takes to type
and to read comes on top.

| step | s |
|---|---|
{rows}
| all | {total:.1f} (goal {GOAL_S:.0f}: {reached}) |
"""


if __name__ == "__main__":
    main()
