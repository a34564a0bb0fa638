"""The folder store beside other programs: links, pipes, odd names, files that change while they are read."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from fakesieve.errors import RequestRefused, SourceRefused
from fakesieve.object_stores.folder import FolderObjects
from fakesieve.object_stores.part_file import PartFile
from fakesieve.objects import VideoRef

_CAPABILITIES_3 = 0x20080522
_READS_EVERYTHING = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


@pytest.fixture
def store(tmp_path: Path) -> FolderObjects:
    store = FolderObjects(tmp_path / "objects")
    store.make_bucket("b")
    return store


@pytest.fixture
def bucket(tmp_path: Path, store: FolderObjects) -> Path:
    return tmp_path / "objects" / "b"


@contextmanager
def without_rights_of_root() -> Iterator[None]:
    """Take from this thread what lets root read every file, where it has that (capabilities(7))."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None)
    header, sets = (ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    effective = sets[0]
    sets[0] = effective & ~_READS_EVERYTHING
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = effective
        assert libc.capset(header, sets) == 0


def list_keys(store: FolderObjects) -> list[str]:
    return [facts.ref.key for facts in store.list_objects("b")]


def test_a_file_put_there_by_hand_is_an_object(store: FolderObjects, bucket: Path) -> None:
    (bucket / "day").mkdir()
    (bucket / "day" / "clip.mp4").write_text("x")
    assert list_keys(store) == ["day/clip.mp4"]
    assert store.read_range(VideoRef("b", "day/clip.mp4"), 0, 9) == b"x"


def test_links_are_not_followed(store: FolderObjects, bucket: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_text("secret")
    (bucket / "link").symlink_to(tmp_path / "secret" / "file")
    (bucket / "folder").symlink_to(tmp_path / "secret")
    for key in ("link", "folder/file"):
        with pytest.raises(SourceRefused, match="SOURCE_ACCESS_DENIED"):
            store.head(VideoRef("b", key))
    source = tmp_path / "source"
    source.write_text("new")
    with pytest.raises(SourceRefused, match="SOURCE_ACCESS_DENIED"):
        store.upload(source, "b", "folder/new")
    assert sorted(path.name for path in (tmp_path / "secret").iterdir()) == ["file"]
    assert list_keys(store) == []


def test_an_upload_over_a_link_replaces_the_link(store: FolderObjects, bucket: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (bucket / "link").symlink_to(tmp_path / "secret")
    source = tmp_path / "source"
    source.write_text("new")
    store.upload(source, "b", "link")
    assert (tmp_path / "secret").read_text() == "secret"
    assert store.read_range(VideoRef("b", "link"), 0, 9) == b"new"


def test_a_pipe_is_no_object_and_blocks_nobody(store: FolderObjects, bucket: Path) -> None:
    os.mkfifo(bucket / "pipe")
    with pytest.raises(SourceRefused, match="SOURCE_NOT_FOUND"):
        store.head(VideoRef("b", "pipe"))
    assert list_keys(store) == []


def test_a_folder_is_no_object(store: FolderObjects, bucket: Path) -> None:
    (bucket / "folder").mkdir()
    ref = VideoRef("b", "folder")
    with pytest.raises(SourceRefused, match="SOURCE_NOT_FOUND"):
        store.head(ref)
    store.delete(ref)
    assert (bucket / "folder").is_dir()


def test_a_name_that_is_not_utf8_is_passed_over(store: FolderObjects, bucket: Path) -> None:
    Path(os.fsdecode(os.fsencode(bucket) + b"/\xff.mp4")).write_text("x")
    (bucket / "good.mp4").write_text("x")
    assert list_keys(store) == ["good.mp4"]


def test_a_path_that_is_too_long_for_a_key_is_passed_over_and_told(
    store: FolderObjects, bucket: Path
) -> None:
    deep = bucket.joinpath(*["d" * 250] * 4, "x" * 30)
    deep.parent.mkdir(parents=True)
    deep.write_text("x")
    (bucket / "e.mp4").write_text("x")
    with capture_logs() as lines:
        assert list_keys(store) == ["e.mp4"]
    (line,) = lines
    assert (line["event"], line["bucket"]) == ("folder.passed_over", "b")
    assert line["place"].startswith("dddd")
    assert "1 to 1024 bytes" in line["seen"]


def test_a_file_that_may_not_be_read_is_listed_and_refused_when_it_is_read(
    store: FolderObjects, bucket: Path
) -> None:
    for name in ("a.mp4", "b.mp4"):
        (bucket / name).write_text("x")
    (bucket / "a.mp4").chmod(0)
    with without_rights_of_root():
        assert list_keys(store) == ["a.mp4", "b.mp4"]
        with pytest.raises(SourceRefused, match="SOURCE_ACCESS_DENIED"):
            store.head(VideoRef("b", "a.mp4"))


@pytest.mark.parametrize("mode", [0, 0o400])
def test_a_folder_that_may_not_be_read_is_passed_over_and_told(
    store: FolderObjects, bucket: Path, mode: int
) -> None:
    (bucket / "shut").mkdir()
    for name in ("shut/a.mp4", "z.mp4"):
        (bucket / name).write_text("x")
    (bucket / "shut").chmod(mode)
    with without_rights_of_root(), capture_logs() as lines:
        assert list_keys(store) == ["z.mp4"]
    (bucket / "shut").chmod(0o700)
    assert [line["place"] for line in lines] == ["shut" if mode == 0 else "shut/a.mp4"]


def test_uploads_on_their_way_are_not_listed(store: FolderObjects, bucket: Path) -> None:
    with PartFile(bucket / "a.mp4") as part:
        part.write(b"half")
        assert list_keys(store) == []
    assert list(bucket.iterdir()) == []


def test_an_object_cannot_be_a_folder_too(store: FolderObjects, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("x")
    store.upload(source, "b", "a")
    with pytest.raises(RequestRefused, match="cannot hold both 'a' and 'a/b'"):
        store.upload(source, "b", "a/b")


def test_a_file_written_to_while_it_is_read_is_refused(
    store: FolderObjects, bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bucket / "a.mp4").write_bytes(bytes(10))
    write = PartFile.write

    def write_and_change(self: PartFile, piece: bytes) -> None:
        write(self, piece)
        with (bucket / "a.mp4").open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(PartFile, "write", write_and_change)
    with pytest.raises(SourceRefused, match="SOURCE_CHANGED"):
        store.download(VideoRef("b", "a.mp4"), tmp_path / "here")
    assert not (tmp_path / "here").exists()


def test_a_version_is_never_there(store: FolderObjects, bucket: Path) -> None:
    (bucket / "a.mp4").write_text("x")
    with pytest.raises(SourceRefused, match="SOURCE_CHANGED"):
        store.head(VideoRef("b", "a.mp4", version_id="v1"))
