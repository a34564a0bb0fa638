"""What is evaluated: a list of labelled files, from a CSV or from folders."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from engine.container import EXTENSIONS

MANIFEST_NAME = "manifest.csv"
REAL, MANIPULATED = 0, 1
REAL_FOLDER, FAKE_FOLDER = "real", "fake"
UNKNOWN_METHOD = "unknown"


class ManifestInvalid(ValueError):
    """The list cannot be used: says in which line and why."""


@dataclass(frozen=True)
class Item:
    """One labelled file."""

    path: Path
    name: str  # as the manifest writes it
    label: int  # REAL or MANIPULATED
    method: str  # of manipulation; empty for real files
    subset: str
    compression: str
    video_id: str
    pair_id: str  # shared by a real file and its manipulated twin; empty without one
    mask: Path | None = None  # forged region: a picture, or .npz with frame_index [n] and mask [n, h, w]

    def __post_init__(self) -> None:
        if self.label not in (REAL, MANIPULATED):
            raise ValueError(f"label {self.label} is neither 0 (real) nor 1 (manipulated)")
        if not self.video_id:
            raise ValueError("every file belongs to a video, if only to one of its own")

    @property
    def cluster(self) -> str:
        """What is drawn as one in the bootstrap: both halves of a pair, or all files of one video."""
        return f"pair {self.pair_id}" if self.pair_id else f"video {self.video_id}"


def read_items(source: Path) -> tuple[Item, ...]:
    """Read a manifest, or a folder that holds ``manifest.csv`` or the folders ``real`` and ``fake`` (or one).

    Paths in a manifest are relative to it; columns that are not known are ignored. Raises ManifestInvalid
    naming the line for a missing column, a wrong label, a file that is not there or stands twice.
    """
    if source.is_dir():
        manifest = source / MANIFEST_NAME
        items = _read_csv(manifest) if manifest.is_file() else _read_folders(source)
    elif source.is_file():
        items = _read_csv(source)
    else:
        raise ManifestInvalid(f"there is no file or folder {source}")
    if not items:
        raise ManifestInvalid(f"{source} lists no file")
    return items


def _read_folders(folder: Path) -> tuple[Item, ...]:
    known = {f".{extension}" for extension in chain.from_iterable(EXTENSIONS.values())}
    items: list[Item] = []
    if not any((folder / name).is_dir() for name in (REAL_FOLDER, FAKE_FOLDER)):
        raise ManifestInvalid(
            f"{folder} has neither {MANIFEST_NAME} nor the folders {REAL_FOLDER}/ and {FAKE_FOLDER}/"
        )
    for name, label in ((REAL_FOLDER, REAL), (FAKE_FOLDER, MANIPULATED)):
        for path in sorted((folder / name).rglob("*")):
            if path.is_file() and path.suffix.lower() in known:
                relative = path.relative_to(folder).as_posix()
                method = UNKNOWN_METHOD if label == MANIPULATED else ""
                items.append(Item(path, relative, label, method, "", "", relative, ""))
    return tuple(items)


def _read_csv(manifest: Path) -> tuple[Item, ...]:
    items: list[Item] = []
    lines: dict[Path, int] = {}
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as stream:
            for line, row in _rows(csv.DictReader(stream, strict=True), manifest):
                item = _parse_row(row, manifest, line)
                if item.path in lines:
                    raise ManifestInvalid(
                        f"{manifest}, line {line}: {item.name} already stands in line {lines[item.path]}"
                    )
                lines[item.path] = line
                items.append(item)
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise ManifestInvalid(f"{manifest} cannot be read: {error}") from error
    return tuple(items)


def _rows(reader: "csv.DictReader[str]", manifest: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    columns = reader.fieldnames or ()
    for needed in ("path", "label"):
        if needed not in columns:
            raise ManifestInvalid(
                f"{manifest}, line 1: no column {needed!r}; expected path,label[,method,video_id,mask,"
                "subset,compression,pair_id]"
            )
    for row in reader:
        if None in row or None in row.values():
            raise ManifestInvalid(f"{manifest}, line {reader.line_num}: not {len(columns)} fields")
        yield reader.line_num, row


def _parse_row(row: Mapping[str, str], manifest: Path, line: int) -> Item:
    """Make the item of one line. Fields are taken without the spaces around them."""
    fields = {name: value.strip() for name, value in row.items()}
    name, label = fields["path"], fields["label"]
    if label not in ("0", "1"):
        raise ManifestInvalid(
            f"{manifest}, line {line}: label {label!r}, expected 0 (real) or 1 (manipulated)"
        )
    path = _find(manifest, line, "file", name)
    mask = fields.get("mask", "")
    is_forged = label == "1"
    return Item(
        path=path,
        name=name,
        label=int(label),
        method=(fields.get("method", "") or UNKNOWN_METHOD) if is_forged else "",
        subset=fields.get("subset", ""),
        compression=fields.get("compression", ""),
        video_id=fields.get("video_id", "") or name,
        pair_id=fields.get("pair_id", ""),
        mask=_find(manifest, line, "mask", mask) if mask else None,
    )


def _find(manifest: Path, line: int, what: str, name: str) -> Path:
    if not name or "\0" in name:
        raise ManifestInvalid(f"{manifest}, line {line}: the path is empty or holds a zero byte")
    path = manifest.parent / name
    if not path.is_file():
        raise ManifestInvalid(f"{manifest}, line {line}: there is no {what} {path}")
    return path
