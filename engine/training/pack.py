"""Turns trained weights into a bundle, with thresholds from real faces that training never saw."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from engine.aggregate import sigmoid
from engine.arrays import F64, U8
from engine.backends.protocol import Backend
from engine.backends.select import choose_backend
from engine.build.write import write_bundle
from engine.bundle import ModelBundle, write_manifest
from engine.calibrate import fit_threshold
from engine.errors import BundleInvalid
from engine.network.two_stream import TwoStreamNet
from engine.policy import Threshold
from engine.results import RejectReason
from engine.training.degrade import draw_degradation
from engine.training.faces import FaceContext, FaceRecord, load_context
from engine.training.pairs import crop_degraded

FALSE_POSITIVE_RATES = (0.10, 0.05, 0.01)
_BATCH = 32
_SEED = 20231106  # of the degradations: the same faces give the same thresholds


def pack_model(
    network: TwoStreamNet, faces: list[FaceRecord], directory: Path, *, name: str, card: Mapping[str, str]
) -> ModelBundle:
    """Write the bundle of ``network`` and fit its thresholds on ``faces``, which are real and unseen.

    The scores are those of the finished graph on ONNX Runtime. Each face is one picture, so a threshold
    states the rate of false alarms per picture. Raises ``TooFewLabels`` for fewer than 30 faces.
    """
    network.eval()
    draft = write_bundle(network, directory, name=name, share_weights=True, card=card)
    scores = score_real_faces(choose_backend(draft, "onnxruntime"), faces)
    thresholds = [fit_threshold(scores, rate) for rate in FALSE_POSITIVE_RATES]
    packed = replace(draft, thresholds=tuple(_in_order(thresholds)))
    write_manifest(packed)
    return packed


def score_real_faces(backend: Backend, faces: list[FaceRecord]) -> F64:
    """P(manipulated) of each face, [n], each degraded once as videos are on their way to a platform.

    On untouched pictures false alarms are rarer than on video: thresholds from them would promise too much.
    """
    rng = np.random.default_rng(_SEED)
    logits: list[F64] = []
    for start in range(0, len(faces), _BATCH):
        contexts = [load_context(face) for face in faces[start : start + _BATCH]]
        crops = [_degraded_crop(context, backend.input_size, rng) for context in contexts]
        frame, _ = backend.infer(np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2)))
        logits.append((frame[:, 1] - frame[:, 0]).astype(np.float64))
    return sigmoid(np.concatenate(logits))


def _degraded_crop(face: FaceContext, size: int, rng: np.random.Generator) -> U8:
    chain = draw_degradation(max(face.box[2:]), rng)
    return crop_degraded(face.picture, face.box, chain, size)


def _in_order(thresholds: list[Threshold]) -> list[Threshold]:
    return sorted(thresholds, key=lambda threshold: -threshold.fpr_target)


def read_card(file: Path) -> dict[str, str]:
    """Read the model's card, a JSON object of subject and text. Raises BundleInvalid for anything else."""
    try:
        form = cast("object", json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as fault:
        raise _refuse_card(f"{file} cannot be read: {fault}") from fault
    fields = cast("dict[object, object]", form) if isinstance(form, dict) else {None: None}
    card = {
        subject: text
        for subject, text in fields.items()
        if isinstance(subject, str) and isinstance(text, str)
    }
    if len(card) != len(fields):
        raise _refuse_card(f"{file} holds no JSON object whose values are all texts")
    return card


def _refuse_card(seen: str) -> BundleInvalid:
    hint = 'write an object of subjects and texts, as {"training data": "faces of ..."}'
    return BundleInvalid(RejectReason.MODEL_INVALID, seen, hint)
