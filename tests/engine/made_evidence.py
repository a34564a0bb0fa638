"""Evidence as the pipeline would give it, made from a few logits."""

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from engine.evidence import MissingSample, ShardEvidence
from engine.faces.shots import view_frame
from engine.results import EvidenceReason, MediaWarning

FRAME = (640, 360)
CROP = 224
GRID = 7
BOX = (0.4, 0.2, 0.15, 0.3)  # 96 x 108 px: size costs no weight
# Eyes, nose, mouth corners of an upright face within the box, as fractions of the frame.
LANDMARKS = ((0.445, 0.32), (0.505, 0.32), (0.475, 0.385), (0.45, 0.435), (0.5, 0.435))
# The crop rule for that box: side 140 px around its centre.
TO_FRAME = ((0.625, 0.0, 234.0), (0.0, 0.625, 56.0))

Cell = float | EvidenceReason | None  # a logit, a reason for having none, or no face in this sample


def view_scenes(*numbers: int) -> np.ndarray:
    """Views of made scenes, each with colours and shapes of its own."""
    return np.stack([_view_scene(number) for number in numbers])


@functools.cache
def _view_scene(number: int) -> np.ndarray:
    random = np.random.default_rng(number)
    blocks = random.integers(0, 256, (6, 8, 3), dtype=np.uint8) // 2 + random.integers(0, 128, 3, np.uint8)
    return view_frame(np.ascontiguousarray(blocks.repeat(20, axis=0).repeat(20, axis=1)))


def make_evidence(
    tracks: Mapping[int, Sequence[Cell]],
    *,
    times_us: Sequence[int] | None = None,
    spacing_us: int = 1_000_000,
    patches: Mapping[tuple[int, int], np.ndarray] | None = None,
    missing_us: Sequence[int] = (),
    cuts_us: Sequence[int] = (),
    warnings: Sequence[MediaWarning] = (),
    requested: int | None = None,
    extra_faces: int = 0,
    views: Sequence[int] = (1, 1),
    **columns: float,
) -> ShardEvidence:
    """Make evidence with one entry of each track for each sample; ``patches`` by (track, sample).

    ``views`` are the numbers of the scenes that the first and the last sample show.
    """
    count = max((len(cells) for cells in tracks.values()), default=0 if times_us is None else len(times_us))
    times = np.array(
        times_us if times_us is not None else [spacing_us // 2 + i * spacing_us for i in range(count)],
        np.int64,
    )
    rows = [
        (sample, ordinal, cells[sample])
        for sample in range(len(times))
        for ordinal, cells in tracks.items()
        if sample < len(cells) and cells[sample] is not None
    ]
    n = len(rows)
    logit = np.array([np.nan if isinstance(c, EvidenceReason) else c for _, _, c in rows], np.float32)
    maps = np.zeros((n, GRID, GRID), np.uint8)
    for i, (sample, ordinal, _) in enumerate(rows):
        if patches and (ordinal, sample) in patches and np.isfinite(logit[i]):
            maps[i] = patches[ordinal, sample]
    faces = np.bincount([sample for sample, _, _ in rows], minlength=len(times)).astype(np.int64)
    if extra_faces:
        faces[0] += extra_faces
    quality = {
        "size_px": 96,
        "sharpness": 100,
        "brightness": 120,
        "yaw": 0,
        "pitch": 0,
        "roll": 0,
        "visible": 1,
    }
    quality |= columns
    return ShardEvidence(
        track=np.array([ordinal for _, ordinal, _ in rows], np.int64),
        pts_us=times[[sample for sample, _, _ in rows]] if n else np.empty(0, np.int64),
        box=np.tile(np.array(BOX, np.float32), (n, 1)),
        confidence=np.ones(n, np.float32),
        landmarks=np.tile(np.array(LANDMARKS, np.float32), (n, 1, 1)),
        to_frame=np.tile(np.array(TO_FRAME, np.float32), (n, 1, 1)),
        exclude=tuple(cell if isinstance(cell, EvidenceReason) else None for _, _, cell in rows),
        logit=logit,
        patches=maps,
        samples_us=times,
        faces_per_sample=faces,
        border_views=view_scenes(*views)[: 2 * min(1, len(times))],
        cuts_us=tuple(cuts_us),
        missing=tuple(MissingSample(t, EvidenceReason.NOT_DECODED) for t in missing_us),
        warnings=tuple(warnings),
        requested=len(times) + len(missing_us) if requested is None else requested,
        decoded=len(times),
        frame_width=FRAME[0],
        frame_height=FRAME[1],
        crop_size=CROP,
        **{name: np.full(n, value, np.float32) for name, value in quality.items()},
    )
