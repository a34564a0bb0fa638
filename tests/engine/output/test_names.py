"""Names that steer terminals, spreadsheets or folders are shown and kept harmless."""

import os
import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.output.names import choose_stems, defuse_cell, escape_controls, escape_for_terminal, to_text

NASTY = "a\x1b[31m\u202e\N{GRINNING FACE}\u05d0\n\udcff.mp4"


def test_terminal_names_keep_letters_and_escape_the_rest() -> None:
    assert escape_for_terminal(NASTY) == r"a\x1b[31m\u202e\U0001f600\u05d0\n\udcff.mp4"
    assert escape_for_terminal("Müller – 日本.mp4") == "Müller – 日本.mp4"


def test_names_on_pages_keep_every_letter_and_no_control() -> None:
    assert escape_controls(NASTY) == "a\\x1b[31m\\u202e\N{GRINNING FACE}\u05d0\\n\\udcff.mp4"


@given(st.text())
def test_escaped_names_are_printable_on_one_line(name: str) -> None:
    for escaped in (escape_for_terminal(name), escape_controls(name)):
        assert escaped.isprintable()
        assert len(escaped.splitlines()) <= 1


@given(st.binary(min_size=1).filter(lambda raw: b"\0" not in raw))
def test_any_path_becomes_text_that_utf8_can_carry(raw: bytes) -> None:
    to_text(Path(raw.decode("utf-8", "surrogateescape"))).encode("utf-8")


@pytest.mark.parametrize("start", list("=+-@\t\r\n\0"))
def test_cells_that_a_spreadsheet_would_run_become_text(start: str) -> None:
    cell = defuse_cell(f"{start}HYPERLINK(1)")
    assert cell.startswith("'")
    assert cell.isprintable()


def test_harmless_cells_stay_as_they_are() -> None:
    assert defuse_cell("clips/a=b.mp4") == "clips/a=b.mp4"


def test_stems_drop_the_extension_where_that_is_clear() -> None:
    assert choose_stems(["x/clip.mp4", "y/other.mov"]) == ["clip", "other"]


def test_stems_keep_letters_of_every_script_and_fit_into_a_file_name() -> None:
    stems = choose_stems(["übergröße 人物 \N{CLAPPER BOARD}.mp4", f"{'人' * 200}.mp4"])
    assert stems == ["übergröße_人物", "人" * 40]


def test_where_file_names_are_not_unicode_stems_are_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsencode", lambda name: str(name).encode("latin-1"))
    names = [name.encode().decode("latin-1") for name in ("größe.mp4", "人物 7.mp4")]  # as it reads them
    assert choose_stems(names) == ["größe", "7"]


def test_stems_of_equal_names_are_told_apart() -> None:
    paths = ["a/clip.mp4", "b/clip.mov", "c/CLIP.mp4", "d/clip.mp4"]
    assert choose_stems(paths) == ["clip.mp4", "clip.mov", "CLIP.mp4-2", "clip.mp4-3"]


@given(
    st.lists(st.text(alphabet=string.printable + "äé\u202e", min_size=1).map(lambda t: t.replace("\0", "_")))
)
def test_stems_are_plain_file_names_and_never_equal(names: list[str]) -> None:
    stems = choose_stems(names)
    assert len({stem.lower() for stem in stems}) == len(names)
    assert all(re.fullmatch(r"[^\W_][\w.-]*", stem) and len(stem.encode()) <= 130 for stem in stems)
