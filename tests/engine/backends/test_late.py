"""A backend that goes on loading: sizes are known at once, answers wait, faults reach whoever asks."""

import threading
from pathlib import Path

import numpy as np
import pytest

from engine.backends.late import LateBackend
from engine.backends.protocol import ladder_for
from engine.backends.select import GPU_ENGINES, is_late
from engine.errors import BundleInvalid
from engine.results import RejectReason
from engine.sandbox.handle import Sandbox
from engine.screen import ScanTools, scan_video
from tests.engine.fakes import FAKE_BUNDLE, GRID, SIDE, OneFaceDetector, ShadeBackend
from tests.media import draw_clip
from tests.waiting import PATIENCE_S


def fail() -> ShadeBackend:
    raise BundleInvalid(RejectReason.MODEL_INVALID, "no graph", "make it again")


def test_sizes_are_known_while_it_is_loading_and_answers_wait() -> None:
    may_load = threading.Event()

    def load() -> ShadeBackend:
        assert may_load.wait(PATIENCE_S)
        return ShadeBackend()

    late = LateBackend(FAKE_BUNDLE, load)
    assert (late.input_size, late.grid, late.ladder) == (SIDE, GRID, ladder_for(FAKE_BUNDLE))
    may_load.set()
    crops = np.full((2, 3, SIDE, SIDE), 148, np.uint8)
    assert late.infer(crops)[0].tolist() == ShadeBackend().infer(crops)[0].tolist()
    assert (late.name, late.precision) == ("shades", "f32")


def test_a_model_that_cannot_be_loaded_is_no_fault_of_an_input(tmp_path: Path, sandbox: Sandbox) -> None:
    clip = draw_clip(tmp_path / "clip.mp4", frames=40)
    for path in (clip, tmp_path / "missing.mp4"):
        tools = ScanTools(FAKE_BUNDLE, LateBackend(FAKE_BUNDLE, fail), OneFaceDetector(), sandbox)
        with pytest.raises(BundleInvalid, match="no graph"):
            scan_video(path, tools)


def test_only_the_default_engine_is_late() -> None:
    assert is_late("onnxruntime")
    assert is_late("auto")
    assert not any(is_late(name) for name in ("openvino", "torch", *GPU_ENGINES))
