"""A small writer of ONNX graphs: nodes are added one by one, values are known by their names."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
IR_VERSION = 10

Attribute = int | float | str | Sequence[int]


class GraphWriter:
    """Collects nodes and initialisers of one graph in the order of computation."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._shapes: list[onnx.ValueInfoProto] = []
        self._initialisers: dict[str, TensorProto] = {}

    def op(
        self, kind: str, *inputs: str, attributes: Mapping[str, Attribute] | None = None, outputs: int = 1
    ) -> str:
        """Add a node and return the name of its first output; further ones are not read by anything."""
        output = f"{kind.lower()}_{len(self._nodes)}"
        names = [output, *(f"{output}_{place}" for place in range(1, outputs))]
        node = helper.make_node(kind, list(inputs), names, name=output)
        for key, value in (attributes or {}).items():
            node.attribute.append(helper.make_attribute(key, value))
        self._nodes.append(node)
        return output

    def declare(self, value: str, *shape: int) -> None:
        """State the shape of a float32 map behind its open batch, where engines cannot infer it."""
        dimensions: list[str | int] = ["batch", *shape]
        self._shapes.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, dimensions))

    def name_output(self, value: str, name: str) -> None:
        """Give a value the name under which the graph hands it out."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name=name))

    def constant(self, label: str, values: NDArray[np.float32] | NDArray[np.int64]) -> str:
        """Keep an array inside the graph; the same label must always mean the same array."""
        if label not in self._initialisers:
            self._initialisers[label] = numpy_helper.from_array(np.ascontiguousarray(values), label)
        return label

    def external(self, tensor: TensorProto) -> str:
        """Refer to an array that lies in another file."""
        self._initialisers.setdefault(tensor.name, tensor)
        return tensor.name

    def model(
        self,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        facts: Mapping[str, str],
    ) -> onnx.ModelProto:
        """Close the graph; ``facts`` become its metadata."""
        graph = helper.make_graph(
            self._nodes, self._name, list(inputs), list(outputs), list(self._initialisers.values())
        )
        graph.value_info.extend(self._shapes)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(
            graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="fakesieve"
        )
        helper.set_model_props(model, dict(facts))
        return model
