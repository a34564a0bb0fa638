"""Makes forgeries of known extent from real faces.

Self-blended images follow the idea of Shiohara and Yamasaki, Detecting Deepfakes with Self-Blended
Images, CVPR 2022: a picture is blended with a slightly altered copy of itself, so that only the traces
of blending remain. Swaps and part swaps paste another person. ``resynthesis`` pastes the person's own
face after it went through a poor copy, which is what the decoder of a face-swap autoencoder leaves.
``eigenface`` pastes a face that was drawn anew from few numbers, with or without a second person's,
``redrawn`` one that a convolution network drew anew from a coarse copy.
"""

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np

from engine.arrays import F32, U8
from engine.training.colour import add_grain, lose_detail, sharpen, shift_colour, transfer_colour
from engine.training.face_space import FaceSpace, place_row
from engine.training.faces import FaceContext
from engine.training.masks import (
    PARTS,
    WHOLE_FACE,
    MaskShape,
    displace,
    feather,
    hull_mask,
    random_displacement,
)
from engine.training.redraw import Redrawer, place_drawn

_BLEND_RATIOS = (0.4, 0.6, 0.8, 1.0, 1.0, 1.0)  # SBI draws opacity with weight on 1


class ForgeryMethod(StrEnum):
    """How a forgery is made. ``KEPT_OUT`` is one of them."""

    SELF_BLEND = "self_blend"
    RESYNTHESIS = "resynthesis"
    SWAP_FEATHER = "swap_feather"
    PART_SWAP = "part_swap"
    SWAP_POISSON = "swap_poisson"
    EIGENFACE = "eigenface"
    REDRAWN = "redrawn"

    @property
    def needs_donor(self) -> bool:
        """Whether a second person's face is pasted."""
        return self not in (ForgeryMethod.SELF_BLEND, ForgeryMethod.RESYNTHESIS)


KEPT_OUT = ForgeryMethod.SWAP_POISSON
"""Never trained on: figures on it tell what to expect of forgeries that the network has not seen."""


@dataclass(frozen=True)
class ForgedFace:
    """A forged picture, the untouched one it stems from, and how far each pixel was replaced."""

    real: U8  # [H, W, 3] RGB
    forged: U8  # [H, W, 3] RGB
    mask: F32  # [H, W] opacity of the forgery, 0 to 1

    def __post_init__(self) -> None:
        if self.real.shape != self.forged.shape or self.real.shape[:2] != self.mask.shape:
            raise ValueError(f"shapes differ: {self.real.shape}, {self.forged.shape}, {self.mask.shape}")


@dataclass(frozen=True)
class Painters:
    """What draws faces anew: a space for ``eigenface``, a network for ``redrawn``."""

    space: FaceSpace | None = None
    redrawer: Redrawer | None = None


_NO_PAINTERS = Painters()


def forge_face(
    face: FaceContext,
    donor: FaceContext | None,
    method: ForgeryMethod,
    rng: np.random.Generator,
    painters: Painters = _NO_PAINTERS,
) -> ForgedFace:
    """Forge one face by one method.

    ``donor`` is the second person where the method needs one. Raises ``ValueError`` when the donor or the
    painter that the method needs is missing.
    """
    if method.needs_donor and donor is None:
        raise ValueError(f"{method} needs a donor face")
    if method is ForgeryMethod.SELF_BLEND:
        return _self_blend(face, rng)
    if method is ForgeryMethod.RESYNTHESIS:
        return _resynthesise(face, rng)
    assert donor is not None
    if method is ForgeryMethod.EIGENFACE:
        if painters.space is None:
            raise ValueError(f"{method} needs a space of faces (fit_face_space)")
        mask = _region(face, _random_shape(rng, 0.1), rng)
        return _paste_drawn(face, _draw_from_space(face, donor, painters.space, rng), mask, rng)
    if method is ForgeryMethod.REDRAWN:
        if painters.redrawer is None:
            raise ValueError(f"{method} needs a network that draws faces (fit_redrawer)")
        mask = _region(face, _random_shape(rng, 0.1), rng)
        return _paste_drawn(face, _draw_by_network(face, donor, painters.redrawer, rng), mask, rng)
    return _swap(face, donor, method, rng)


def face_height(face: FaceContext) -> float:
    """Vertical extent of the landmarks in pixels: the scale of everything that is drawn on a face."""
    return float(np.ptp(face.landmarks[:, 1]))


def _random_shape(rng: np.random.Generator, part_share: float) -> MaskShape:
    pool = PARTS if rng.random() < part_share else WHOLE_FACE
    return pool[int(rng.integers(len(pool)))]


def _region(face: FaceContext, shape: MaskShape, rng: np.random.Generator) -> F32:
    height, width = face.picture.shape[:2]
    hard = hull_mask(face.landmarks, shape, height, width, rng)
    return feather(hard, face_height(face), rng)


def _blend(base: U8, pasted: U8, mask: F32) -> U8:
    alpha = mask[..., None]
    mixed = pasted.astype(np.float32) * alpha + base.astype(np.float32) * (1 - alpha)
    return (mixed + 0.5).astype(np.uint8)


def _nudge(picture: U8, size_px: float, rng: np.random.Generator) -> U8:
    """Shift, scale and bend the copy a little, so that its features do not meet the surroundings."""
    height, width = picture.shape[:2]
    scale = rng.uniform(0.95, 1.05)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.normal(0, 1.0), scale)
    matrix[:, 2] += rng.uniform(-0.03, 0.03, 2) * size_px
    moved = cv2.warpAffine(
        picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    if rng.random() < 0.5:
        moved = displace(moved, random_displacement(height, width, 0.012 * size_px, rng))
    return np.asarray(moved, np.uint8)


def _self_blend(face: FaceContext, rng: np.random.Generator) -> ForgedFace:
    size = face_height(face)
    mask = _region(face, _random_shape(rng, 0.2), rng) * rng.choice(_BLEND_RATIOS)
    copy = face.picture
    if rng.random() < 0.75:
        copy = shift_colour(copy, rng.uniform(0.3, 1.0), rng)
    if rng.random() < 0.6:
        copy = lose_detail(copy, rng.uniform(0.3, 1.0), rng)
    copy = _nudge(copy, size, rng)
    if rng.random() < 0.5:
        # Altering the surroundings instead of the face keeps "altered pixels are inside" from being learnt.
        # The real picture gets the same alteration, so it is no sign of forgery by itself.
        altered = _alter_everything(face.picture, rng)
        return ForgedFace(altered, _blend(altered, copy, mask), mask.astype(np.float32))
    return ForgedFace(face.picture, _blend(face.picture, copy, mask), mask.astype(np.float32))


def _alter_everything(picture: U8, rng: np.random.Generator) -> U8:
    altered = shift_colour(picture, rng.uniform(0.2, 0.8), rng)
    return lose_detail(altered, rng.uniform(0.1, 0.5), rng) if rng.random() < 0.5 else altered


def _resynthesise(face: FaceContext, rng: np.random.Generator) -> ForgedFace:
    size = face_height(face)
    mask = _region(face, _random_shape(rng, 0.1), rng)
    copy = lose_detail(face.picture, rng.uniform(0.8, 1.6), rng)
    if rng.random() < 0.6:
        copy = lose_detail(copy, rng.uniform(0.5, 1.2), rng)
    if rng.random() < 0.4:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 75))]
        copy = cv2.imdecode(cv2.imencode(".jpg", copy, quality)[1], cv2.IMREAD_COLOR)
    copy = _nudge(np.asarray(copy, np.uint8), size, rng)
    if rng.random() < 0.7:
        copy = shift_colour(copy, rng.uniform(0.2, 0.8), rng)
    if rng.random() < 0.3:
        copy = add_grain(copy, rng.uniform(1, 5), rng)
    return ForgedFace(face.picture, _blend(face.picture, copy, mask), mask)


def _draw_from_space(face: FaceContext, donor: FaceContext, space: FaceSpace, rng: np.random.Generator) -> U8:
    row, affine = space.align(face)
    share = 0.0 if rng.random() < 0.4 else float(rng.uniform(0.3, 1.0))
    kept = int(len(space.components) * rng.uniform(0.15, 1.0))
    drawn = space.rebuild(row, space.align(donor)[0] if share else None, share, max(1, kept))
    return place_row(drawn, affine, *face.picture.shape[:2])


def _draw_by_network(
    face: FaceContext, donor: FaceContext, redrawer: Redrawer, rng: np.random.Generator
) -> U8:
    aligned, affine = redrawer.align(face)
    share = 0.0 if rng.random() < 0.4 else float(rng.uniform(0.5, 1.0))
    drawn = redrawer.draw(aligned, redrawer.align(donor)[0] if share else None, share, rng)
    return place_drawn(drawn, affine, *face.picture.shape[:2])


def _paste_drawn(face: FaceContext, pasted: U8, mask: F32, rng: np.random.Generator) -> ForgedFace:
    if rng.random() < 0.4:
        pasted = sharpen(pasted, rng.uniform(0.3, 1.5))
    if rng.random() < 0.85:
        pasted = transfer_colour(pasted, face.picture, mask)
    if rng.random() < 0.3:
        pasted = shift_colour(pasted, rng.uniform(0.1, 0.5), rng)
    if rng.random() < 0.3:
        pasted = add_grain(pasted, rng.uniform(1, 5), rng)
    return ForgedFace(face.picture, _blend(face.picture, pasted, mask), mask)


def align_donor(donor: FaceContext, face: FaceContext) -> U8:
    """Warp the donor's picture so that its landmarks fall on those of ``face`` (affine least squares)."""
    ones = np.ones((len(donor.landmarks), 1), np.float64)
    design = np.concatenate([donor.landmarks.astype(np.float64), ones], 1)
    solution = np.linalg.lstsq(design, face.landmarks.astype(np.float64), rcond=None)[0]
    height, width = face.picture.shape[:2]
    warped = cv2.warpAffine(
        donor.picture, solution.T, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    return np.asarray(warped, np.uint8)


def _swap(
    face: FaceContext, donor: FaceContext, method: ForgeryMethod, rng: np.random.Generator
) -> ForgedFace:
    shape = _random_shape(rng, 1.0 if method is ForgeryMethod.PART_SWAP else 0.0)
    mask = _region(face, shape, rng)
    pasted = align_donor(donor, face)
    if rng.random() < 0.5:
        pasted = lose_detail(pasted, rng.uniform(0.4, 1.3), rng)
    if method is ForgeryMethod.SWAP_POISSON:
        return _poisson(face, pasted, mask)
    if rng.random() < 0.85:
        pasted = transfer_colour(pasted, face.picture, mask)
    if rng.random() < 0.4:
        pasted = shift_colour(pasted, rng.uniform(0.1, 0.5), rng)
    return ForgedFace(face.picture, _blend(face.picture, pasted, mask), mask)


def _poisson(face: FaceContext, pasted: U8, mask: F32) -> ForgedFace:
    """Gradient-domain blending (Perez et al., Poisson Image Editing, 2003) inside the mask's core."""
    core = (mask > 0.5).astype(np.uint8)
    core[[0, -1]] = 0
    core[:, [0, -1]] = 0
    ys, xs = np.nonzero(core)
    if len(xs) < 64:
        return ForgedFace(face.picture, _blend(face.picture, pasted, mask), mask)
    centre = (int((xs.min() + xs.max() + 1) // 2), int((ys.min() + ys.max() + 1) // 2))
    cloned = cv2.seamlessClone(pasted, face.picture, core * 255, centre, cv2.NORMAL_CLONE)
    # The solver rounds pixels next to the mask by a level; the mask must stay exact.
    forged = np.where(core[..., None] > 0, np.asarray(cloned, np.uint8), face.picture)
    return ForgedFace(face.picture, forged, core.astype(np.float32))
