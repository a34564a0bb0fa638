"""The page on filters says what the code does."""

import re
from pathlib import Path

from fakesieve.filters import parse
from fakesieve.filters.check import read_filter
from fakesieve.filters.fields import FIELDS, ORDERS
from fakesieve.filters.order import read_order
from fakesieve.records.filter_sql import COLUMNS
from tools.filter_reference import PAGE, render

TEXT = Path(PAGE).read_text()


def test_the_tables_are_those_of_the_allow_list() -> None:
    assert render(TEXT) == TEXT, "run: python tools/filter_reference.py"


def test_the_grammar_is_that_of_the_parser() -> None:
    shown = re.search(r"## Grammar\n\n```text\n(.*?)```", TEXT, re.S)
    assert shown is not None
    written = re.findall(r"^ {4}(\S.*)$", parse.__doc__ or "", re.M)
    assert [line.split() for line in shown[1].splitlines()] == [line.split() for line in written]


def test_the_examples_can_be_read() -> None:
    blocks = re.findall(r"^```filter\n(.*?)^```", TEXT, re.M | re.S)
    assert len(blocks) == 4
    for block in blocks:
        assert read_filter(block).tree is not None


def test_every_field_has_a_column_and_every_order_is_known() -> None:
    assert set(FIELDS) - set(COLUMNS) == {"tags", "disposition", "patch_area"}
    for name in ORDERS:
        assert read_order(f"{name} desc").terms[0].name == name
