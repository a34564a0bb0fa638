"""What a recipe is: a row of the corpus, a file name, and the function that writes the file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Recipe:
    """One bad file. ``make`` writes it to the path given, the same every time, with its siblings."""

    row: str  # id of the row in the corpus table, with a letter for its variants
    file_name: str
    make: Callable[[Path], None]


def of_bytes(row: str, file_name: str, content: Callable[[], bytes]) -> Recipe:
    """Return the recipe of a file whose whole content is one value."""
    return Recipe(row, file_name, lambda path: path.write_bytes(content()) and None)
