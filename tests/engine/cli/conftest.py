"""A model with random weights and a way to run commands in this process."""

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fakesieve.__main__ import main
from tests.documents import check_document
from tests.models import compact_bundle


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of lv-compact with random weights."""
    return compact_bundle(tmp_path_factory.mktemp("model") / "random").directory


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


def check_documents(arguments: list[str], out: str) -> None:
    """Fail if a document that ``scan`` printed, or wrote into its folder, does not follow the schema."""
    if arguments[:1] != ["scan"]:
        return
    texts = out.splitlines() if "--jsonl" in arguments else []
    if "--out" in arguments:
        folder = Path(arguments[arguments.index("--out") + 1])
        texts += [path.read_text() for path in folder.glob("*.json")]
    documents = [json.loads(text) for text in texts]
    if "--json" in arguments and out:
        documents += json.loads(out)
    for document in documents:
        check_document(document)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Ran]]:
    """Run ``fakesieve`` in this process; every document that it prints or writes follows the schema."""
    before = signal.getsignal(signal.SIGTERM)

    def run_command(*arguments: object) -> Ran:
        capsys.readouterr()
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        said = capsys.readouterr()
        check_documents([str(argument) for argument in arguments], said.out)
        return Ran(code, said.out, said.err)

    yield run_command
    signal.signal(signal.SIGTERM, before)
