"""The engines of a GPU: when they are tried, when they are left, and what they are asked for.

Most of it runs without a GPU: the providers that the runtime offers are made up, and a session that says it
runs on one computes on the processor. The last test needs the real thing.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest

from engine.backends import onnx_gpu, select
from engine.backends.onnx_gpu import CUDA_PROVIDER, GPU_ENGINES, TENSORRT_PROVIDER
from engine.backends.parity import probe_crops
from engine.backends.select import choose_backend, largest_batch, list_engines
from engine.bundle import ModelBundle
from engine.errors import BackendFailed, BackendMissing
from tests.models import compact_bundle
from tests.tolerance import ENGINES_F32
from workers.inference_loop import infer_rungs

Asked = list[list[tuple[str, dict[str, str]]]]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return compact_bundle(tmp_path_factory.mktemp("model") / "bundle")


def offer(monkeypatch: pytest.MonkeyPatch, *providers: str) -> None:
    monkeypatch.setattr(select, "list_providers", lambda: frozenset({*providers, "CPUExecutionProvider"}))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """A runtime that offers both providers and starts what it is asked for; returns what that was."""
    asked: Asked = []
    real: Callable[..., Any] = onnxruntime.InferenceSession

    class Session:
        """Computes on the processor and says otherwise; one batch may be spoilt."""

        spoil: Callable[[list[np.ndarray]], list[np.ndarray]] = staticmethod(lambda answers: answers)

        def __init__(self, path: str, options: object, providers: Any, enable_fallback: int = 1) -> None:
            is_gpu = providers[0] != "CPUExecutionProvider"
            if is_gpu:
                assert not enable_fallback
                asked.append(providers)
            self._is_gpu = is_gpu
            self._names = [each[0] if is_gpu else each for each in providers]
            self._session = real(path, options, ["CPUExecutionProvider"])

        def get_providers(self) -> list[str]:
            return self._names

        def run(self, outputs: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            answers = self._session.run(outputs, feed)
            return type(self).spoil(answers) if self._is_gpu else answers

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(onnx_gpu, "gpu_ladder_for", lambda bundle: (4, 2, 1))  # 64 take seconds here
    offer(monkeypatch, CUDA_PROVIDER, TENSORRT_PROVIDER)
    return asked


def test_the_gpu_comes_first_where_the_runtime_offers_it(bundle: ModelBundle, gpu: Asked) -> None:
    backend = choose_backend(bundle, threads=1)
    assert (backend.name, backend.precision, backend.ladder) == ("onnxruntime-cuda", "f32", (4, 2, 1))
    ((provider, options),) = gpu[0]
    assert provider == CUDA_PROVIDER
    assert options["use_tf32"] == "0"
    assert options["cudnn_conv_algo_search"] == "HEURISTIC"
    expected = choose_backend(bundle, "onnxruntime", 1).infer(probe_crops(bundle.input_size, 3))
    for ours, theirs in zip(backend.infer(probe_crops(bundle.input_size, 3)), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=ENGINES_F32)


@pytest.mark.parametrize(("precision", "flag"), [("f32", "0"), ("f16", "1")])
def test_tensorrt_is_asked_for_by_name_and_says_its_precision(
    bundle: ModelBundle, gpu: Asked, precision: str, flag: str
) -> None:
    backend = choose_backend(bundle, "onnxruntime-tensorrt", precision=precision)
    assert (backend.name, backend.precision) == ("onnxruntime-tensorrt", precision)
    assert [name for name, _ in gpu[0]] == [TENSORRT_PROVIDER, CUDA_PROVIDER]
    assert gpu[0][0][1] == {"trt_fp16_enable": flag}


def test_a_gpu_that_computes_something_else_is_not_admitted(
    bundle: ModelBundle, gpu: Asked, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session: Any = onnxruntime.InferenceSession
    monkeypatch.setattr(session, "spoil", staticmethod(lambda answers: [answers[0] + 0.01, *answers[1:]]))
    with pytest.raises(BackendMissing, match=r"onnxruntime-cuda differs from ONNX Runtime by 1\.0e-02"):
        choose_backend(bundle, "onnxruntime-cuda", 1)
    assert choose_backend(bundle, "auto", 1).name == "onnxruntime"
    assert "onnxruntime-cuda is not used: onnxruntime-cuda differs" in caplog.text


def test_a_runtime_that_offers_a_gpu_on_a_machine_without_one_is_told(
    bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, CUDA_PROVIDER)
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):  # of the runtime: it goes on without
        assert choose_backend(bundle, "auto", 1).name == "onnxruntime"
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(BackendMissing, match="CUDAExecutionProvider did not start"),
    ):
        choose_backend(bundle, "onnxruntime-cuda", 1)


@pytest.mark.parametrize("engine", GPU_ENGINES)
def test_a_runtime_without_the_provider_says_what_to_install(bundle: ModelBundle, engine: str) -> None:
    with pytest.raises(BackendMissing, match=GPU_ENGINES[engine].provider) as refusal:
        choose_backend(bundle, engine)
    assert "onnxruntime-gpu" in refusal.value.hint
    assert engine in [status.name for status in list_engines() if status.refusal]


def test_a_gpu_without_memory_scores_smaller_batches(
    bundle: ModelBundle, gpu: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, session = choose_backend(bundle, "onnxruntime-cuda", 1), onnxruntime.InferenceSession

    def run_out(answers: list[np.ndarray]) -> list[np.ndarray]:
        if len(answers[0]) > 1:
            raise MemoryError("CUDA failure 2: out of memory")
        return answers

    monkeypatch.setattr(session, "spoil", staticmethod(run_out))
    crops = probe_crops(bundle.input_size, 4)
    with pytest.raises(BackendFailed, match="out of memory"):
        backend.infer(crops)
    assert infer_rungs(backend, crops, backend.ladder).logits.shape == (4, 2)


def test_room_for_crops_follows_the_engine_that_will_be_chosen(
    bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert largest_batch(bundle) == 4
    offer(monkeypatch, CUDA_PROVIDER)
    assert largest_batch(bundle) == 64
    assert largest_batch(bundle, "onnxruntime-cuda") == 64
    assert largest_batch(bundle, "onnxruntime") == 4
    assert largest_batch(bundle, "onnxruntime-tensorrt") == 4  # it will be refused


@pytest.mark.needs_gpu
@pytest.mark.parametrize("engine", GPU_ENGINES)
def test_a_real_gpu_answers_as_the_processor_does(bundle: ModelBundle, engine: str) -> None:
    crops = probe_crops(bundle.input_size, 64)
    backend = choose_backend(bundle, engine)
    expected, _ = choose_backend(bundle, "onnxruntime").infer(crops)
    np.testing.assert_allclose(backend.infer(crops)[0], expected, atol=1e-3)
