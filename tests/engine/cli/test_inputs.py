"""What the arguments of a scan mean."""

import os
from pathlib import Path

import pytest

from engine.cli.inputs import find_inputs
from engine.results import RejectReason

MP4_HEAD = b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isommp42" + bytes(100)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with media, other things, and media that are named like other things."""
    monkeypatch.chdir(tmp_path)
    for name in ("clips/b.mp4", "clips/a.MOV", "clips/deep/c.jpg", "clips/empty.webm", "clips/.hidden.mp4"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"" if "empty" in name else b"x")
    Path("clips/notes.txt").write_text("notes")
    Path("clips/noname").write_bytes(MP4_HEAD)
    Path("clips/.git").mkdir()
    Path("clips/.git/d.mp4").write_bytes(b"x")
    os.mkfifo("clips/pipe")
    return tmp_path


def names(*arguments: str) -> list[str]:
    return [str(found.path) for found in find_inputs(arguments)]


def test_files_are_taken_as_named_in_order(folder: Path) -> None:
    assert names("clips/notes.txt", "clips/b.mp4", "missing.mp4") == [
        "clips/notes.txt",
        "clips/b.mp4",
        "missing.mp4",
    ]


def test_folders_give_their_media_by_name(folder: Path) -> None:
    assert names("clips") == [
        "clips/a.MOV",
        "clips/b.mp4",
        "clips/deep/c.jpg",
        "clips/empty.webm",
        "clips/noname",
    ]


def test_a_file_of_a_folder_that_cannot_be_opened_is_told(folder: Path) -> None:
    Path("clips/loop").symlink_to("loop")  # root may open all but such
    Path("clips/gone").symlink_to("nowhere")
    found = {str(each.path): each.fault for each in find_inputs(["clips"])}
    assert found["clips/loop"].reason is RejectReason.SOURCE_NOT_FOUND
    assert "link leads back to itself: clips/loop" in found["clips/loop"].seen
    assert "clips/gone" not in found


def test_patterns_are_expanded_where_the_shell_did_not(folder: Path) -> None:
    assert names("clips/*.mp4") == ["clips/b.mp4"]
    assert names("clips/**/*.jpg") == ["clips/deep/c.jpg"]
    assert names(f"{folder}/clips/[ab].*") == [f"{folder}/clips/a.MOV", f"{folder}/clips/b.mp4"]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(folder: Path) -> None:
    Path("[x]*.mp4").write_bytes(b"x")
    assert names("[x]*.mp4") == ["[x]*.mp4"]


@pytest.mark.parametrize("argument", ["clips/*.avi", "clips/deep/none*"])
def test_a_pattern_without_a_match_is_one_row_with_a_reason(folder: Path, argument: str) -> None:
    (found,) = find_inputs([argument])
    assert str(found.path) == argument
    assert found.fault.reason is RejectReason.SOURCE_NOT_FOUND


def test_a_folder_without_media_is_one_row_with_a_reason(folder: Path) -> None:
    Path("none").mkdir()
    (found,) = find_inputs(["none"])
    assert found.fault.reason is RejectReason.SOURCE_NOT_FOUND
    assert "no video" in found.fault.seen


def test_the_same_file_named_twice_is_two_rows(folder: Path) -> None:
    assert names("clips/b.mp4", "clips/b.mp4") == ["clips/b.mp4"] * 2


def test_a_recursive_pattern_gives_each_file_once(folder: Path) -> None:
    found = names("clips/**")
    assert len(found) == len(set(found))
    assert set(names("clips")) < set(found)  # a pattern also names what a folder leaves out


def test_an_empty_argument_is_not_the_working_folder(folder: Path) -> None:
    (found,) = find_inputs([""])
    assert found.fault.reason is RejectReason.SOURCE_NOT_FOUND


def test_a_name_that_is_too_long_is_a_row_of_its_own(folder: Path) -> None:
    longest = "a" * 300 + ".mp4"
    assert names(longest, "clips/b.mp4") == [longest, "clips/b.mp4"]
