"""A clip for the tests of the sandbox."""

from pathlib import Path

import pytest

from tests.media import draw_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_clip(tmp_path_factory.mktemp("sandbox") / "clip.mp4", frames=60)
