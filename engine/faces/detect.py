"""Faces and their five points in whole frames, by MTCNN on ONNX Runtime.

The networks are those of facenet-pytorch 2.6.0 (MIT), exported by ``tools/export_mtcnn.py``; method: Zhang,
Zhang, Li, Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", 2016.
Some frames of a group go through each stage together, scale by scale of the pyramid and then with all of
their candidates, in calls of a size that stays in the processor's caches. Threads take frames of their own:
what lies between the networks then runs on all cores as well, and no layer waits for another thread.
"""

import hashlib
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from engine.arrays import F32, I64, U8
from engine.faces.pyramid import SumTable, shrink_boxes, shrink_by, shrink_pictures, sum_table
from engine.faces.suppression import shift_boxes, square_boxes, suppress_groups

if TYPE_CHECKING:  # types only: the detector takes any frames and needs no decoder
    from engine.decode import SampledFrames

WEIGHTS = Path(__file__).parent / "mtcnn"
CELL_PX, STRIDE_PX = 12, 2  # what one output of the first network sees of its input, and their distance
# What goes into one call of each network. Their first layers then stay in the caches: a candidate costs the
# second network 27 us at 16 and 42 us at 256, the third 234 us at 8 and 287 us at 64.
PART_PIXELS = 1 << 16
PART_OF_SECOND, PART_OF_THIRD = 16, 8
TABLE_BYTES = 64 << 20  # of running sums held at a time by all threads: five frames of 1280x720


@dataclass(frozen=True)
class FaceBoxes:
    """The faces of one frame, largest first.

    Fractions of the displayed picture. Boxes and points are not clipped: those of a face that is cut off by
    the picture's edge reach below 0 or above 1. Points: eye on the picture's left, eye on its right, nose,
    mouth corner on the left, mouth corner on the right.
    """

    boxes: F32  # [n, 4] x, y, w, h
    confidence: F32  # [n] 0 to 1
    landmarks: F32  # [n, 5, 2] x, y
    capped: int = 0  # faces found beyond the most that one frame may have, and dropped

    def __post_init__(self) -> None:
        count = len(self.boxes)
        shapes = (self.boxes.shape, self.confidence.shape, self.landmarks.shape)
        if shapes != ((count, 4), (count,), (count, 5, 2)):
            raise ValueError(f"face columns disagree: {shapes}")
        if not (np.isfinite(self.boxes).all() and np.isfinite(self.landmarks).all()):
            raise ValueError("a box or point is not finite")
        if count and self.boxes[:, 2:].min() <= 0:
            raise ValueError("a box has no area")
        if count and not 0 <= self.confidence.min() <= self.confidence.max() <= 1:
            raise ValueError("a confidence lies outside 0 to 1")
        if self.capped < 0:
            raise ValueError(f"capped is {self.capped}")


class FaceDetector(Protocol):
    """Finds faces in frames; its name, digest and parameters are part of the pipeline's fingerprint."""

    @property
    def name(self) -> str:
        """Short name, such as ``mtcnn``."""
        ...

    @property
    def sha256(self) -> str:
        """Digest of its weights, hex."""
        ...

    @property
    def parameters(self) -> dict[str, float | int]:
        """Every number besides the weights that can change what it finds."""
        ...

    def detect(self, rgb: U8) -> list[FaceBoxes]:
        """Find the faces of uint8 [N, H, W, 3] RGB frames; one entry for each frame."""
        ...


@dataclass(frozen=True)
class MtcnnParameters:
    """Thresholds and pyramid step of the original, and what bounds the work on large or hostile pictures."""

    first_threshold: float = 0.6
    second_threshold: float = 0.7
    third_threshold: float = 0.7
    pyramid_step: float = 0.709
    smallest_px: float = 20.0  # the original's smallest face
    smallest_share: float = 1 / 22  # and as a share of the root of the picture's area: 44 px at 1280x720
    working_face_px: float = 40.0  # pictures are first shrunk by a whole step that leaves it this side
    max_candidates: int = 1000  # per frame into the second network, best first
    max_faces: int = 64  # per frame, largest first

    def smallest_face_px(self, width: int, height: int) -> float:
        """Return the side of the smallest face that is looked for in a picture of that size."""
        return max(self.smallest_px, self.smallest_share * math.sqrt(width * height))


@dataclass(frozen=True)
class _Candidates:
    boxes: F32  # [n, 4] left, top, right, bottom in pixels
    offsets: F32  # [n, 4] how the last network would move the sides, as shares of the box
    scores: F32  # [n]
    frame: I64  # [n] index in the group

    def take(self, rows: I64) -> "_Candidates":
        return _Candidates(self.boxes[rows], self.offsets[rows], self.scores[rows], self.frame[rows])


class MtcnnDetector:
    """MTCNN on ONNX Runtime. One object serves one thread at a time; ``threads`` does not change results."""

    name = "mtcnn"

    def __init__(
        self, folder: Path = WEIGHTS, *, threads: int = 1, parameters: MtcnnParameters | None = None
    ) -> None:
        self._settings = parameters or MtcnnParameters()
        files = [(folder / f"{net}.onnx").read_bytes() for net in ("pnet", "rnet", "onet")]
        self.sha256 = hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in files)).hexdigest()
        self._pnet, self._rnet, self._onet = (_open_network(data) for data in files)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="detect") if threads > 1 else None

    @property
    def parameters(self) -> dict[str, float | int]:
        """Every number besides the weights that can change what it finds."""
        return asdict(self._settings)

    def detect(self, rgb: U8) -> list[FaceBoxes]:
        """Find the faces of uint8 [N, H, W, 3] RGB frames; one entry for each frame."""
        if rgb.dtype != np.uint8 or rgb.ndim != 4 or rgb.shape[3] != 3:
            raise ValueError(f"frames are uint8 [N, H, W, 3], not {rgb.dtype} {rgb.shape}")
        parts = self._divide(rgb)
        if self._pool is None or len(parts) == 1:
            return [faces for part in parts for faces in self._detect_part(part)]
        return [faces for found in self._pool.map(self._detect_part, parts) for faces in found]

    def _divide(self, rgb: U8) -> list[U8]:
        """Cut a group into parts of which each thread takes one after the other."""
        height, width = rgb.shape[1:3]
        fitting = TABLE_BYTES * self._step(height, width) ** 2 // (12 * height * width * self._threads)
        count = max(1, min(fitting, -(-len(rgb) // self._threads)))
        return [rgb[start : start + count] for start in range(0, len(rgb), count)]

    def _step(self, height: int, width: int) -> int:
        smallest_px = self._settings.smallest_face_px(width, height)
        return max(1, int(smallest_px / self._settings.working_face_px))

    def _detect_part(self, rgb: U8) -> list[FaceBoxes]:
        height, width = rgb.shape[1:3]
        step = self._step(height, width)
        tables = [sum_table(shrink_by(frame, step)) for frame in rgb]
        proposed = self._propose(tables, self._settings.smallest_face_px(width, height) / step)
        found, points = self._locate(tables, self._refine(tables, proposed))
        size = tables[0].width, tables[0].height
        return [self._faces_of(found, points, frame, *size) for frame in range(len(tables))]

    def _propose(self, tables: list[SumTable], smallest_px: float) -> _Candidates:
        """Slide the first network over the pyramid of all frames; boxes come squared."""
        height, width = tables[0].height, tables[0].width
        found: list[_Candidates] = []
        for scale in _pyramid_scales(min(height, width), smallest_px, self._settings.pyramid_step):
            size = int(height * scale + 1), int(width * scale + 1)
            pictures = shrink_pictures(tables, *size)
            heads = _run_in_parts(self._pnet, pictures, max(1, PART_PIXELS // (size[0] * size[1])))
            frame, row, column = np.nonzero(heads[:, 0] >= _logit(self._settings.first_threshold))
            found_heads = heads[frame, :, row, column]
            cell = np.stack([column, row], axis=1).astype(np.float32) * STRIDE_PX
            boxes = np.floor(np.concatenate([cell + 1, cell + CELL_PX], axis=1) / np.float32(scale))
            here = _Candidates(boxes, found_heads[:, 1:], _probability(found_heads[:, 0]), frame)
            found.append(here.take(suppress_groups(boxes, here.scores, frame, 0.5)))
        merged = _join(found)
        merged = merged.take(suppress_groups(merged.boxes, merged.scores, merged.frame, 0.7))
        merged = merged.take(_first_of_each(merged.frame, self._settings.max_candidates))
        return replace(merged, boxes=square_boxes(shift_boxes(merged.boxes, merged.offsets, 0.0)))

    def _refine(self, tables: list[SumTable], candidates: _Candidates) -> _Candidates:
        """Let the second network judge and move each candidate; boxes come squared."""
        candidates, pixels = _cut_out(tables, candidates, 24)
        heads = _run_in_parts(self._rnet, pixels, PART_OF_SECOND)
        passed = np.flatnonzero(heads[:, 0] > _logit(self._settings.second_threshold))
        left, heads = candidates.take(passed), heads[passed]
        left = replace(left, offsets=heads[:, 1:], scores=_probability(heads[:, 0]))
        left = left.take(suppress_groups(left.boxes, left.scores, left.frame, 0.7))
        return replace(left, boxes=square_boxes(shift_boxes(left.boxes, left.offsets, 1.0)))

    def _locate(self, tables: list[SumTable], candidates: _Candidates) -> tuple[_Candidates, F32]:
        """Let the third network decide, and place the box and the five points [n, 5, 2] in pixels."""
        candidates, pixels = _cut_out(tables, candidates, 48)
        heads = _run_in_parts(self._onet, pixels, PART_OF_THIRD)
        passed = np.flatnonzero(heads[:, 0] > _logit(self._settings.third_threshold))
        found, heads = candidates.take(passed), heads[passed]
        found = replace(found, offsets=heads[:, 1:5], scores=_probability(heads[:, 0]))
        corner, size = found.boxes[:, None, :2], found.boxes[:, None, 2:] - found.boxes[:, None, :2] + 1
        places = corner + size * heads[:, 5:].reshape(-1, 2, 5).transpose(0, 2, 1) - 1
        found = replace(found, boxes=shift_boxes(found.boxes, found.offsets, 1.0))
        kept = suppress_groups(found.boxes, found.scores, found.frame, 0.7, "smaller")
        return found.take(kept), np.asarray(places[kept], np.float32)

    def _faces_of(self, found: _Candidates, points: F32, frame: int, width: int, height: int) -> FaceBoxes:
        sizes = found.boxes[:, 2:] - found.boxes[:, :2]
        centres = found.boxes[:, :2] + sizes / 2
        is_seen = (sizes > 0) & (centres >= 0) & (centres < np.array([width, height]))
        rows = np.flatnonzero((found.frame == frame) & is_seen.all(axis=1))
        rows = rows[np.argsort(-sizes[rows].prod(axis=1), kind="stable")]
        capped = max(0, len(rows) - self._settings.max_faces)
        rows = rows[: self._settings.max_faces]
        picture = np.array([width, height], np.float32)
        corners = found.boxes[rows] / np.concatenate([picture, picture])
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        return FaceBoxes(boxes, np.clip(found.scores[rows], 0, 1), points[rows] / picture, capped)


def _pyramid_scales(side_px: int, smallest_px: float, step: float) -> list[float]:
    scale = CELL_PX / smallest_px
    scales: list[float] = []
    while side_px * scale >= CELL_PX:
        scales.append(scale)
        scale *= step
    return scales


def _first_of_each(group: I64, count: int) -> I64:
    """Return the first ``count`` rows of each group; the groups lie one after the other."""
    starts = np.searchsorted(group, group)
    return np.flatnonzero(np.arange(len(group)) - starts < count)


def _join(parts: list[_Candidates]) -> _Candidates:
    empty = np.empty((0, 4), np.float32)
    return _Candidates(
        np.concatenate([empty, *(part.boxes for part in parts)]),
        np.concatenate([empty, *(part.offsets for part in parts)]),
        np.concatenate([empty[:, 0], *(part.scores for part in parts)]),
        np.concatenate([np.empty(0, np.int64), *(part.frame for part in parts)]),
    )


def _cut_out(tables: list[SumTable], candidates: _Candidates, size: int) -> tuple[_Candidates, F32]:
    """Resample what each candidate shows of its frame to [n, 3, size, size]; drop those that show nothing."""
    # The original counts pixels from 1 and includes the last one: the slice starts one before.
    inside = np.trunc(candidates.boxes).astype(np.int64)
    inside[:, :2] = np.maximum(inside[:, :2], 1) - 1
    inside[:, 2:] = np.minimum(inside[:, 2:], [tables[0].width, tables[0].height])
    rows = np.flatnonzero((inside[:, 2:] > inside[:, :2]).all(axis=1))
    candidates, inside = candidates.take(rows), inside[rows]
    pixels = np.empty((len(rows), 3, size, size), np.float32)
    for frame, table in enumerate(tables):
        members = candidates.frame == frame
        pixels[members] = shrink_boxes(table, inside[members], size)
    return candidates, pixels


def _open_network(data: bytes) -> Any:
    # Lazy: 35 ms, in which the sandbox is starting.
    import onnxruntime as ort

    runtime: Any = ort  # half typed
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # plans per input shape, and every scale and candidate count is one
    options.log_severity_level = 3
    return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _run_in_parts(network: Any, pictures: F32, count: int) -> F32:
    """Run at most ``count`` pictures [n, 3, H, W] at a time: large ones take memory and miss the caches."""
    if not len(pictures):  # the graphs cannot reshape an empty batch; one blank picture tells the shape
        return _run_in_parts(network, np.zeros((1, *pictures.shape[1:]), np.float32), 1)[:0]
    parts = [pictures[at : at + count] for at in range(0, len(pictures), count)]
    heads: list[F32] = [network.run(None, {"picture": part})[0] for part in parts]
    return np.concatenate(heads)


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _probability(logits: F32) -> F32:
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def load_detector(*, threads: int = 1) -> MtcnnDetector:
    """Open the shipped detector with its standard parameters."""
    return MtcnnDetector(threads=threads)


def detect_faces(frames: "SampledFrames", detector: FaceDetector) -> list[FaceBoxes]:
    """Find the faces of one group of frames; one entry for each frame."""
    return detector.detect(frames.rgb)
