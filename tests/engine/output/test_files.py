"""Files that appear whole or not at all, also on disks that refuse them."""

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.errors import Unavailable
from engine.output.files import remove_stale, write_whole
from engine.results import RejectReason


def test_a_file_appears_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.json", b"{}")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("a.json", b"{}")]


def test_runs_that_write_the_same_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "a.json"

    def write(number: int) -> None:
        for _ in range(50):
            write_whole(path, b"%d" % number * 100_000)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    content = path.read_bytes()
    assert (len(content), len(set(content))) == (100_000, 1)
    assert list(tmp_path.iterdir()) == [path]


def test_a_read_only_disk_is_told_although_it_refuses_to_clean_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(Unavailable, match="Read-only") as told:
        write_whole(tmp_path / "a.json", b"{}")
    assert told.value.reason is RejectReason.OUTPUT_FAILED
    with pytest.raises(Unavailable, match="Read-only"):
        remove_stale(tmp_path / "a.npz")


def test_what_an_earlier_run_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"old")
    remove_stale(tmp_path / "a.npz")
    remove_stale(tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())
