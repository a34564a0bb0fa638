"""What one shard of a video showed: every face, every sample and what is missing, as columns and as bytes.

Evidence is all that scoring reads. It is kept, so that a video can be scored and decided again without
decoding a frame. It holds no pixels, save for two thumbnails of 32 x 18 grey levels.
"""

import itertools
import json
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from engine.arrays import F32, I64, U8
from engine.faces.link import find_border_cuts
from engine.faces.shots import VIEW_SIZE, is_same_still
from engine.results import EvidenceReason, MediaWarning

NO_TRACK = -1
"""Track of a face that was not followed, because it was excluded before or beyond the most open tracks."""

ROW_COLUMNS: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("track", "<i8", ()),
    ("pts_us", "<i8", ()),
    ("box", "<f4", (4,)),
    ("confidence", "<f4", ()),
    ("landmarks", "<f4", (5, 2)),
    ("to_frame", "<f4", (2, 3)),
    ("size_px", "<f4", ()),
    ("sharpness", "<f4", ()),
    ("brightness", "<f4", ()),
    ("yaw", "<f4", ()),
    ("pitch", "<f4", ()),
    ("roll", "<f4", ()),
    ("visible", "<f4", ()),
    ("logit", "<f4", ()),
)
"""Name, element type and trailing shape of the columns with one entry for each face; patches come on top."""

SAMPLE_COLUMNS: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("samples_us", "<i8", ()),
    ("faces_per_sample", "<i8", ()),
)
COLUMNS = (*ROW_COLUMNS, ("patches", "|u1", ()), *SAMPLE_COLUMNS, ("border_views", "|u1", ()))

MAGIC = b"FSEV"
VERSION = 2  # 1 had no border_views
PREFIX = struct.Struct("<4sHHII")
MAX_BYTES = 1 << 30
"""Most bytes of unpacked columns: 4 h with 64 faces in every sample stay far below."""


class EvidenceInvalid(ValueError):
    """Bytes that are no evidence of this version, or were altered."""


@dataclass(frozen=True)
class MissingSample:
    """A sample that was asked for and not decoded."""

    pts_us: int
    reason: EvidenceReason
    detail: str = ""

    def __post_init__(self) -> None:
        if self.pts_us < 0:
            raise ValueError(f"a missing sample lies at {self.pts_us} us")


@dataclass(frozen=True)
class ShardEvidence:
    """The columns of one shard, or after ``merge_shards`` of a whole video. Rows are faces, in order of time.

    A face has either a logit and a patch map or a reason for having none (``logit`` NaN, patches zero).
    """

    track: I64  # [n] ordinal, or NO_TRACK
    pts_us: I64  # [n] time of the face's sample
    box: F32  # [n, 4] x, y, w, h as fractions of the displayed picture
    confidence: F32  # [n] of the detector, 0 to 1
    landmarks: F32  # [n, 5, 2] fractions: eyes, nose, mouth corners, each from the picture's left
    to_frame: F32  # [n, 2, 3] crop pixels to displayed-frame pixels; not read where there is no logit
    size_px: F32  # [n] shorter side of the box
    sharpness: F32  # [n] variance of the Laplacian on the crop
    brightness: F32  # [n] mean luma, 0 to 255
    yaw: F32  # [n] degrees
    pitch: F32  # [n] degrees
    roll: F32  # [n] degrees
    visible: F32  # [n] share of the crop inside the picture
    exclude: tuple[EvidenceReason | None, ...]  # [n]
    logit: F32  # [n] log odds of "manipulated"
    patches: U8  # [n, g, g] 255 * P(patch manipulated)
    samples_us: I64  # [m] times of the decoded samples, increasing
    faces_per_sample: I64  # [m] faces that the detector found, those beyond its cap included
    border_views: (
        U8  # [2, VIEW_SIZE] first and last sample as ``shots.view_frame`` sees them; [0, ..] if m = 0
    )
    cuts_us: tuple[int, ...]  # first samples of new shots
    missing: tuple[MissingSample, ...]
    warnings: tuple[MediaWarning, ...]
    requested: int  # samples asked for
    decoded: int  # samples that came, equal frames counted once each time they were asked for
    frame_width: int  # displayed picture, square pixels
    frame_height: int
    crop_size: int  # side of the network's input

    def __post_init__(self) -> None:
        _check_columns(self)
        _check_rows(self)
        _check_samples(self)

    @property
    def is_scored(self) -> NDArray[np.bool_]:
        """[n] whether the face has a logit."""
        return np.array([reason is None for reason in self.exclude], bool)

    def to_bytes(self) -> bytes:
        """Return the one form for files, database and messages; ``from_bytes`` reads it.

        Little endian: magic ``FSEV``, uint16 version, uint16 0, uint32 length of the header, uint32 CRC-32
        of all that follows; the header (JSON); then, compressed by zlib, the columns one after the other in
        the order of ``COLUMNS``.
        """
        head = json.dumps(_header(self), separators=(",", ":"), sort_keys=True).encode()
        columns = b"".join(
            np.ascontiguousarray(getattr(self, name), dtype).tobytes() for name, dtype, _ in COLUMNS
        )
        body = head + zlib.compress(columns, 6)
        return PREFIX.pack(MAGIC, VERSION, 0, len(head), zlib.crc32(body)) + body

    @classmethod
    def from_bytes(cls, data: bytes) -> "ShardEvidence":
        """Read evidence. Raises EvidenceInvalid for anything but the unaltered bytes of this version."""
        header, packed = _split(data)
        try:
            return _build(header, packed)
        except (KeyError, TypeError, ValueError, OverflowError, zlib.error) as error:
            raise EvidenceInvalid(f"evidence is inconsistent: {error}") from error


def _check_columns(evidence: ShardEvidence) -> None:
    rows, samples = len(evidence.track), len(evidence.samples_us)
    for columns, count in ((ROW_COLUMNS, rows), (SAMPLE_COLUMNS, samples)):
        for name, dtype, tail in columns:
            column = getattr(evidence, name)
            if column.shape != (count, *tail) or column.dtype != np.dtype(dtype):
                raise ValueError(f"{name} is {column.dtype} {column.shape}, not {dtype} {(count, *tail)}")
    shape = evidence.patches.shape
    if evidence.patches.dtype != np.uint8 or len(shape) != 3 or shape[0] != rows or shape[1] != shape[2]:
        raise ValueError(f"patches are {evidence.patches.dtype} {shape}, not uint8 [{rows}, g, g]")
    views, viewed = evidence.border_views, 2 if samples else 0
    if views.dtype != np.uint8 or views.shape != (viewed, VIEW_SIZE):
        raise ValueError(f"border_views are {views.dtype} {views.shape}, not uint8 [{viewed}, {VIEW_SIZE}]")
    if len(evidence.exclude) != rows:
        raise ValueError(f"{len(evidence.exclude)} reasons for {rows} faces")
    if min(evidence.frame_width, evidence.frame_height, evidence.crop_size) < 1:
        raise ValueError("frame and crop have a positive size")


def _check_rows(evidence: ShardEvidence) -> None:
    scored = evidence.is_scored
    if not (np.isfinite(evidence.logit) == scored).all():
        raise ValueError("a face has either a finite logit or a reason for having none")
    if not np.isfinite(evidence.to_frame[scored]).all():
        raise ValueError("a scored face has no way back to its frame")
    if evidence.patches[~scored].any():
        raise ValueError("a face without a logit has a patch map")
    if (evidence.track < NO_TRACK).any() or (evidence.track[scored] == NO_TRACK).any():
        raise ValueError("a scored face belongs to a track")
    if not np.isin(evidence.pts_us, evidence.samples_us).all():
        raise ValueError("a face lies at a time at which nothing was decoded")
    if (np.diff(evidence.pts_us) < 0).any():
        raise ValueError("faces are not in order of time")
    tracked = evidence.track != NO_TRACK
    pairs = np.stack([evidence.track[tracked], evidence.pts_us[tracked]])
    if len(np.unique(pairs, axis=1).T) != tracked.sum():
        raise ValueError("a track has two faces in one sample")


def _check_samples(evidence: ShardEvidence) -> None:
    if len(evidence.samples_us) and evidence.samples_us[0] < 0:
        raise ValueError("a sample lies before the first frame")
    if (np.diff(evidence.samples_us) <= 0).any():
        raise ValueError("sample times do not increase")
    place = np.searchsorted(evidence.samples_us, evidence.pts_us)
    held = np.bincount(place, minlength=len(evidence.samples_us))
    if (held > evidence.faces_per_sample).any():
        raise ValueError("a sample has more faces than were found in it")
    if not len(evidence.samples_us) <= evidence.decoded <= evidence.requested:
        counts = (len(evidence.samples_us), evidence.decoded, evidence.requested)
        raise ValueError(f"sample times, decoded, requested: {counts} do not increase")
    if any(later <= earlier for earlier, later in itertools.pairwise(evidence.cuts_us)):
        raise ValueError("cuts do not increase")


def merge_shards(shards: Sequence[ShardEvidence], links: Sequence[I64] | None = None) -> ShardEvidence:
    """Join the shards of one video in order of time.

    ``links[i]`` maps the track ordinals of shard i to ordinals of the video, so that a face that was
    followed across a border stays one track; without it every shard's tracks stay apart. Cuts that lie
    between two shards are found here. Raises ValueError when the shards overlap in time or come from
    different pipelines.
    """
    if not shards:
        raise ValueError("a video has at least one shard")
    first = shards[0]
    for shard in shards[1:]:
        same = ("frame_width", "frame_height", "crop_size")
        if any(getattr(shard, name) != getattr(first, name) for name in same):
            raise ValueError("shards of one video differ in the size of frame or crop")
        if shard.patches.shape[1:] != first.patches.shape[1:]:
            raise ValueError("shards of one video differ in their grid")
    names = [name for name, _, _ in (*ROW_COLUMNS, *SAMPLE_COLUMNS) if name != "track"]
    joined = {
        name: np.concatenate([getattr(shard, name) for shard in shards]) for name in (*names, "patches")
    }
    return replace(
        first,
        **joined,
        track=np.concatenate(_video_tracks(shards, links)),
        exclude=tuple(itertools.chain.from_iterable(shard.exclude for shard in shards)),
        border_views=_outer_views(shards),
        cuts_us=tuple(sorted({*find_border_cuts(shards), *itertools.chain(*(s.cuts_us for s in shards))})),
        missing=tuple(itertools.chain.from_iterable(shard.missing for shard in shards)),
        warnings=_merge_warnings(shards),
        requested=sum(shard.requested for shard in shards),
        decoded=sum(shard.decoded for shard in shards),
    )


def _video_tracks(shards: Sequence[ShardEvidence], links: Sequence[I64] | None) -> list[I64]:
    if links is None:
        counts = [int(shard.track.max(initial=NO_TRACK)) + 1 for shard in shards]
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        links = [
            np.arange(count, dtype=np.int64) + start for count, start in zip(counts, starts, strict=True)
        ]
    columns: list[I64] = []
    for shard, link in zip(shards, links, strict=True):
        if int(shard.track.max(initial=NO_TRACK)) >= len(link):
            raise ValueError("a track of a shard has no ordinal in the video")
        table = np.append(link, NO_TRACK).astype(np.int64)  # index -1, NO_TRACK, stays what it is
        columns.append(table[shard.track])
    return columns


def _outer_views(shards: Sequence[ShardEvidence]) -> U8:
    views = np.concatenate([shard.border_views for shard in shards])
    return views[[0, -1]] if len(views) else views


def _merge_warnings(shards: Sequence[ShardEvidence]) -> tuple[MediaWarning, ...]:
    """Join warnings; whether a video is a still is asked of all of its shards."""
    joined = dict.fromkeys(warning for shard in shards for warning in shard.warnings)
    joined.pop(MediaWarning.STATIC_IMAGE, None)
    if _is_still(shards):
        joined[MediaWarning.STATIC_IMAGE] = None
    return tuple(joined)


def _is_still(shards: Sequence[ShardEvidence]) -> bool:
    """Whether every shard that shows anything shows the same still; one sample contradicts none."""
    seen = [shard for shard in shards if len(shard.samples_us)]
    return sum(len(shard.samples_us) for shard in seen) > 1 and all(
        (len(shard.samples_us) == 1 or MediaWarning.STATIC_IMAGE in shard.warnings)
        and is_same_still(seen[0].border_views[0], shard.border_views[0])
        for shard in seen
    )


class _Header(TypedDict):
    """What the bytes of evidence say before the columns."""

    rows: int
    samples: int
    grid: int
    exclude: list[str | None]
    cuts_us: list[int]
    missing: list[tuple[int, str, str]]
    warnings: list[str]
    requested: int
    decoded: int
    frame_width: int
    frame_height: int
    crop_size: int


def _header(evidence: ShardEvidence) -> _Header:
    return {
        "rows": len(evidence.track),
        "samples": len(evidence.samples_us),
        "grid": evidence.patches.shape[1],
        "exclude": [None if reason is None else reason.value for reason in evidence.exclude],
        "cuts_us": list(evidence.cuts_us),
        "missing": [(item.pts_us, item.reason.value, item.detail) for item in evidence.missing],
        "warnings": [warning.value for warning in evidence.warnings],
        "requested": evidence.requested,
        "decoded": evidence.decoded,
        "frame_width": evidence.frame_width,
        "frame_height": evidence.frame_height,
        "crop_size": evidence.crop_size,
    }


def _split(data: bytes) -> tuple[_Header, bytes]:
    """Check the frame around header and columns and return the two."""
    if len(data) < PREFIX.size:
        raise EvidenceInvalid(f"{len(data)} bytes hold no evidence")
    magic, version, reserved, length, checksum = PREFIX.unpack_from(data)
    if magic != MAGIC or reserved != 0:
        raise EvidenceInvalid("these bytes are no evidence")
    if version != VERSION:
        raise EvidenceInvalid(f"evidence of version {version}, this program reads version {VERSION}")
    body = data[PREFIX.size :]
    if length > len(body) or zlib.crc32(body) != checksum:
        raise EvidenceInvalid("evidence was cut or altered")
    try:
        header: object = json.loads(body[:length])
    except (ValueError, RecursionError) as error:
        raise EvidenceInvalid("the header of the evidence is no JSON") from error
    if not isinstance(header, dict):
        raise EvidenceInvalid("the header of the evidence is no object")
    return cast(_Header, header), body[length:]


def _build(header: _Header, packed: bytes) -> ShardEvidence:
    rows, samples, grid = _count(header["rows"]), _count(header["samples"]), _count(header["grid"])
    layout = [(name, dtype, (rows, *tail)) for name, dtype, tail in ROW_COLUMNS]
    layout += [("patches", "|u1", (rows, grid, grid))]
    layout += [(name, dtype, (samples, *tail)) for name, dtype, tail in SAMPLE_COLUMNS]
    layout += [("border_views", "|u1", (2 if samples else 0, VIEW_SIZE))]
    return ShardEvidence(
        **_unpack(packed, layout),
        exclude=tuple(None if value is None else EvidenceReason(value) for value in header["exclude"]),
        cuts_us=tuple(_count(cut) for cut in header["cuts_us"]),
        missing=tuple(MissingSample(_count(t), EvidenceReason(r), str(d)) for t, r, d in header["missing"]),
        warnings=tuple(MediaWarning(value) for value in header["warnings"]),
        requested=_count(header["requested"]),
        decoded=_count(header["decoded"]),
        frame_width=_count(header["frame_width"]),
        frame_height=_count(header["frame_height"]),
        crop_size=_count(header["crop_size"]),
    )


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise EvidenceInvalid(f"{value!r} is no count")
    return value


def _unpack(packed: bytes, layout: list[tuple[str, str, tuple[int, ...]]]) -> dict[str, NDArray[Any]]:
    """Unpack columns of exactly the lengths that the header promises; never more bytes than that."""
    sizes = [np.dtype(dtype).itemsize * math.prod(shape) for _, dtype, shape in layout]
    total = sum(sizes)
    if total > MAX_BYTES:
        raise EvidenceInvalid(f"evidence of {total} bytes is larger than any video gives")
    stream = zlib.decompressobj()
    raw = stream.decompress(packed, total + 1)
    if len(raw) != total or not stream.eof or stream.unused_data:
        raise EvidenceInvalid("the columns of the evidence have another length than its header says")
    columns: dict[str, NDArray[Any]] = {}
    start = 0
    for (name, dtype, shape), size in zip(layout, sizes, strict=True):
        # A copy: an array over the bytes could not be written to and would keep all of them alive.
        columns[name] = np.frombuffer(raw[start : start + size], dtype).reshape(shape).copy()
        start += size
    return columns
