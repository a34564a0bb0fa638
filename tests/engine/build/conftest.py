"""One imported lv-xception for all tests that need its 55 million weights."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.build.checkpoint import import_checkpoint
from engine.build.write import write_bundle
from engine.bundle import ModelBundle
from engine.network.two_stream import TwoStreamNet
from tests.engine.network.oracle import Array, Weights, reference_outputs
from tests.models import random_crops, reference_tensors


@dataclass(frozen=True)
class ImportedXception:
    """A random checkpoint of the semi-supervised reference, what we made of it, and what it should say."""

    net: TwoStreamNet
    bundle: ModelBundle
    crop: np.ndarray  # uint8 [1, 3, 299, 299]
    logits: Array
    patch_logits: Array
    projection: Array
    keys_read: frozenset[str]


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> ImportedXception:
    folder = tmp_path_factory.mktemp("xception")
    tensors = reference_tensors(3, projection=True)
    checkpoint = folder / "checkpoint-13.pth.tar"
    torch.save({"epoch": 14, "state_dict": {f"module.{k}": v for k, v in tensors.items()}}, checkpoint)
    net = import_checkpoint(checkpoint)
    checkpoint.unlink()
    bundle = write_bundle(net, folder / "bundle", name="random-xception", share_weights=False)
    crop, weights = random_crops(1, 299), Weights(tensors)
    logits, patch_logits, projection = reference_outputs(crop[0], weights)
    assert projection is not None
    return ImportedXception(net, bundle, crop, logits, patch_logits, projection, frozenset(weights.read))


@pytest.fixture(scope="session", autouse=True)
def _free_disk(tmp_path_factory: pytest.TempPathFactory):
    yield
    for bundle in Path(tmp_path_factory.getbasetemp()).glob("xception*/bundle/*"):
        bundle.unlink()
