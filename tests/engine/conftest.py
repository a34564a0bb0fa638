"""What is made once for the whole run: a sandbox, which takes a third of a second to start, and a bundle."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.sandbox.handle import Sandbox


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.start() as started:
        yield started


@pytest.fixture(scope="session")
def made_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Lazy: torch takes two seconds to load, and most of these tests do without.
    from tests.models import compact_bundle

    return compact_bundle(tmp_path_factory.mktemp("made") / "bundle").directory


@pytest.fixture
def bundle_folder(made_bundle: Path, tmp_path: Path) -> Path:
    """A bundle that a test may change."""
    return Path(shutil.copytree(made_bundle, tmp_path / "bundle"))
