"""An imported checkpoint gives the reference's answers, computed independently in float64."""

import numpy as np
import torch

from engine.backends.select import choose_backend
from engine.build.reference import key_table
from engine.bundle import load_bundle
from tests.engine.build.conftest import ImportedXception
from tests.tolerance import REFERENCE_F32


def test_torch_gives_the_answers_of_the_reference(imported: ImportedXception) -> None:
    with torch.no_grad():
        outputs = imported.net.forward_train(torch.from_numpy(imported.crop).float() / 255)
    assert outputs.projection is not None
    np.testing.assert_allclose(outputs.logits[0], imported.logits, atol=REFERENCE_F32, rtol=0)
    np.testing.assert_allclose(outputs.patch_logits[0], imported.patch_logits, atol=REFERENCE_F32, rtol=0)
    np.testing.assert_allclose(outputs.projection[0], imported.projection, atol=REFERENCE_F32, rtol=0)


def test_the_bundle_gives_the_answers_of_the_reference(imported: ImportedXception) -> None:
    bundle = load_bundle(imported.bundle.directory)
    logits, patch_logits = choose_backend(bundle, threads=1).infer(imported.crop)
    assert patch_logits is not None
    np.testing.assert_allclose(logits[0], imported.logits, atol=REFERENCE_F32, rtol=0)
    np.testing.assert_allclose(patch_logits[0], imported.patch_logits, atol=REFERENCE_F32, rtol=0)


def test_triage_gives_the_same_logits(imported: ImportedXception) -> None:
    logits, patch_logits = choose_backend(imported.bundle, threads=1, triage=True).infer(imported.crop)
    assert patch_logits is None
    np.testing.assert_allclose(logits[0], imported.logits, atol=REFERENCE_F32, rtol=0)


def test_answers_are_not_too_small_to_tell(imported: ImportedXception) -> None:
    assert np.abs(imported.logits).max() > 1000 * REFERENCE_F32
    assert imported.patch_logits.std() > 100 * REFERENCE_F32
    assert imported.projection.std() > 100 * REFERENCE_F32


def test_every_tensor_that_counts_is_used_and_no_other(imported: ImportedXception) -> None:
    live = {
        key for key in key_table(projection=True).live.values() if not key.endswith("num_batches_tracked")
    }
    assert imported.keys_read == live


def test_the_bundle_keeps_the_projection_and_says_what_it_is(imported: ImportedXception) -> None:
    bundle = load_bundle(imported.bundle.directory)
    assert bundle.has_projection
    assert (bundle.network, bundle.input_size, bundle.grid) == ("lv-xception", 299, 19)
    assert set(bundle.files) == {"model.onnx", "triage.onnx", "weights.safetensors"}
    assert bundle.calibration is None
