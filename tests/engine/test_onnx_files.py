"""Every place where a graph can refer to another file is looked at, and no bytes crash the look."""

from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from engine.errors import BundleInvalid
from engine.onnx_files import external_locations


def outside(location: str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="location", value=location)
    return tensor


def empty_graph() -> onnx.GraphProto:
    return helper.make_graph([], "g", [], [])


def in_initialiser(tensor: TensorProto) -> onnx.ModelProto:
    return helper.make_model(helper.make_graph([], "g", [], [], [tensor]))


def in_constant(tensor: TensorProto) -> onnx.ModelProto:
    node = helper.make_node("Constant", [], ["c"], value=tensor)
    return helper.make_model(helper.make_graph([node], "g", [], []))


def in_branch(tensor: TensorProto) -> onnx.ModelProto:
    inner = helper.make_graph([], "inner", [], [], [tensor])
    node = helper.make_node("If", ["c"], ["o"], then_branch=inner, else_branch=empty_graph())
    return helper.make_model(helper.make_graph([node], "g", [], []))


def in_function(tensor: TensorProto) -> onnx.ModelProto:
    node = helper.make_node("Constant", [], ["c"], value=tensor)
    function = helper.make_function("ours", "f", [], ["c"], [node], [helper.make_opsetid("", 18)])
    return helper.make_model(empty_graph(), functions=[function])


def in_sparse(tensor: TensorProto) -> onnx.ModelProto:
    model = helper.make_model(empty_graph())
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(tensor)
    return model


def in_training(tensor: TensorProto) -> onnx.ModelProto:
    model = helper.make_model(empty_graph())
    model.training_info.add().algorithm.initializer.append(tensor)
    return model


@pytest.mark.parametrize(
    "place", [in_initialiser, in_constant, in_branch, in_function, in_sparse, in_training]
)
def test_a_location_is_found_wherever_it_stands(tmp_path: Path, place) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(place(outside("../../etc/passwd")).SerializeToString())
    assert external_locations(path) == {"../../etc/passwd"}


def test_arrays_inside_of_the_graph_need_no_location(tmp_path: Path) -> None:
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])
    path = tmp_path / "m.onnx"
    path.write_bytes(in_initialiser(tensor).SerializeToString())
    assert external_locations(path) == frozenset()


@pytest.mark.parametrize("content", [b"", b"\xff" * 20, b"\x3a\xff\xff\x03abc", b"\x0b", b"\x3a"])
def test_files_that_are_no_graphs_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(BundleInvalid, match="not an ONNX graph"):
        external_locations(path)


def length_of(content: bytes) -> bytes:
    length, digits = len(content), []
    while length > 0x7F:
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*digits, length])


def read_or_refuse(path: Path) -> frozenset[str]:
    try:
        return external_locations(path)
    except BundleInvalid:
        return frozenset()


def test_endless_nesting_is_refused(tmp_path: Path) -> None:
    content = b""
    for _ in range(100):  # graph in attribute in node, each field's number and length in front of it
        for field in (0x32, 0x2A, 0x0A):
            content = bytes([field]) + length_of(content) + content
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x3a" + length_of(content) + content)
    with pytest.raises(BundleInvalid, match="deep"):
        external_locations(path)


@given(content=st.binary(max_size=200))
@settings(max_examples=200)
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(content)
    assert all(isinstance(name, str) for name in read_or_refuse(path))


@given(cut=st.integers(0, 10_000), flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255))))
@settings(max_examples=100)
def test_damaged_graphs_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flips: list[tuple[int, int]]
) -> None:
    content = bytearray(in_branch(outside("weights.safetensors")).SerializeToString())
    for place, value in flips:
        content[place % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(content[: cut % (len(content) + 1)])
    assert all(isinstance(name, str) for name in read_or_refuse(path))
