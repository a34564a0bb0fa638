"""Pairs of a real face and a forgery of it, cropped by the rule of screening."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Self

import cv2
import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from engine.arrays import F32, U8
from engine.errors import EngineError
from engine.faces.crop import crop_face
from engine.training.degrade import Degradation, degrade_picture, draw_degradation
from engine.training.face_space import load_face_space
from engine.training.faces import FaceContext, FaceRecord, load_context, sampling_weights
from engine.training.forge import KEPT_OUT, ForgedFace, ForgeryMethod, Painters, forge_face
from engine.training.redraw import load_redrawer
from engine.training.scene import Box, draw_scene
from engine.training.targets import flip_crop, patch_targets, warp_to_crop


class FacePair(NamedTuple):
    """A real crop and its forgery under one degradation and one framing."""

    real: U8  # [3, S, S] RGB
    forged: U8  # [3, S, S] RGB
    patches: F32  # [g, g] share of each cell that was replaced in the forgery
    method: ForgeryMethod


@dataclass(frozen=True)
class PairRecipe:
    """What is drawn for each pair. Shares of methods are relative weights."""

    size: int = 224
    grid: int = 14
    methods: dict[ForgeryMethod, float] = field(
        default_factory=lambda: {
            ForgeryMethod.SELF_BLEND: 0.4,
            ForgeryMethod.RESYNTHESIS: 0.12,
            ForgeryMethod.SWAP_FEATHER: 0.22,
            ForgeryMethod.PART_SWAP: 0.06,
            ForgeryMethod.EIGENFACE: 0.2,
        }
    )
    source_weights: dict[str, float] = field(
        default_factory=lambda: {"ytf": 3.0, "nomask": 2.0, "humans": 1.0, "celeba100": 4.0}
    )
    face_space: Path | None = None  # what ``eigenface`` draws from; without it that method is left out
    redrawer: Path | None = None  # what ``redrawn`` is drawn by; without it that method is left out
    degradation: float = 1.0
    scene: float = 0.0  # share of pairs in another light or tilted
    box_jitter: float = 0.04  # standard deviation of the box's shift and size over its longer side

    def __post_init__(self) -> None:
        if not self.drawn_methods:
            raise ValueError("a recipe needs at least one forgery method")
        if KEPT_OUT in self.methods:
            raise ValueError(f"{KEPT_OUT} is kept out of training to judge by")
        if self.size % self.grid:
            raise ValueError(f"crop side {self.size} is no multiple of the grid {self.grid}")

    @property
    def drawn_methods(self) -> dict[ForgeryMethod, float]:
        """The methods that can be drawn with what the recipe has."""
        return {method: share for method, share in self.methods.items() if method not in self._unable}

    @property
    def judged_methods(self) -> tuple[ForgeryMethod, ...]:
        """What a network is judged by: the methods that can be drawn, and those kept out of training."""
        return tuple(method for method in ForgeryMethod if method not in self._unable)

    @property
    def _unable(self) -> set[ForgeryMethod]:
        """The methods for which there is nothing that paints."""
        painters = {ForgeryMethod.EIGENFACE: self.face_space, ForgeryMethod.REDRAWN: self.redrawer}
        return {method for method, painter in painters.items() if painter is None}

    def with_share(self, method: ForgeryMethod, share: float) -> Self:
        """Return a recipe that draws ``share`` (0 to 1) of its pairs by ``method``, the others as before."""
        if not 0.0 <= share < 1.0:
            raise ValueError(f"a share of {share} of the pairs")
        others = {m: weight for m, weight in self.methods.items() if m is not method}
        total = sum(others.values())
        scaled = {m: weight / total * (1 - share) for m, weight in others.items()}
        return replace(self, methods=scaled | ({method: share} if share else {}))


class PairMaker:
    """Draws pairs from records with one random generator; the same seed gives the same pairs."""

    def __init__(self, records: list[FaceRecord], recipe: PairRecipe, rng: np.random.Generator) -> None:
        if not records:
            raise ValueError("no face to draw from: is the split named train or val in index.csv?")
        self._records = records
        self._recipe = recipe
        self._rng = rng
        self._cumulative = np.cumsum(sampling_weights(records, recipe.source_weights), dtype=np.float64)
        self._painters = Painters(
            space=None if recipe.face_space is None else load_face_space(recipe.face_space),
            redrawer=None if recipe.redrawer is None else load_redrawer(recipe.redrawer),
        )
        self._poses = np.stack([_pose(r.landmarks) for r in records])

    def draw(self) -> FacePair:
        """A pair of a randomly drawn face and method."""
        return self.make(self._draw_index(), self._draw_method())

    def make(self, index: int, method: ForgeryMethod) -> FacePair:
        """A pair of record ``index`` forged by ``method``."""
        face = load_context(self._records[index])
        donor = load_context(self._records[self._donor_of(index)]) if method.needs_donor else None
        return self._crop_pair(forge_face(face, donor, method, self._rng, self._painters), face, method)

    def _draw_index(self) -> int:
        drawn = int(np.searchsorted(self._cumulative, self._rng.random() * float(self._cumulative[-1])))
        return min(drawn, len(self._records) - 1)

    def _draw_method(self) -> ForgeryMethod:
        shares = self._recipe.drawn_methods
        methods, weights = list(shares), np.array(list(shares.values()))
        return methods[int(self._rng.choice(len(methods), p=weights / weights.sum()))]

    def _donor_of(self, index: int) -> int:
        """Another person in a similar pose: the nearest of some random candidates, as forgers choose."""
        candidates = self._rng.integers(0, len(self._records), 60)
        distance = np.abs(self._poses[candidates] - self._poses[index]).sum(1)
        identity = self._records[index].identity
        for nearest in candidates[np.argsort(distance)]:
            if self._records[int(nearest)].identity != identity:
                return int(nearest)
        return (index + 1) % len(self._records)

    def _crop_pair(self, pair: ForgedFace, face: FaceContext, method: ForgeryMethod) -> FacePair:
        recipe, rng = self._recipe, self._rng
        pair = self._set_scene(pair, face)
        chain = draw_degradation(max(face.box[2:]), rng, recipe.degradation)
        box = self._jitter(face.box)
        flip = rng.random() < 0.5
        real = crop_degraded(pair.real, box, chain, recipe.size)
        forged = crop_degraded(pair.forged, box, chain, recipe.size)
        _, affine = crop_face(pair.real, box, recipe.size)
        mask = warp_to_crop(pair.mask, affine, recipe.size)
        if flip:
            real, _ = flip_crop(real, mask)
            forged, mask = flip_crop(forged, mask)
        return FacePair(
            np.ascontiguousarray(real.transpose(2, 0, 1)),
            np.ascontiguousarray(forged.transpose(2, 0, 1)),
            patch_targets(mask, recipe.grid),
            method,
        )

    def _set_scene(self, pair: ForgedFace, face: FaceContext) -> ForgedFace:
        if not self._recipe.scene:  # draws nothing, so that the pairs of old measurements stay the same
            return pair
        scene = draw_scene(self._rng, self._recipe.scene)
        real, _ = scene.hold(scene.light(pair.real), pair.mask, face.box)
        forged, mask = scene.hold(scene.light(pair.forged), pair.mask, face.box)
        return ForgedFace(real, forged, mask)

    def _jitter(self, box: Box) -> Box:
        x, y, w, h = box
        side = max(w, h)
        dx, dy = self._rng.normal(0, self._recipe.box_jitter, 2) * side
        grow = float(np.exp(self._rng.normal(0, self._recipe.box_jitter)))
        centre = (x + w / 2 + dx, y + h / 2 + dy)
        return (centre[0] - w * grow / 2, centre[1] - h * grow / 2, w * grow, h * grow)


def crop_degraded(picture: U8, box: Box, chain: Degradation, size: int) -> U8:
    """Degrade a picture [H, W, 3] and cut the crop [S, S, 3] of a box, in its pixels, out of it."""
    degraded = degrade_picture(picture, chain)
    fx = degraded.shape[1] / picture.shape[1] if chain.scale < 1.0 else 1.0
    fy = degraded.shape[0] / picture.shape[0] if chain.scale < 1.0 else 1.0
    scaled = (box[0] * fx, box[1] * fy, box[2] * fx, box[3] * fy)
    return crop_face(degraded, scaled, size)[0]


def _pose(landmarks: F32) -> F32:
    """A coarse pose code: where the nose tip and mouth lie between the eyes and the jaw, [4]."""
    span = np.ptp(landmarks, axis=0) + 1e-3
    eyes = landmarks[36:48].mean(0)
    return np.concatenate([(landmarks[30] - eyes) / span, (landmarks[48:68].mean(0) - eyes) / span])


Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class PairStream(IterableDataset[Batch | EngineError]):
    """Endless batches: images uint8 [2n, 3, S, S], labels int64 [2n], patch targets float32 [2n, g, g].

    The first n images are real, the last n their forgeries. What keeps a batch from being made comes in its
    place, and is the last thing to come: one that is raised in a process of its own would arrive as a
    RuntimeError, as torch makes errors anew from their text alone.
    """

    def __init__(self, records: list[FaceRecord], recipe: PairRecipe, pairs: int, seed: int) -> None:
        self._records, self._recipe, self._pairs, self._seed = records, recipe, pairs, seed

    def __iter__(self) -> Iterator[Batch | EngineError]:
        try:
            yield from self._draw()
        except EngineError as fault:
            yield fault

    def _draw(self) -> Iterator[Batch]:
        cv2.setNumThreads(1)
        worker = get_worker_info()
        rng = np.random.default_rng((self._seed, worker.id if worker else 0))
        maker = PairMaker(self._records, self._recipe, rng)
        while True:
            yield stack_pairs([maker.draw() for _ in range(self._pairs)])


def stack_pairs(pairs: list[FacePair]) -> Batch:
    """Join pairs to a batch in the layout of ``PairStream``."""
    images = np.stack([p.real for p in pairs] + [p.forged for p in pairs])
    forged_patches = np.stack([p.patches for p in pairs])
    patches = np.concatenate([np.zeros_like(forged_patches), forged_patches])
    labels = np.repeat(np.array([0, 1], np.int64), len(pairs))
    return torch.from_numpy(images), torch.from_numpy(labels), torch.from_numpy(patches)
