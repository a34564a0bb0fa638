"""The rules that hold for every test, tested."""

import random
import socket

import numpy as np
import pytest

from tests.conftest import NetworkForbidden


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
