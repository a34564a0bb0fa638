"""Files that send their reader elsewhere: nothing else is opened, nothing goes over the network."""

import contextlib
import io
import os
import py_compile
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from engine.cli.display import RunDisplay
from engine.cli.outputs import OutputPlan
from engine.errors import MediaRejected
from engine.limits import Limits
from engine.sandbox.handle import Sandbox, SandboxLevel
from engine.screen import scan_video
from tests.engine.fakes import fake_tools
from tests.engine.test_hostile_files import ACCEPTED, REFUSED, look
from tests.hostile import Corpus
from tests.hostile_recipes import watching
from tests.hostile_recipes.redirects import redirect_recipes
from tests.hostile_recipes.watching import DeedsOfThisProcess, HitCounter, ReadWatch
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


def test_asking_process_opens_the_input_and_nothing_else(corpus: Corpus, sandbox: Sandbox) -> None:
    deeds = DeedsOfThisProcess()
    for row in ("F67f", "F67b", *(recipe.row for recipe in ROWS)):
        path = corpus.file(row)
        with deeds.watch() as seen, contextlib.suppress(MediaRejected):
            look(path, sandbox)
        assert seen == {("open", str(path))}


def test_a_scan_with_overlay_and_report_opens_its_input_and_its_outputs_alone(
    corpus: Corpus, sandbox: Sandbox, tmp_path: Path
) -> None:
    path, tools, deeds = corpus.file("F67f"), fake_tools(sandbox), DeedsOfThisProcess()
    display = RunDisplay(1, Console(file=io.StringIO()))
    with display, display.follow(path) as watcher, deeds.watch() as seen:
        result = scan_video(path, tools)
        plan = OutputPlan(tmp_path, ("clip",), Limits(), with_overlay=True, with_report=True)
        entry = plan.write(result, tools, watcher, 0)
        plan.write_index([entry], tools.bundle)
    assert result.score is not None
    written = {"clip.json", "clip.npz", "clip.overlay.mp4", "clip.report.html", "index.html"}
    assert {each.name for each in tmp_path.iterdir()} == written
    elsewhere = {(event, name) for event, name in seen if not name.startswith(f"{tmp_path}/")}
    assert elsewhere == {("open", str(path))}


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


def test_threads_that_a_look_starts_are_watched_and_those_of_others_are_not(tmp_path: Path) -> None:
    may_go, ours, theirs = threading.Event(), tmp_path / "ours", tmp_path / "theirs"

    def write_theirs() -> None:
        assert may_go.wait(PATIENCE_S)
        theirs.write_bytes(b"x")

    others = threading.Thread(target=write_theirs)
    others.start()
    with DeedsOfThisProcess().watch() as seen:
        may_go.set()
        others.join()
        started = threading.Thread(target=ours.write_bytes, args=(b"x",))
        started.start()
        started.join()
    assert theirs.exists()
    assert seen == {("open", str(ours))}


def test_what_is_written_beside_the_packages_would_be_seen_and_bytecode_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "INSTALLATION", (str(tmp_path),))
    (tmp_path / "__pycache__").mkdir()
    read, made, kept = tmp_path / "module.py", tmp_path / "model.bin", tmp_path / "__pycache__" / "cache.bin"
    read.write_text("VALUE = 1")
    with DeedsOfThisProcess().watch() as seen:
        read.read_text()
        made.write_bytes(b"x")
        os.close(os.open(kept, os.O_RDWR | os.O_CREAT))
        py_compile.compile(str(read), doraise=True)
    assert (tmp_path / "__pycache__" / f"module.{sys.implementation.cache_tag}.pyc").exists()
    assert seen == {("open", str(made)), ("open", str(kept))}
