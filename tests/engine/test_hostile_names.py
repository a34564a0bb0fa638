"""Names that mean something to a shell, a terminal or FFmpeg: they are names of files and nothing else."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from engine.errors import MediaRejected
from engine.probe import probe_video
from engine.results import RejectReason
from engine.sandbox.channel import pack_json
from engine.sandbox.handle import Sandbox, SandboxCall
from tests.engine.test_hostile_files import look
from tests.hostile_recipes.drawing import plain_clip
from tests.hostile_recipes.watching import HitCounter, ReadWatch

NAMES = (
    "concat:a|b",
    "concat:a.mp4|b.mp4",
    "%04d.png",
    "*.mp4",
    "-i",
    "--help.mp4",
    "-",
    "a\nb.mp4",
    "a\r\nX-Header: 1.mp4",
    "\x1b[2J\x1b]0;title\x07.mp4",
    "a\tb\x01.mp4",
    "fd:",
    "fd:5",
    "pipe:0",
    "file:a.mp4",
    "data:video;base64,AAAA",
    "subfile,,start,0,end,0,,:a.mp4",
    "crypto:a.mp4",
    "\u202egpj.4pm",
    "\N{GRINNING FACE}\N{FAMILY}.mp4",
    "=HYPERLINK(1).mp4",
    "<img onerror=alert(1)>.mp4",
    "$(touch pwned).mp4",
    "'; rm x; '.mp4",
    "x" * 251 + ".mp4",
    " .mp4",
    "...mp4",
)


class ListeningSandbox(Sandbox):
    """A sandbox that keeps what its children were told."""

    def call_with_slabs(
        self, request: Mapping[str, object], source: int, slab_bytes: int, wall_s: float
    ) -> tuple[SandboxCall, int]:
        self.told.append(pack_json(request))
        return super().call_with_slabs(request, source, slab_bytes, wall_s)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[ListeningSandbox]:
    with ListeningSandbox.start() as started:
        started.told = []
        yield started


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three decoys, which is the current one."""
    for decoy in ("a", "b", "a.mp4", "b.mp4", "0001.png"):
        (tmp_path / decoy).write_bytes(b"decoy")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", NAMES, ids=[repr(name)[:30] for name in NAMES])
def test_name_is_only_a_name(name: str, folder: Path, sandbox: ListeningSandbox) -> None:
    Path(name).write_bytes(plain_clip())
    decoys = [each for each in folder.iterdir() if each.name != name]
    watch = ReadWatch(decoys)
    sandbox.told.clear()
    seen = look(Path(name), sandbox)
    assert (seen.probe.frame_count, seen.report.decoded) == (50, 32)
    assert watch.touched() == set()
    assert sorted(each.name for each in folder.iterdir()) == sorted([name, *(d.name for d in decoys)])
    watch.close()


@pytest.mark.parametrize("name", ["concat:a|b", "zebra-%04d.mp4"])
def test_child_is_told_no_name(name: str, folder: Path, sandbox: ListeningSandbox) -> None:
    (folder / name).write_bytes(plain_clip())
    sandbox.told.clear()
    look(folder / name, sandbox)
    assert len(sandbox.told) == 2  # one child looked, one decoded
    for request in sandbox.told:
        assert b"zebra" not in request
        assert b"concat" not in request
        assert os.fsencode(folder) not in request


def test_path_that_reads_like_an_address_stays_a_path(folder: Path, sandbox: ListeningSandbox) -> None:
    with HitCounter() as server:
        path = Path(server.address) / "clip.mp4"  # http:/127.0.0.1:port/clip.mp4, folders of these names
        path.parent.mkdir(parents=True)
        path.write_bytes(plain_clip())
        assert look(path, sandbox).report.decoded == 32
        with pytest.raises(MediaRejected) as refusal:
            probe_video(Path(server.address) / "absent.mp4", sandbox=sandbox)
        assert refusal.value.reason is RejectReason.SOURCE_NOT_FOUND
        assert server.paths == []


@pytest.mark.parametrize("name", ["a\0b.mp4", "x" * 4096, "absent\x1b[2J\n.mp4", "a.mp4/b.mp4", ""])
def test_name_of_no_file_is_refused_in_words_safe_to_print(
    name: str, folder: Path, sandbox: ListeningSandbox
) -> None:
    with pytest.raises(MediaRejected) as refusal:
        probe_video(folder / name, sandbox=sandbox)
    expected = {RejectReason.SOURCE_NOT_FOUND, RejectReason.SOURCE_ACCESS_DENIED, RejectReason.NOT_VIDEO}
    assert refusal.value.reason in expected
    assert refusal.value.seen.isprintable()


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "loop", "socket"])
def test_what_is_no_regular_file_is_refused_without_waiting(
    kind: str, folder: Path, sandbox: ListeningSandbox
) -> None:
    path = folder / "odd.mp4"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "socket":
        os.mknod(path, 0o140600)
    else:
        path = Path(os.devnull)
    with pytest.raises(MediaRejected) as refusal:
        probe_video(path, sandbox=sandbox)
    expected = RejectReason.SOURCE_NOT_FOUND if kind == "loop" else RejectReason.NOT_VIDEO
    assert refusal.value.reason is expected
