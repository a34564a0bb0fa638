"""The rules that hold for every test, tested."""

import os
import random
import socket
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import NetworkForbidden
from tests.hostile_recipes.drawing import Encoding, encode, pattern
from tests.media import draw_clip


@pytest.mark.parametrize("host", ["192.0.2.1", "example.org"])
def test_no_test_reaches_another_host(host: str) -> None:
    with pytest.raises(NetworkForbidden, match=host):
        socket.create_connection((host, 80), timeout=1)


def test_localhost_is_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


@pytest.mark.parametrize("turn", [1, 2])
def test_every_test_starts_from_the_same_random_state(turn: int) -> None:
    assert random.randrange(10**6) == 637_361
    assert np.random.randint(10**6) == 991_970  # noqa: NPY002 - libraries draw from it


def test_encoding_av1_leaves_the_process_an_ordinary_one(tmp_path: Path) -> None:
    draw_clip(tmp_path / "clip.mp4", codec="libsvtav1", frames=2)
    assert encode(pattern(64, 64, 2), Encoding(codec="libsvtav1"))
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
