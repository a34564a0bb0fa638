"""The bad-file corpus: every row that a scan of a local file can meet, made on the spot and on demand.

Rows are numbered F01 to F72, letters are variants; the modules of `tests.hostile_recipes` say which they
hold. Nothing is downloaded and no command-line encoder is needed. A file is the same, byte for byte, on
every run.
"""

import atexit
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.hostile_recipes import faces, formats, not_video, sizes, spoiled_mp4, timestamps
from tests.hostile_recipes.drawing import plain_clip, remux
from tests.hostile_recipes.recipe import Recipe
from tests.hostile_recipes.redirects import redirect_recipes

NOWHERE = "http://127.0.0.1:9"


def all_recipes(address: str, outside: Path) -> dict[str, Recipe]:
    """Return every recipe by its row; those that send their reader elsewhere name these two."""
    modules = (not_video, spoiled_mp4, sizes, timestamps, formats, faces)
    listed = [recipe for module in modules for recipe in module.RECIPES]
    listed += redirect_recipes(address, outside)
    recipes = {recipe.row: recipe for recipe in sorted(listed, key=lambda recipe: recipe.row)}
    if len(recipes) != len(listed):
        raise ValueError("two recipes claim the same row")
    return recipes


class Corpus:
    """Files under one folder, made when they are first asked for, each in a folder of its own."""

    def __init__(self, folder: Path, address: str = NOWHERE) -> None:
        self._folder = folder
        self.outside = folder / "outside.ts"  # a good clip that only hostile files speak of
        self._recipes = all_recipes(address, self.outside)

    @property
    def rows(self) -> tuple[str, ...]:
        return tuple(self._recipes)

    def file(self, row: str) -> Path:
        """Return the file of a row."""
        if not self.outside.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            self.outside.write_bytes(remux(plain_clip(), "mpegts"))
        recipe = self._recipes[row]
        path = self._folder / row / recipe.file_name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            recipe.make(path)
        return path


@cache
def shared_corpus() -> Corpus:
    """Return the corpus of this test run; its folder goes when the run ends."""
    folder = TemporaryDirectory(prefix="hostile-")
    atexit.register(folder.cleanup)
    return Corpus(Path(folder.name))
