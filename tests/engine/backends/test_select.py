"""The engine is chosen in a stated order, and every refusal says why and what to do."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openvino
import pytest

from engine.backends import select
from engine.backends.parity import Answers, compare_answers, probe_crops
from engine.backends.select import (
    ENGINES,
    GPU_ENGINES,
    check_engines,
    choose_backend,
    default_threads,
    list_engines,
)
from engine.bundle import ModelBundle
from engine.errors import BackendMissing, BundleInvalid
from tests.models import compact_bundle

find_spec = importlib.util.find_spec


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return compact_bundle(tmp_path_factory.mktemp("model") / "bundle")


def uninstall(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    monkeypatch.setattr(select, "find_spec", lambda name: None if name in packages else find_spec(name))


def test_onnxruntime_comes_first(bundle: ModelBundle) -> None:
    assert choose_backend(bundle).name == "onnxruntime"
    assert default_threads() >= 1


def test_an_engine_that_is_missing_is_passed_over(
    bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninstall(monkeypatch, "onnxruntime")
    assert choose_backend(bundle, threads=1).name == "openvino"


def test_an_engine_asked_for_by_name_is_not_replaced(
    bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninstall(monkeypatch, "safetensors")
    with pytest.raises(BackendMissing, match="torch: the package safetensors is not installed") as refusal:
        choose_backend(bundle, "torch")
    assert "pip install 'fakesieve[train]'" in refusal.value.hint


def test_all_refusals_are_named_when_there_is_no_engine(
    bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninstall(monkeypatch, "onnxruntime", "openvino", "torch")
    with pytest.raises(BackendMissing, match=r"onnxruntime: .*; openvino: .*; torch: ") as refusal:
        choose_backend(bundle)
    assert refusal.value.hint
    assert [status.version for status in list_engines()] == [None] * 5


def test_unknown_engines_and_precisions_are_refused(bundle: ModelBundle) -> None:
    with pytest.raises(BackendMissing, match="no engine 'tensorrt'"):
        choose_backend(bundle, "tensorrt")
    with pytest.raises(BackendMissing, match="does not compute in bf16"):
        choose_backend(bundle, "onnxruntime", precision="bf16")


def test_a_refused_precision_names_the_engines_that_have_it(bundle: ModelBundle) -> None:
    for engine, precision, able in (("auto", "bf16", "openvino"), ("torch", "f16", "onnxruntime-tensorrt")):
        with pytest.raises(BackendMissing, match=f"{engine} does not compute in {precision}") as refusal:
            choose_backend(bundle, engine, precision=precision)
        assert refusal.value.hint == f"for {precision} use --engine {able}"


def test_bfloat16_is_used_only_where_it_was_asked_for_and_the_processor_has_it(bundle: ModelBundle) -> None:
    assert choose_backend(bundle, "openvino", 1).precision == "f32"
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert choose_backend(bundle, "openvino", 1, precision="bf16").precision == "bf16"
    else:  # it would compute in f32 and not say so
        with pytest.raises(BackendMissing, match="does not compute in bf16 on this processor"):
            choose_backend(bundle, "openvino", 1, precision="bf16")


def test_an_engine_that_answers_differently_is_not_admitted(
    bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        __import__("engine.backends.parity", fromlist=["ABSOLUTE_MAX"]).ABSOLUTE_MAX, "f32", -1.0
    )
    with pytest.raises(BackendMissing, match="openvino differs from ONNX Runtime by"):
        choose_backend(bundle, "openvino", 1)


def test_every_engine_is_checked_in_a_line(bundle: ModelBundle) -> None:
    lines: Iterator[str] = check_engines(bundle)
    names = [line.split()[0] for line in lines]
    assert names == [*ENGINES, *[f"{name}:" for name in GPU_ENGINES]]  # those of a GPU are not there


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_graph_that_cannot_be_loaded_is_a_fault_of_the_bundle(
    bundle: ModelBundle, tmp_path: Path, engine: str
) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x08\x07 not a graph")
    broken = ModelBundle(tmp_path, "b", "lv-compact", 224, 14, has_projection=False, files=bundle.files)
    with pytest.raises(BundleInvalid, match="cannot load"):
        choose_backend(broken, engine, 1)


def test_weights_of_another_network_are_a_fault_of_the_bundle(bundle: ModelBundle) -> None:
    other = ModelBundle(
        bundle.directory, "b", "lv-xception", 299, 19, has_projection=False, files=bundle.files
    )
    with pytest.raises(BundleInvalid, match="do not fit"):
        choose_backend(other, "torch", 1)
    unknown = ModelBundle(bundle.directory, "b", "lv-9", 299, 19, has_projection=False, files=bundle.files)
    with pytest.raises(BundleInvalid, match="'lv-9' is not one of"):
        choose_backend(unknown, "torch", 1)


def test_parity_measures_the_largest_difference_and_flips() -> None:
    expected = Answers(np.array([[0.0, 1.0], [2.0, 0.0]], np.float32), None)
    seen = Answers(np.array([[0.5, 0.25], [2.0, 0.0]], np.float32), None)
    report = compare_answers(expected, seen)
    assert report.logits_max == pytest.approx(0.75)
    assert report.verdict_flips == 1
    assert report.patch_logits_max is None
    assert not report.passes


def test_answers_that_are_no_numbers_do_not_pass() -> None:
    expected = Answers(np.zeros((1, 2), np.float32), None)
    assert not compare_answers(expected, Answers(np.full((1, 2), np.nan, np.float32), None)).passes


def test_probe_crops_are_the_same_every_time() -> None:
    assert np.array_equal(probe_crops(32, 3), probe_crops(32, 3))
    assert probe_crops(32, 3).shape == (3, 3, 32, 32)
