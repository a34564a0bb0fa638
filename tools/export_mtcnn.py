"""Export the three MTCNN networks of facenet-pytorch 2.6.0 (MIT) to the ONNX files that the detector reads.

    python tools/export_mtcnn.py [--out engine/faces/mtcnn]

Needs torch, onnx and ``pip install --no-deps facenet-pytorch==2.6.0``. The package is not imported, because
that needs a torchvision which fits torch; the classes' source is taken out of its file and run by itself.

The graphs compute what the originals compute, arranged for ONNX Runtime on a CPU. It computes convolutions
in a layout of blocks of 16 channels and has no PReLU in it: the plain export changes the layout at each one
and spends half of its time there. Here every layer has a multiple of 16 channels, those added being zero, and
a PReLU is made of what stays in blocks: two convolutions of one channel each, or, before PNet's pool, where
the values are most, two of one pixel behind it. All heads are one layer, and the softmax over two is a logit.
bench/results/detector.md has the times.
"""

import argparse
import ast
import hashlib
import importlib.util
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SIDES = {"PNet": 24, "RNet": 24, "ONet": 48}
"""Side of the example input; PNet is fully convolutional and takes any side from 12 px."""
BLOCK = 16
"""Channels in a block of ONNX Runtime's layout with AVX-512; with AVX2 it has 8."""


def read_networks() -> dict[str, nn.Module]:
    """Return PNet, RNet and ONet of the installed facenet-pytorch with its weights, ready for inference."""
    spec = importlib.util.find_spec("facenet_pytorch")
    if spec is None or spec.origin is None:
        raise SystemExit("facenet-pytorch is missing: pip install --no-deps facenet-pytorch==2.6.0")
    source = Path(spec.origin).parent / "models" / "mtcnn.py"
    tree = ast.parse(source.read_text())
    tree.body = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name in SIDES]
    namespace: dict[str, Any] = {"torch": torch, "nn": nn, "os": os, "__file__": str(source)}
    exec(compile(tree, str(source), "exec"), namespace)
    return {name: namespace[name]().eval() for name in SIDES}


def pad_layer(weight: Tensor, bias: Tensor | None, inputs: int) -> nn.Conv2d:
    """Return a convolution of ``inputs`` channels to whole blocks; what was added is zero."""
    wide = nn.Conv2d(inputs, in_blocks(len(weight)), weight.shape[2:], bias=bias is not None)
    wide.weight.data.zero_()
    wide.weight.data[: len(weight), : weight.shape[1]] = weight
    if bias is not None and wide.bias is not None:
        wide.bias.data.zero_()
        wide.bias.data[: len(bias)] = bias
    return wide


def in_blocks(channels: int) -> int:
    """Round a number of channels up to whole blocks."""
    return -(-channels // BLOCK) * BLOCK


class SplitRectifier(nn.Module):
    """PReLU of slopes a as ``a x + relu((1 - a) x)``, each factor a convolution of one channel.

    A runtime joins the first with the sum and the second with the rectifier: two passes over the values. A
    slope above 1 takes three, ``a x + (1 - a) relu(x)``.
    """

    def __init__(self, slope: Tensor) -> None:
        super().__init__()
        width = in_blocks(len(slope))
        self.is_steep = bool((slope > 1).any())
        self.flat = nn.Conv2d(width, width, 1, groups=width, bias=False)
        self.rest = nn.Conv2d(width, width, 1, groups=width, bias=False)
        padded = torch.cat([slope, torch.zeros(width - len(slope))])[:, None, None, None]
        self.flat.weight.data, self.rest.weight.data = padded, 1 - padded

    def forward(self, values: Tensor) -> Tensor:
        """Run the layer."""
        rising = self.rest(torch.relu(values)) if self.is_steep else torch.relu(self.rest(values))
        return self.flat(values) + rising


def rectify(convolution: nn.Conv2d, prelu: nn.PReLU, inputs: int) -> nn.Sequential:
    """Return convolution and PReLU in whole blocks; ``inputs`` is the width of what comes before."""
    assert convolution.bias is not None
    wide = pad_layer(convolution.weight.data, convolution.bias.data, inputs)
    return nn.Sequential(wide, SplitRectifier(prelu.weight.data))


def pool_first(convolution: nn.Conv2d, prelu: nn.PReLU, pool: nn.Module) -> nn.Sequential:
    """Return the same function as convolution, PReLU and max pool with the rectifier behind the pool.

    Where the slope a is not negative, it commutes with the maximum. Where it is, max prelu(x) =
    max(max x, max a x), for which the convolution computes a x as well. With p = max x and, for channels of
    negative slope, q = max a x: one of p and q is never negative, so that max(p, q) = p + relu(q - p). For
    the others prelu(p) = relu(p) - a relu(-p).
    """
    slope, width = prelu.weight.data, convolution.out_channels
    falling = torch.nonzero(slope < 0)[:, 0]
    count = len(falling)
    assert convolution.bias is not None
    scaled = convolution.weight.data[falling] * slope[falling, None, None, None]
    weight = torch.cat([convolution.weight.data, scaled])
    bias = torch.cat([convolution.bias.data, convolution.bias.data[falling] * slope[falling]])
    first = pad_layer(weight, bias, convolution.in_channels)
    identity, chosen = torch.eye(width), torch.eye(width)[falling]
    parts = [identity, torch.zeros(width, count), -identity, torch.zeros(width, count)]
    rows = [torch.cat(parts[:2], 1), torch.cat(parts[2:], 1), torch.cat([-chosen, torch.eye(count)], 1)]
    apart = pad_layer(torch.cat(rows)[:, :, None, None], None, first.out_channels)  # to p, -p, q - p
    # p = relu(p) - relu(-p) for falling channels, which is a slope of 1.
    weights = [identity, -torch.diag(torch.where(slope < 0, 1.0, slope)), chosen.T]
    together = pad_layer(torch.cat(weights, 1)[:, :, None, None], None, apart.out_channels)
    return nn.Sequential(first, pool, apart, nn.ReLU(), together)


def join_heads(face: nn.Module, *others: nn.Module) -> tuple[Tensor, Tensor]:
    """Return weight and bias of one layer for all heads; the first output is the logit of 'a face'."""
    weights = [face.weight.data[1:] - face.weight.data[:1], *(head.weight.data for head in others)]
    biases = [face.bias.data[1:] - face.bias.data[:1], *(head.bias.data for head in others)]
    return torch.cat(weights), torch.cat(biases)


class FullyConvolutional(nn.Module):
    """PNet: picture [N, 3, H, W] to heads [N, 5, h, w]: logit, four offsets."""

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        front = pool_first(original.conv1, original.prelu1, original.pool1)
        second = rectify(original.conv2, original.prelu2, BLOCK)
        self.body = nn.Sequential(front, second, rectify(original.conv3, original.prelu3, BLOCK))
        self.heads = nn.Conv2d(32, 5, 1)
        self.heads.weight.data, self.heads.bias.data = join_heads(original.conv4_1, original.conv4_2)

    def forward(self, picture: Tensor) -> Tensor:
        """Run the network."""
        return self.heads(self.body(picture))


class WithDenseHeads(nn.Module):
    """RNet and ONet: pictures [N, 3, S, S] to heads [N, 5 or 15]: logit, offsets, x and then y of points."""

    def __init__(self, stages: list[nn.Module], grid: int, dense: nn.Linear, prelu: nn.PReLU) -> None:
        super().__init__()
        self.stages = nn.Sequential(*stages, nn.Flatten())
        self.dense = nn.Linear(dense.in_features, dense.out_features)
        # The original flattens as width, height, channel.
        weight = dense.weight.data.view(dense.out_features, grid, grid, -1)
        self.dense.weight.data = weight.permute(0, 3, 2, 1).flatten(1).contiguous()
        self.dense.bias.data = dense.bias.data
        self.prelu = prelu
        self.heads = nn.Linear(1, 1)

    def with_heads(self, *heads: nn.Module) -> "WithDenseHeads":
        """Set the last layer from the original's."""
        self.heads.weight.data, self.heads.bias.data = join_heads(*heads)
        return self

    def forward(self, picture: Tensor) -> Tensor:
        """Run the network."""
        return self.heads(self.prelu(self.dense(self.stages(picture))))


def rearrange(name: str, net: nn.Module) -> nn.Module:
    """Return the network with the same function in the form that runs fast."""
    if name == "PNet":
        return FullyConvolutional(net).eval()
    stages: list[nn.Module] = [
        rectify(net.conv1, net.prelu1, 3),
        net.pool1,
        rectify(net.conv2, net.prelu2, 2 * BLOCK),
        net.pool2,
    ]
    if name == "RNet":
        stages.append(rectify(net.conv3, net.prelu3, 3 * BLOCK))
        lean = WithDenseHeads(stages, 3, net.dense4, net.prelu4).with_heads(net.dense5_1, net.dense5_2)
    else:
        stages += [rectify(net.conv3, net.prelu3, 4 * BLOCK), net.pool3]
        stages.append(rectify(net.conv4, net.prelu4, 4 * BLOCK))
        heads = net.dense6_1, net.dense6_2, net.dense6_3
        lean = WithDenseHeads(stages, 3, net.dense5, net.prelu5).with_heads(*heads)
    return lean.eval()


def export_network(network: nn.Module, name: str, path: Path) -> None:
    """Write one network as ONNX with a dynamic batch and, for PNet, dynamic height and width."""
    axes = {0: "batch", 2: "height", 3: "width"} if name == "PNet" else {0: "batch"}
    torch.onnx.export(
        network,
        (torch.zeros(2, 3, SIDES[name], SIDES[name]),),
        str(path),
        dynamo=False,  # the older exporter writes smaller files here and needs no onnxscript
        opset_version=17,
        input_names=["picture"],
        output_names=["heads"],
        dynamic_axes={"picture": axes, "heads": axes},
    )


def main() -> None:
    """Export all three and print each file's size and digest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("engine/faces/mtcnn"))
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for name, network in read_networks().items():
        path = folder / f"{name.lower()}.onnx"
        export_network(rearrange(name, network), name, path)
        print(f"{path} {path.stat().st_size} bytes sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
