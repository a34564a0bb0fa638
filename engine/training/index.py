"""The list of a face folder: which pictures, whose faces, and who is kept for validation."""

import csv
import errno
import math
import zipfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from engine.errors import DataInvalid
from engine.results import RejectReason

INDEX_NAME = "index.csv"
SPLITS = ("train", "val")
Box = tuple[float, float, float, float]

_BOX = ("bx", "by", "bw", "bh")
_COLUMNS = ("path", "set", "identity", "split", *_BOX)
_NAMED_MAX = 5  # people in both splits whom a refusal names; it counts the rest
_SEE = "see docs/howto/train.md for what a folder of faces holds"


@dataclass(frozen=True)
class IndexRow:
    """One face of the list."""

    path: str  # of the picture, below the folder
    source: str  # the collection that the picture comes from
    identity: str
    split: str
    box: Box  # x, y, w, h in pixels of the picture

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split {self.split!r} is neither train nor val")
        if not all(map(math.isfinite, self.box)) or min(self.box[2:]) <= 0:
            raise ValueError(f"the face box {self.box} is empty")
        if not self.path or not self.identity:
            raise ValueError("path or identity is empty")


def read_index(directory: Path) -> list[IndexRow]:
    """Read ``index.csv`` of a face folder.

    Raises DataInvalid for a list that cannot be read, naming the line where one is wrong, and for one that
    has the same person in both splits: figures on people whom training knows would promise too much.
    """
    file = directory / INDEX_NAME
    with refuse_unreadable(file, _SEE), file.open(newline="", encoding="utf-8-sig") as stream:
        try:
            rows = list(_parse_rows(csv.DictReader(stream, strict=True), file))
        except (csv.Error, UnicodeDecodeError) as fault:
            raise refuse_list(f"{file} cannot be read: {fault}") from fault
    people = [{row.identity for row in rows if row.split == split} for split in SPLITS]
    if shared := sorted(people[0] & people[1]):
        rest = f" and {len(shared) - _NAMED_MAX} more" if len(shared) > _NAMED_MAX else ""
        seen = f"{file}: in both splits: {', '.join(shared[:_NAMED_MAX])}{rest}"
        raise refuse_list(seen, "put all pictures of a person into train, or all into val")
    return rows


def _parse_rows(reader: "csv.DictReader[str]", file: Path) -> Iterator[IndexRow]:
    missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise refuse_list(f"{file}, line 1: no column {', '.join(missing)}")
    for row in reader:
        try:
            yield _parse_row(row)
        except (ValueError, TypeError, AttributeError) as fault:  # the latter two: too few fields
            raise refuse_list(f"{file}, line {reader.line_num}: {fault}") from fault


def _parse_row(row: Mapping[str, str]) -> IndexRow:
    x, y, w, h = (float(row[name]) for name in _BOX)
    return IndexRow(row["path"].strip(), row["set"], row["identity"].strip(), row["split"], (x, y, w, h))


def refuse_list(seen: str, hint: str = _SEE) -> DataInvalid:
    """Return the refusal of a list of faces."""
    return DataInvalid(RejectReason.INVALID_MANIFEST, seen, hint)


@contextmanager
def refuse_unreadable(file: Path, hint: str) -> Generator[None]:
    """Turn what opening and reading a file raises into DataInvalid with a reason.

    For a file that is there and holds something else, ``hint`` says what to do.
    """
    try:
        yield
    except OSError as fault:
        why = f"{file} cannot be read: {fault.strerror or fault}"
        if fault.errno in (errno.ENOENT, errno.ENOTDIR):
            raise DataInvalid(RejectReason.SOURCE_NOT_FOUND, why, hint) from fault
        check = "check the permissions of the file and its folders"
        raise DataInvalid(RejectReason.SOURCE_ACCESS_DENIED, why, check) from fault
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as fault:
        # Not NumPy's own words: they advise to load the file without protection.
        seen = f"{file} is damaged or of another kind ({type(fault).__name__})"
        raise DataInvalid(RejectReason.CORRUPT, seen, hint) from fault


@contextmanager
def open_arrays(file: Path, hint: str) -> Generator[NpzFile]:
    """Open an ``.npz`` file. What is wrong with it, or with what is read from it, becomes DataInvalid."""
    # Opened here: NumPy leaves a file open that it cannot read.
    with refuse_unreadable(file, hint), file.open("rb") as stream, np.load(stream) as stored:
        yield stored
