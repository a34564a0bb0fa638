"""A linear space of faces, from which forgeries are made that look as if a decoder had drawn them.

The decoder of a face-swap autoencoder draws a face from few numbers: pores, single hairs and the edges of
teeth are lost or smeared, and its owner's face is mixed with that of the person who is copied. Faces that
are rebuilt from their leading principal components ("eigenfaces": Sirovich and Kirby, 1987; Turk and
Pentland, 1991) show the same loss, cost a few milliseconds and need no trained decoder.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from engine.arrays import F32, U8
from engine.training.faces import FaceContext, FaceRecord, load_context
from engine.training.index import open_arrays

SIDE = 128  # pixels of the space; the shape of the mean face fills four fifths of it
_FILL = 0.8
_FITTED = 1200  # faces that the space is fitted on
_COMPONENTS = 320


@dataclass(frozen=True)
class FaceSpace:
    """Principal components of aligned faces, RGB in 0 to 255, each row of ``SIDE * SIDE * 3`` values."""

    shape: F32  # [68, 2] landmarks of the mean face in pixels of the space
    mean: F32  # [D]
    components: F32  # [K, D] orthonormal, by falling variance

    def __post_init__(self) -> None:
        if self.mean.shape != (SIDE * SIDE * 3,) or self.components.shape[1:] != self.mean.shape:
            raise ValueError(f"mean {self.mean.shape} and components {self.components.shape} do not fit")

    def align(self, face: FaceContext) -> tuple[F32, F32]:
        """The face as a row [D] of the space, and the affine [2, 3] from its picture to the space."""
        affine = affine_between(face.landmarks, self.shape)
        return _make_row(face.picture, affine), affine

    def rebuild(self, row: F32, donor: F32 | None, share: float, kept: int) -> F32:
        """Draw a row [D] from its first ``kept`` components, ``share`` of which come from ``donor``."""
        basis = self.components[:kept]
        code = basis @ (row - self.mean)
        if donor is not None:
            code = (1 - share) * code + share * (basis @ (donor - self.mean))
        return np.clip(self.mean + code @ basis, 0.0, 255.0).astype(np.float32)


def place_row(row: F32, affine: F32, height: int, width: int) -> U8:
    """Warp a row [D] of the space back into a picture [height, width, 3]; outside it, edges are repeated."""
    drawn = (row.reshape(SIDE, SIDE, 3) + 0.5).astype(np.uint8)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    placed = cv2.warpAffine(drawn, affine, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(placed, np.uint8)


def fit_face_space(records: list[FaceRecord], out: Path, seed: int) -> Path:
    """Fit the space on up to 1,200 faces and write it (npz); a file that is there is kept. About 30 s."""
    if out.exists():
        return out
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(records))[:_FITTED]
    shape = mean_shape([records[int(i)].landmarks for i in chosen])
    contexts = (load_context(records[int(i)]) for i in chosen)
    rows = np.stack([_make_row(face.picture, affine_between(face.landmarks, shape)) for face in contexts])
    mean = rows.mean(0)
    rows -= mean
    # The Gram matrix of the faces is small where that of the pixels is not; both have the same spectrum.
    values, vectors = np.linalg.eigh((rows @ rows.T).astype(np.float64))
    order = np.argsort(values)[::-1][: min(_COMPONENTS, max(1, len(chosen) - 1))]
    scale = np.sqrt(np.maximum(values[order], 1e-6))[:, None]
    components = (vectors[:, order].T / scale).astype(np.float32) @ rows
    partial = out.with_suffix(".partial.npz")
    np.savez(partial, shape=shape, mean=mean, components=components.astype(np.float16))
    partial.replace(out)
    return out


def load_face_space(path: Path) -> FaceSpace:
    """Read what ``fit_face_space`` wrote. Raises DataInvalid when it is missing or damaged."""
    with open_arrays(path, "remove it: the run fits it again") as stored:
        components = stored["components"].astype(np.float32)
        return FaceSpace(stored["shape"].astype(np.float32), stored["mean"].astype(np.float32), components)


def mean_shape(landmarks: list[F32]) -> F32:
    """Mean of the landmarks after centre and height were made alike, placed in the space."""
    centred = [(points - points.mean(0)) / max(1.0, float(np.ptp(points[:, 1]))) for points in landmarks]
    mean = np.mean(centred, axis=0)
    low, high = mean.min(0), mean.max(0)
    scale = _FILL * SIDE / float((high - low).max())
    return ((mean - (low + high) / 2) * scale + SIDE / 2).astype(np.float32)


def affine_between(source: F32, target: F32) -> F32:
    """Affine [2, 3] that brings points [68, 2] closest to others (least squares)."""
    design = np.concatenate([source.astype(np.float64), np.ones((len(source), 1))], 1)
    return np.linalg.lstsq(design, target.astype(np.float64), rcond=None)[0].T.astype(np.float32)


def warp_aligned(picture: U8, affine: F32, side: int) -> U8:
    """Warp a picture into a square [side, side, 3]; what lies outside the picture is mirrored."""
    flags = cv2.INTER_AREA if abs(np.linalg.det(affine[:, :2])) < 0.5 else cv2.INTER_LINEAR
    warped = cv2.warpAffine(picture, affine, (side, side), flags=flags, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(warped, np.uint8)


def _make_row(picture: U8, affine: F32) -> F32:
    return warp_aligned(picture, affine, SIDE).astype(np.float32).reshape(-1)
