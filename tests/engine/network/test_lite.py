"""EfficientNet-Lite0 in parts: shapes, the padding of its weights, and the loading of published ones."""

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.errors import BundleInvalid
from engine.network.lite import InvertedResidual, LiteStream, load_lite0_weights, read_lite0_weights
from tests.engine.network import oracle
from tests.models import published_lite0_weights, randomise
from tests.tolerance import LAYER_F32

PARTS = ("part1_0", "part1_1", "part1_2", "part1_3", "part2_0", "part2_1", "part3")


def relu6(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 6)


def test_parts_have_the_shapes_that_the_two_streams_exchange() -> None:
    stream = LiteStream(with_exit=True).eval()
    maps, shapes = torch.zeros(1, 3, 224, 224), []
    with torch.no_grad():
        for part in PARTS:
            maps = getattr(stream, part)(maps)
            shapes.append(tuple(maps.shape[1:]))
    sides = [(16, 112), (24, 56), (40, 28), (80, 14), (112, 14), (112, 14), (1280, 7)]
    assert shapes == [(channels, side, side) for channels, side in sides]


def test_the_stream_has_the_blocks_of_the_published_network() -> None:
    blocks = LiteStream(with_exit=True).blocks()
    widths = [block.project.conv.out_channels for block in blocks]
    kernels = [block.depthwise.conv.kernel_size[0] for block in blocks]
    strides = [block.depthwise.conv.stride[0] for block in blocks]
    assert widths == [16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112, 192, 192, 192, 192, 320]
    assert kernels == [3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3]
    assert [index for index, stride in enumerate(strides) if stride == 2] == [1, 3, 5, 11]


@pytest.mark.parametrize(("kernel", "pads"), [(3, (0, 1)), (5, (1, 2))])
def test_strided_layers_pad_right_and_below_first(kernel: int, pads: tuple[int, int]) -> None:
    block = InvertedResidual(3, 4, kernel=kernel, stride=2).eval()
    randomise(block, 3)
    values = np.random.default_rng(2).normal(0, 1, (3, 10, 10))
    assert block.expand is not None
    inner = _apply(oracle.convolve(values, _weight(block.expand)), block.expand)
    inner = oracle.convolve_depthwise(relu6(inner), _weight(block.depthwise), 2, pads)
    inner = relu6(_apply(inner, block.depthwise))
    expected = _apply(oracle.convolve(inner, _weight(block.project)), block.project)
    with torch.no_grad():
        seen = block(torch.from_numpy(values[None]).float())[0].numpy()
    assert seen.shape == (4, 5, 5)
    np.testing.assert_allclose(seen, expected, atol=LAYER_F32)


def _weight(layer: torch.nn.Module) -> np.ndarray:
    return layer.conv.weight.detach().double().numpy()


def _apply(values: np.ndarray, layer: torch.nn.Module) -> np.ndarray:
    weights = {f"n.{key}": value.double().numpy() for key, value in layer.norm.state_dict().items()}
    return oracle.norm(values, weights, "n", eps=1e-3)


@pytest.mark.parametrize("with_exit", [True, False])
def test_published_weights_reach_every_layer(with_exit: bool) -> None:
    stream = LiteStream(with_exit=with_exit)
    published = published_lite0_weights(LiteStream(with_exit=True))
    before = {key: value.clone() for key, value in stream.state_dict().items()}
    load_lite0_weights(stream, published)
    unchanged = [
        key
        for key, value in stream.state_dict().items()
        if torch.equal(value, before[key]) and not key.endswith("num_batches_tracked")
    ]
    assert unchanged == []


def test_other_weights_are_refused_by_name() -> None:
    stream = LiteStream(with_exit=True)
    published = published_lite0_weights(stream)
    del published["_blocks.3._bn1.running_var"]
    with pytest.raises(BundleInvalid, match=r"_blocks\.3\._bn1\.running_var"):
        load_lite0_weights(stream, published)


def test_a_weights_file_holds_tensors_only(tmp_path: Path) -> None:
    path = tmp_path / "lite0.pth"
    torch.save({"_conv_stem.weight": torch.ones(32, 3, 3, 3)}, path)
    assert torch.equal(read_lite0_weights(path)["_conv_stem.weight"], torch.ones(32, 3, 3, 3))
