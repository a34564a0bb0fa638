"""The fenced blocks of README and docs, and how each one that is code is run.

A block runs as it stands where its fence says ``runnable``. What runs the others is in ``RUN_BY``, and those
that no test can run are in ``NOT_RUN`` with the reason; a block that is in none of them fails a test, and so
does a command in a block that is marked as words.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = ("shell", "python", "http", "sql")
ALONE, IN_FLEET = "alone", "in a fleet"
"""How test_docs.py runs a block, and how test_demo.py does, whose fleet is up."""

Entry = TypeVar("Entry")
_SUITE = "this suite is what it runs"
RUN_BY = {
    ("CONTRIBUTING.md", "make check"): _SUITE,
    ("README.md", "make demo"): "tests/e2e/test_demo.py",
    ("README.md", "fakesieve scan clip.mp4 --out results"): ALONE,
    ("README.md", "fakesieve up --dir fleet --detach"): IN_FLEET,
    ("README.md", "fakesieve demo-fleet --keep fleet"): "tests/e2e/test_demo.py",
    ("docs/howto/add-an-engine.md", "pytest tests/contracts/test_backends.py"): _SUITE,
    ("docs/howto/erase-and-retain.md", ""): "tests/api/test_requests_howto.py",
    ("docs/howto/evaluate.md", "fakesieve evaluate labelled/"): "tests/engine/evaluation",
    ("docs/howto/filter-results.md", "api --get"): "tests/api/test_howto.py",
    ("docs/howto/filter-results.md", ""): "tests/api/test_results_howto.py",
    ("docs/howto/import-a-checkpoint.md", "fakesieve model import"): "tests/engine/build/test_checkpoint.py",
    ("docs/howto/ingest.md", "fakesieve submit"): IN_FLEET,
    ("docs/howto/ingest.md", "POST /v1/bucket-events"): "tests/api/test_requests_howto.py",
    ("docs/howto/ingest.md", "fakesieve ingest"): "tests/workers/test_ingest.py",
    ("docs/howto/policies.md", ""): "tests/api/test_results_howto.py",
    ("docs/howto/query.md", ""): "tests/fakesieve/cli/test_query_howto.py",
    ("docs/howto/rescore.md", ""): "tests/api/test_results_howto.py",
    ("docs/howto/review-console.md", "fakesieve users"): "tests/fakesieve/cli/test_users.py",
    ("docs/howto/review.md", ""): "tests/api/test_requests_howto.py",
    ("docs/howto/run-the-fleet.md", "fakesieve up --dir D"): "tests/fakesieve/cli/test_up.py",
    ("docs/howto/run-the-fleet.md", "source D/env"): IN_FLEET,
    ("docs/howto/run-the-fleet.md", "fakesieve migrate"): "tests/fakesieve/cli/test_migrate.py",
    ("docs/howto/sign-models.md", "fakesieve model"): "tests/engine/test_signature.py",
    ("docs/howto/train.md", "fakesieve model pack"): "tests/engine/cli/test_train.py",
    ("docs/howto/train.md", "fakesieve model calibrate"): "tests/engine/training/test_probabilities.py",
    ("docs/howto/use-the-api.md", ""): "tests/api/test_howto.py",
    ("docs/howto/webhooks.md", ""): "tests/api/test_requests_howto.py",
    ("docs/quickstart.md", "make demo"): "tests/e2e/test_demo.py",
    ("docs/quickstart.md", "fakesieve scan clip.mp4 --out results"): ALONE,
    ("docs/reference/cli.md", "fakesieve "): "it is a grammar; test_docs.py holds it against the help texts",
}
"""What runs a block that is not marked, by its page and a text that stands in it. A test that is named here
either reads the page and runs the block, or runs the same commands on inputs of its own."""

NOT_RUN = {
    ("docs/capacity.md", "python -m bench.fleet"): (
        "it measures for long; the tables it writes are held against its figures",
        "tests/bench/test_capacity.py",
    ),
    ("docs/howto/deploy.md", "docker compose up"): (
        "it needs a container engine; the file is read as Compose reads it",
        "tests/deploy/test_compose.py",
    ),
    ("docs/howto/deploy.md", "kubectl apply"): (
        "it needs a cluster; the files are read and checked",
        "tests/deploy/test_kubernetes.py",
    ),
    ("docs/howto/deploy.md", "scale deployment --all"): (
        "it needs a cluster; that the numbers come back is read from the files",
        "tests/deploy/test_kubernetes.py",
    ),
    ("docs/howto/train.md", "make train"): (
        "it trains for long; the loop behind it takes a few steps",
        "tests/engine/training/test_loop.py",
    ),
}
"""Blocks that no test runs: why, and what checks as much of them as can be checked."""

COMMAND = re.compile(r"^\s*(?:\$ )?(?:fakesieve|api|curl|make|docker|kubectl|pip) ", re.MULTILINE)
"""How a line begins that is a command, whatever stands behind the fence."""
WORDS = ("", "text")
"""Kinds of blocks that are no code."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; ``kind`` is what stands behind the fence."""

    page: Path
    line: int
    kind: str
    body: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def language(self) -> str:
        return self.kind.partition(" ")[0]

    @property
    def run_by(self) -> str | None:
        """What runs it; None where nothing does."""
        if self.kind.endswith(" runnable"):
            return ALONE
        return self._find(RUN_BY)

    @property
    def checked_by(self) -> str | None:
        """What checks a block that cannot be run; None for one that can."""
        found = self._find(NOT_RUN)
        return None if found is None else found[1]

    @property
    def hides_commands(self) -> bool:
        """Whether commands stand in a block that is marked as words, so that nothing would run them."""
        return self.language in WORDS and COMMAND.search(self.body) is not None

    def _find(self, table: Mapping[tuple[str, str], Entry]) -> Entry | None:
        page = str(self.page.relative_to(ROOT))
        return next(
            (found for (name, part), found in table.items() if name == page and part in self.body), None
        )


def read_blocks() -> Iterator[Block]:
    """Yield every fenced block of every page."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield Block(page, line, match["kind"].strip(), match["body"])


def list_blocks(run_by: str, language: str) -> list[Block]:
    """Return the blocks of a language that are run in this way; of those with the same text the first."""
    found = [block for block in read_blocks() if block.language == language and block.run_by == run_by]
    return list({block.body: block for block in reversed(found)}.values())[::-1]


def read_lines(block: Block) -> Iterator[str]:
    """Yield the commands of a shell block, continued lines joined, comments left out."""
    for line in block.body.replace("\\\n", " ").splitlines():
        command = re.sub(r"(^|\s)#.*", "", line).strip()
        if command:
            yield command
