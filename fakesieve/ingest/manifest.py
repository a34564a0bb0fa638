"""Lists of videos in a file: CSV with a header, or one JSON object a line. Checked whole before use."""

import csv
import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TextIO, cast

from fakesieve.errors import RequestRefused
from fakesieve.objects import ObjectStore, VideoRef
from fakesieve.reasons import Reason
from fakesieve.texts import is_storable
from fakesieve.values.jobs import KEY_LENGTH_MAX

ROWS_MAX = 1_000_000
"""Read at once at most: a million rows take 1 GB of memory."""
FILE_BYTES_MAX = 256 << 20
ERRORS_SHOWN = 10
COLUMNS = ("uri", "bucket", "key", "version_id", "etag", "external_id")


class ManifestKind(StrEnum):
    """How the file is written."""

    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True)
class ManifestRow:
    """One video, and the line of the file that names it, counted from 1."""

    line: int
    ref: VideoRef
    external_id: str | None = None


@dataclass(frozen=True)
class Manifest:
    """A file that is right from its first line to its last. The same bytes have the same ``sha256``.

    Of a part, ``rows`` are right, and ``next_row`` is where the next part begins; None at the end.
    """

    rows: tuple[ManifestRow, ...]
    sha256: str
    next_row: int | None = None


@dataclass(frozen=True)
class Part:
    """Up to ``count`` rows of a manifest from the row ``first`` on, counted from 1 without the header."""

    first: int
    count: int

    def __post_init__(self) -> None:
        if self.first < 1 or self.count < 1:
            raise ValueError("a part begins at row 1 or behind it, and has at least one")


def read_manifest(path: Path) -> Manifest:
    """Read a local file; its extension says how it is written. Raises as :func:`parse_manifest`."""
    kind = find_kind(path.name)
    try:
        size_bytes = path.stat().st_size
        if size_bytes > FILE_BYTES_MAX:
            raise _refuse(path.name, f"{size_bytes} bytes, at most {FILE_BYTES_MAX} are read; split it")
        body = path.read_bytes()
    except OSError as fault:
        raise _refuse(path.name, f"cannot be read: {fault.strerror}") from fault
    return parse_manifest(body, kind, path.name)


def fetch_manifest(
    objects: ObjectStore,
    ref: VideoRef,
    *,
    bytes_max: int = FILE_BYTES_MAX,
    rows_max: int = ROWS_MAX,
    part: Part | None = None,
    cure: str = "split it",
) -> Manifest:
    """Read a manifest in the object store. Raises what the store and :func:`parse_manifest` raise.

    A file of more than ``bytes_max`` bytes is not fetched.
    """
    kind = find_kind(ref.key)
    with tempfile.TemporaryDirectory(prefix="fakesieve-manifest-") as folder:
        path = Path(folder, "manifest")
        objects.download(ref, path, limit_bytes=bytes_max)
        return parse_manifest(path.read_bytes(), kind, ref.uri, rows_max=rows_max, part=part, cure=cure)


def find_kind(name: str) -> ManifestKind:
    """Tell from a name how a manifest is written. Raises ``RequestRefused`` for other names."""
    extension = PurePosixPath(name).suffix.lower()
    if extension == ".csv":
        return ManifestKind.CSV
    if extension in (".jsonl", ".ndjson"):
        return ManifestKind.JSONL
    raise _refuse(name, "a manifest is a .csv or a .jsonl file; rename it to what it is")


def parse_manifest(
    body: bytes,
    kind: ManifestKind,
    name: str,
    *,
    rows_max: int = ROWS_MAX,
    part: Part | None = None,
    cure: str = "split it",
) -> Manifest:
    """Read a manifest, or a part of it, whose rows alone are looked at closely.

    Raises ``RequestRefused``: INVALID_MANIFEST, with each bad line and its cure, and without a part
    REQUEST_TOO_LARGE with ``cure`` at the first line beyond ``rows_max``, of which no more is read.
    """
    wanted = part or Part(1, rows_max)
    rows, next_row = _Rows(), None
    for place, (line, found) in enumerate(_read_lines(body, kind, name), 1):
        if place < wanted.first and not isinstance(found, str):
            continue
        if rows.count >= wanted.count:
            next_row = place
            break
        rows.add(line, found)
    if next_row is not None and part is None:
        seen = f"{name}: more than {rows_max} videos, which is as many as are taken at once"
        raise RequestRefused(Reason.REQUEST_TOO_LARGE, seen, cure)
    if not rows.count:
        rows.faults.add(_tell_empty(wanted))
    if rows.faults.count:
        raise _refuse(name, rows.faults.tell())
    return Manifest(tuple(rows.found), sha256(body).hexdigest(), next_row)


def _tell_empty(wanted: Part) -> str:
    if wanted.first > 1:
        return f"it has no row {wanted.first}; begin with 1, and go on where the answer says"
    return "it names no video; write one a line"


class _Rows:
    """Rows as they are read, and what is wrong with others."""

    def __init__(self) -> None:
        self.found, self.faults = list[ManifestRow](), _Faults()
        self._first_lines = dict[VideoRef, int]()

    @property
    def count(self) -> int:
        return len(self.found) + self.faults.count

    def add(self, line: int, found: "_Found") -> None:
        row = _make_row(line, found)
        if isinstance(row, str):
            self.faults.add(f"line {line}: {row}")
            return
        first = self._first_lines.setdefault(row.ref, line)
        if first == line:
            self.found.append(row)
        else:
            self.faults.add(f"line {line}: names the same object as line {first}; remove one of them")


@dataclass
class _Faults:
    """What is wrong with a file: the first few in words, the others as a number."""

    count: int = 0
    shown: list[str] = field(default_factory=list[str])

    def add(self, fault: str) -> None:
        self.count += 1
        if len(self.shown) < ERRORS_SHOWN:
            self.shown.append(fault)

    def tell(self) -> str:
        more = self.count - len(self.shown)
        return "; ".join(self.shown) + (f"; and {more} more" if more else "")


# A line is either its fields or what is wrong with it.
_Found = Mapping[str, str] | str


def _read_lines(body: bytes, kind: ManifestKind, name: str) -> Iterator[tuple[int, _Found]]:
    """Yield the lines as they are asked for: as one text they would take up to four times the file's size."""
    newline = "" if kind is ManifestKind.CSV else "\n"  # JSON may hold what else ends a line
    text = io.TextIOWrapper(io.BytesIO(body), encoding="utf-8-sig", newline=newline)
    try:
        yield from _read_csv(text) if kind is ManifestKind.CSV else _read_jsonl(text)
    except UnicodeDecodeError as fault:
        line = _find_undecodable(body)
        raise _refuse(name, f"line {line}: not UTF-8; save the file as UTF-8") from fault


def _find_undecodable(body: bytes) -> int:
    """Return the first line that is not UTF-8, counted from 1. No character spans two lines."""
    for line, text in enumerate(io.BytesIO(body), 1):
        try:
            text.decode()
        except UnicodeDecodeError:
            return line
    return 1


def _read_csv(text: TextIO) -> Iterator[tuple[int, _Found]]:
    """Yield the lines behind the header; a wrong header is the only thing that is said then."""
    reader = csv.reader(text, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, list[str]())]
        wrong = _check_header(header)
        if wrong:
            yield 1, wrong
            return
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(header):
                yield (
                    reader.line_num,
                    f'{len(fields)} fields under {len(header)} columns; quote commas as "a,b"',
                )
            else:
                yield (
                    reader.line_num,
                    {k: v.strip() for k, v in zip(header, fields, strict=True) if v.strip()},
                )
    except csv.Error as fault:
        yield reader.line_num, f"{fault}; check its quotes"


def _check_header(header: list[str]) -> str | None:
    known = ", ".join(COLUMNS)
    unknown = [name for name in header if name not in COLUMNS]
    if "uri" not in header and not {"bucket", "key"} <= set(header):
        return f"the first line names the columns: uri, or bucket and key (all: {known})"
    if unknown:
        return f"unknown column {unknown[0]!r}; known are {known}"
    if len(set(header)) != len(header):
        return "a column stands twice; remove one"
    return None


def _read_jsonl(text: TextIO) -> Iterator[tuple[int, _Found]]:
    for line, row in enumerate(text, 1):
        if not row.strip():
            continue
        try:
            fields = cast("object", json.loads(row))
        except (ValueError, RecursionError) as fault:
            yield line, f"no JSON ({fault}); write one object a line"
            continue
        yield line, _check_fields(fields)


def _check_fields(fields: object) -> _Found:
    """Return the fields of one JSON object as texts, or what is wrong with them."""
    if not isinstance(fields, dict):
        return 'not an object; write {"uri": "s3://bucket/key"}'
    texts = dict[str, str]()
    for name, value in cast("dict[str, object]", fields).items():
        if name not in COLUMNS:
            return f"unknown field {name!r}; known are {', '.join(COLUMNS)}"
        if value is not None and not isinstance(value, str):
            return f"{name} is not a text; put it in quotes"
        if value:
            texts[name] = value
    return texts


def _make_row(line: int, found: _Found) -> ManifestRow | str:
    """Return the row, or what is wrong with it and how to cure it."""
    if isinstance(found, str):
        return found
    has_place, has_uri = "bucket" in found or "key" in found, "uri" in found
    if has_place and has_uri:
        return "has both uri and bucket or key; keep one of the two"
    if not has_uri and not {"bucket", "key"} <= set(found):
        return "no object; give uri, or bucket and key"
    external_id = found.get("external_id")
    if external_id is not None and len(external_id) > KEY_LENGTH_MAX:
        return f"external_id has {len(external_id)} characters; use at most {KEY_LENGTH_MAX}"
    if external_id is not None and not is_storable(external_id):
        return "external_id has a NUL or half of a character; remove it"
    try:
        place = VideoRef.parse_uri(found["uri"]) if has_uri else VideoRef(found["bucket"], found["key"])
        etag = found.get("etag", "").strip('"') or None
        ref = VideoRef(place.bucket, place.key, found.get("version_id"), etag)
    except ValueError as fault:
        return str(fault)
    return ManifestRow(line, ref, external_id)


def _refuse(name: str, seen: str) -> RequestRefused:
    return RequestRefused(Reason.INVALID_MANIFEST, f"{name}: {seen}")
