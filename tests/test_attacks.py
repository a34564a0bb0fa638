"""The table of bad calls is whole, and its tests are there."""

import ast
from pathlib import Path

import pytest

from tests.attacks import ATTACKS, Attack

TESTS = Path(__file__).parent


def test_every_bad_call_of_the_design_has_its_tests() -> None:
    assert [attack.id for attack in ATTACKS] == [f"A{number:02}" for number in range(1, 65)]
    assert all(attack.tests for attack in ATTACKS)


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.id for attack in ATTACKS])
def test_the_tests_of_a_bad_call_are_there(attack: Attack) -> None:
    for each in attack.tests:
        file, _, name = each.partition("::")
        assert name in list_tests(TESTS / file)


def list_tests(file: Path) -> set[str]:
    """Return the names of the functions of a file that pytest runs."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
