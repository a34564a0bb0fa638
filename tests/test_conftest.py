"""The rules that hold for every test, tested."""

import os
import random
import socket
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import NetworkForbidden
from tests.constants import find_constants
from tests.hostile_recipes.drawing import Encoding, encode, pattern
from tests.media import draw_clip
from tests.waiting import PATIENCE_S


@pytest.mark.parametrize("host", ["192.0.2.1", "example.org"])
def test_no_test_reaches_another_host(host: str) -> None:
    with pytest.raises(NetworkForbidden, match=host):
        socket.create_connection((host, 80), timeout=1)


def test_localhost_is_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


@pytest.mark.parametrize("turn", [1, 2])
def test_every_test_starts_from_the_same_random_state(turn: int) -> None:
    assert draw() == (637_361, 991_970, 596_194)


@pytest.fixture(scope="module")
def drawn() -> tuple[int, int, int]:
    return draw()


def draw() -> tuple[int, int, int]:
    """A number of each source that libraries draw from."""
    shared = np.random.randint(10**6)  # noqa: NPY002 - libraries draw from it
    return random.randrange(10**6), shared, int(torch.randint(10**6, ()).item())


def test_what_tests_share_is_made_from_the_same_random_state(
    drawn: tuple[int, int, int],
) -> None:
    assert drawn == draw()


def examples() -> list[tuple[int, str]]:
    """What Hypothesis tries for one strategy."""
    tried: list[tuple[int, str]] = []

    @given(st.integers(), st.text())
    def note(number: int, text: str) -> None:
        tried.append((number, text))

    note()
    return tried


def test_examples_do_not_change_with_the_modules_that_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = examples()
    module = ModuleType("of_ours")
    module.__file__ = str(tmp_path / "of_ours.py")
    Path(module.__file__).write_text("\n".join(f"n{n} = {10**9 + n}, 'text {n}'" for n in range(500)))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert examples() == before


def test_examples_include_thresholds_and_limits_of_our_modules() -> None:
    assert {number for number, _ in examples()} & set(find_constants().integers)


def test_a_wait_that_fails_says_so_before_its_process_is_ended(pytestconfig: pytest.Config) -> None:
    assert float(str(pytestconfig.getini("faulthandler_timeout"))) >= 4 * PATIENCE_S


def test_encoding_av1_leaves_the_process_an_ordinary_one(tmp_path: Path) -> None:
    draw_clip(tmp_path / "clip.mp4", codec="libsvtav1", frames=2)
    assert encode(pattern(64, 64, 2), Encoding(codec="libsvtav1"))
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
