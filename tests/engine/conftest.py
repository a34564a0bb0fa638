"""One sandbox for the whole run: a zygote takes a third of a second to start and any number of calls."""

from collections.abc import Iterator

import pytest

from engine.sandbox.handle import Sandbox


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.start() as started:
        yield started
