"""Measures a network on forgeries made from people that training never saw."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.arrays import F64
from engine.evaluation.metrics import RocMaker
from engine.network.two_stream import TwoStreamNet
from engine.training.faces import FaceRecord
from engine.training.forge import ForgeryMethod
from engine.training.pairs import FacePair, PairMaker, PairRecipe
from engine.training.precision import mixed_precision

IOU_SHARE = 0.5  # a cell counts as forged from this share of replaced pixels on, as predicted from P 0.5 on


@dataclass(frozen=True)
class FixedPairs:
    """Pairs drawn once, so that every measurement of a run sees the same pictures."""

    pairs: tuple[FacePair, ...]

    @property
    def methods(self) -> tuple[ForgeryMethod, ...]:
        """Methods among the pairs, in order of first appearance."""
        return tuple(dict.fromkeys(p.method for p in self.pairs))


def draw_fixed_pairs(records: list[FaceRecord], recipe: PairRecipe, per_method: int, seed: int) -> FixedPairs:
    """``per_method`` pairs of every method that the recipe allows, those kept out of training included."""
    methods = recipe.judged_methods
    maker = PairMaker(records, recipe, np.random.default_rng(seed))
    rng = np.random.default_rng(seed + 1)
    chosen = rng.permutation(len(records))
    pairs = [
        maker.make(int(chosen[(i * len(methods) + m) % len(chosen)]), method)
        for i in range(per_method)
        for m, method in enumerate(methods)
    ]
    return FixedPairs(tuple(pairs))


def measure(network: TwoStreamNet, fixed: FixedPairs, batch: int = 16) -> dict[str, float]:
    """Frame AUC over all pairs and by method, share of pairs ordered rightly, and patch IoU.

    Keys: ``auc``, ``auc_<method>``, ``pair_accuracy``, ``patch_iou``. The network is left in the mode
    that it was in.
    """
    was_training = network.training
    network.eval()
    real = _scores(network, [p.real for p in fixed.pairs], batch)[0]
    forged, patches = _scores(network, [p.forged for p in fixed.pairs], batch)
    network.train(was_training)
    figures = {"auc": area_under_roc(forged, real), "pair_accuracy": float((forged > real).mean())}
    methods = np.array([p.method for p in fixed.pairs])
    for method in fixed.methods:
        figures[f"auc_{method}"] = area_under_roc(forged[methods == method], real)
    targets = np.stack([p.patches for p in fixed.pairs]) >= IOU_SHARE
    figures["patch_iou"] = _mean_iou(patches >= 0.0, targets)
    return figures


@torch.inference_mode()
def _scores(network: TwoStreamNet, crops: list[np.ndarray], batch: int) -> tuple[F64, F64]:
    """Logit of manipulation [n] and of each patch [n, g, g]."""
    logits: list[np.ndarray] = []
    patches: list[np.ndarray] = []
    for start in range(0, len(crops), batch):
        images: Tensor = torch.from_numpy(np.stack(crops[start : start + batch]))
        with mixed_precision():
            frame, patch = network(images)
        logits.append((frame[:, 1] - frame[:, 0]).double().numpy())
        patches.append((patch[:, 1] - patch[:, 0]).double().numpy())
    return np.concatenate(logits), np.concatenate(patches)


def area_under_roc(positive: F64, negative: F64) -> float:
    """Probability that a random positive scores above a random negative, ties counting one half."""
    score = np.concatenate([positive, negative])
    label = np.repeat(np.array([1, 0], np.int64), (len(positive), len(negative)))
    curve = RocMaker(score, label).curve(np.ones(len(score)))
    return float("nan") if curve is None else curve.area()


def _mean_iou(predicted: np.ndarray, target: np.ndarray) -> float:
    """Mean over faces of intersection over union; faces without a full forged cell are left out."""
    intersection = (predicted & target).sum((1, 2))
    union = (predicted | target).sum((1, 2))
    kept = target.any((1, 2))
    return float((intersection[kept] / union[kept]).mean()) if kept.any() else float("nan")
