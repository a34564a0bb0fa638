"""The parts of Xception against sums of shifted products in float64."""

import numpy as np
import pytest
import torch

from engine.network.xception import SeparableConvNorm, XceptionBlock, XceptionStream
from tests.engine.network import oracle
from tests.models import randomise
from tests.tolerance import LAYER_F32


def named_as_reference(block: XceptionBlock, first: int) -> dict[str, np.ndarray]:
    """The block's tensors under the reference's names for a block called ``b``."""
    weights = {}
    for index, layer in enumerate(block.separable):
        place = first + 3 * index
        for key, value in layer.state_dict().items():
            ours, field = key.split(".", 1)
            name = {
                "depthwise": f"rep.{place}.conv1",
                "pointwise": f"rep.{place}.pointwise",
                "norm": f"rep.{place + 1}",
            }
            weights[f"b.{name[ours]}.{field}"] = value.double().numpy()
    if block.skip is not None:
        for key, value in block.skip.state_dict().items():
            ours, field = key.split(".", 1)
            weights[f"b.{'skip' if ours == 'conv' else 'skipbn'}.{field}"] = value.double().numpy()
    return weights


@pytest.mark.parametrize(
    ("widths", "downsample", "first", "side"),
    [
        ((4, 6, 6), True, 0, 11),
        ((4, 6, 6), True, 1, 12),
        ((4, 4, 4, 4), False, 1, 7),
        ((4, 4, 6), True, 1, 9),
    ],
    ids=["block 1", "blocks 2 and 3", "blocks 4 to 11", "block 12"],
)
def test_blocks_skip_the_input_as_it_was_and_end_before_the_relu(
    widths: tuple[int, ...], downsample: bool, first: int, side: int
) -> None:
    block = XceptionBlock(widths, downsample=downsample, starts_with_relu=first == 1).eval()
    randomise(block, 2)
    values = np.random.default_rng(1).normal(0, 1, (widths[0], side, side))
    places = tuple(first + 3 * index for index in range(len(widths) - 1))
    expected = oracle.xception_block(values, named_as_reference(block, first), "b", places)
    given = torch.from_numpy(values[None]).float()
    before = given.clone()
    with torch.no_grad():
        seen = block(given)[0].numpy()
    assert torch.equal(given, before)
    assert seen.min() < 0
    np.testing.assert_allclose(seen, expected, atol=LAYER_F32)


def test_block_twelve_grows_at_its_second_convolution() -> None:
    exit_block = XceptionStream(with_exit=True).part3
    assert exit_block is not None
    widths = [layer.pointwise.out_channels for layer in exit_block.block.separable]
    assert widths == [728, 1024]


def test_separable_convolution_filters_each_channel_then_mixes() -> None:
    layer = SeparableConvNorm(3, 5, rectify=False).eval()
    values = np.random.default_rng(1).normal(0, 1, (3, 6, 6))
    filtered = oracle.convolve_depthwise(values, layer.depthwise.weight.detach().double().numpy())
    mixed = oracle.convolve(filtered, layer.pointwise.weight.detach().double().numpy())
    with torch.no_grad():
        seen = layer(torch.from_numpy(values[None]).float())[0].numpy()
    np.testing.assert_allclose(seen, mixed / np.sqrt(1 + 1e-5), atol=LAYER_F32)


def test_the_localisation_stream_has_no_exit() -> None:
    assert XceptionStream(with_exit=False).part3 is None
