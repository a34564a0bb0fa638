"""The model that is shipped stays small: parameters, bytes, and multiply-adds of a face."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import shape_inference
from safetensors import safe_open

from engine.bundle import GRAPH, WEIGHTS, ModelBundle, load_bundle
from engine.model_names import DEFAULT_MODEL

PARAMETERS_MOST = 10_000_000
BYTES_MOST = 40_000_000
MULTIPLY_ADDS_MOST = 1_500_000_000
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shipped() -> ModelBundle:
    return load_bundle(ROOT / "engine" / "models" / DEFAULT_MODEL)


def test_parameters_are_few(shipped: ModelBundle) -> None:
    with safe_open(str(shipped.path(WEIGHTS)), "np") as tensors:
        count = sum(int(np.prod(tensors.get_slice(name).get_shape())) for name in tensors.keys())  # noqa: SIM118 - no mapping
    assert 1_000_000 < count <= PARAMETERS_MOST


def test_files_are_small(shipped: ModelBundle) -> None:
    files = [path for path in shipped.directory.rglob("*") if path.is_file()]
    assert {GRAPH, WEIGHTS} <= {path.name for path in files}
    assert sum(path.stat().st_size for path in files) <= BYTES_MOST


def test_a_face_costs_few_multiply_adds_and_as_many_as_the_card_says(shipped: ModelBundle) -> None:
    count = count_multiply_adds(onnx.load(str(shipped.path(GRAPH)), load_external_data=False))
    assert count <= MULTIPLY_ADDS_MOST
    said = f"{count / 1e9:.2f} billion multiply-adds per face"
    assert said in (ROOT / "docs" / "model-card.md").read_text(encoding="utf-8")


def test_multiply_adds_of_known_layers_are_counted() -> None:
    """A convolution 3 x 3 from 2 to 4 channels at stride 2, in two groups, and a product with a matrix."""
    nodes = [
        onnx.helper.make_node("Conv", ["crops", "w"], ["c"], strides=[2, 2], pads=[1] * 4, group=2),
        onnx.helper.make_node("Flatten", ["c"], ["flat"]),
        onnx.helper.make_node("MatMul", ["flat", "m"], ["out"]),
    ]
    tensors = [onnx.numpy_helper.from_array(np.zeros(shape, np.float32), name)
               for name, shape in (("w", (4, 1, 3, 3)), ("m", (64, 5)))]  # fmt: skip
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
              for name, shape in (("crops", ["batch", 2, 8, 8]), ("out", ["batch", 5]))]  # fmt: skip
    graph = onnx.helper.make_graph(nodes, "known", values[:1], values[1:], tensors)
    assert count_multiply_adds(onnx.helper.make_model(graph)) == 4 * 4 * 4 * 9 + 64 * 5


def count_multiply_adds(model: onnx.ModelProto) -> int:
    """Return the multiply-adds of one crop in convolutions and matrix products, by inferred shapes."""
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    batch.Clear()
    batch.dim_value = 1
    graph = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
              for value in (*graph.value_info, *graph.input, *graph.output)}  # fmt: skip
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    return sum(_cost(node, shapes) for node in graph.node)


def _cost(node: onnx.NodeProto, shapes: Mapping[str, Sequence[int]]) -> int:
    """Return one node's share: the numbers it gives times the products that each of them sums."""
    if node.op_type not in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
        return 0
    given, weights, made = (shapes[name] for name in (*node.input[:2], node.output[0]))
    assert 0 not in (*given, *weights, *made), f"a shape of {node.name} is not known"
    assert node.op_type != "ConvTranspose", "its products are counted otherwise"
    if node.op_type == "Conv":
        return int(np.prod(made) * np.prod(weights[1:]))
    turned = any(each.name == "transA" and each.i for each in node.attribute)
    return int(np.prod(made) * (given[0] if turned else given[-1]))
