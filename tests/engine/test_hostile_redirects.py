"""Files that send their reader elsewhere: nothing else is opened, nothing goes over the network."""

import contextlib
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import MediaRejected
from engine.sandbox.handle import Sandbox, SandboxLevel
from tests.engine.test_hostile_files import ACCEPTED, REFUSED, look
from tests.hostile import Corpus
from tests.hostile_recipes.redirects import redirect_recipes
from tests.hostile_recipes.watching import HitCounter, ReadWatch
from tests.waiting import PATIENCE_S

ROWS = tuple(redirect_recipes("http://127.0.0.1:9", Path("/outside")))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.start() as started:
        yield started


@pytest.fixture(scope="module")
def server() -> Iterator[HitCounter]:
    with HitCounter() as counter:
        yield counter


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, server: HitCounter) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("redirects"), server.address)


@pytest.mark.parametrize("row", [recipe.row for recipe in ROWS])
def test_redirection_is_not_followed(row: str, corpus: Corpus, server: HitCounter, sandbox: Sandbox) -> None:
    path = corpus.file(row)
    beside = [each for each in path.parent.iterdir() if each != path]
    watch = ReadWatch([corpus.outside, *beside])
    hits = len(server.paths)
    reason = None
    try:
        look(path, sandbox)
    except MediaRejected as refusal:
        reason = refusal.reason
    touched = watch.touched()
    watch.close()
    assert reason is REFUSED.get(row)
    assert (reason is None) == (row in ACCEPTED)
    assert touched == set()
    assert server.paths[hits:] == []


class DeedsOfThisProcess:
    """Files opened, connections made and programs started by Python code of this process while it is on."""

    def __init__(self) -> None:
        self.is_on = False
        self.seen: list[tuple[str, str]] = []
        sys.addaudithook(self._note)  # for good: a hook cannot be taken back

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.is_on and event in {"open", "socket.connect", "socket.getaddrinfo", "subprocess.Popen"}:
            self.seen.append((event, str(arguments[0])))


def test_asking_process_opens_the_input_and_nothing_else(corpus: Corpus, sandbox: Sandbox) -> None:
    deeds = DeedsOfThisProcess()
    look(corpus.file("F67f"), sandbox)  # what is loaded at first use is loaded now
    for row in ("F67f", "F67b", *(recipe.row for recipe in ROWS)):
        path = corpus.file(row)
        deeds.seen.clear()
        deeds.is_on = True
        with contextlib.suppress(MediaRejected):
            look(path, sandbox)
        deeds.is_on = False
        assert set(deeds.seen) == {("open", str(path))}


def test_decoding_children_can_open_and_reach_nothing(sandbox: Sandbox) -> None:
    assert sandbox.level is SandboxLevel.FULL
    assert sandbox.inspect().open_doors == ()


def test_watch_and_counter_would_have_noticed(corpus: Corpus, server: HitCounter) -> None:
    corpus.file("F41c")
    watch = ReadWatch([corpus.outside])
    corpus.outside.read_bytes()
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(f"{server.address}/control", timeout=PATIENCE_S)
    assert watch.touched() == {corpus.outside.name}
    assert server.paths[-1] == "/control"
    watch.close()
