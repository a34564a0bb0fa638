"""Export the three MTCNN networks of facenet-pytorch 2.6.0 (MIT) to the ONNX files that the detector reads.

    python tools/export_mtcnn.py [--out engine/faces/mtcnn]

Needs torch, onnx and ``pip install --no-deps facenet-pytorch==2.6.0``. The package is not imported, because
that needs a torchvision which fits torch; the classes' source is taken out of its file and run by itself.
"""

import argparse
import ast
import hashlib
import importlib.util
import os
from pathlib import Path

import torch

SIDES = {"PNet": 24, "RNet": 24, "ONet": 48}
"""Side of the example input; PNet is fully convolutional and takes any side from 12 px."""


def read_networks() -> dict[str, torch.nn.Module]:
    """Return PNet, RNet and ONet of the installed facenet-pytorch with its weights, ready for inference."""
    spec = importlib.util.find_spec("facenet_pytorch")
    if spec is None or spec.origin is None:
        raise SystemExit("facenet-pytorch is missing: pip install --no-deps facenet-pytorch==2.6.0")
    source = Path(spec.origin).parent / "models" / "mtcnn.py"
    tree = ast.parse(source.read_text())
    tree.body = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name in SIDES]
    namespace: dict[str, object] = {"torch": torch, "nn": torch.nn, "os": os, "__file__": str(source)}
    exec(compile(tree, str(source), "exec"), namespace)
    return {name: namespace[name]().eval() for name in SIDES}  # type: ignore[operator]


def export_network(network: torch.nn.Module, name: str, path: Path) -> None:
    """Write one network as ONNX with a dynamic batch and, for PNet, dynamic height and width."""
    axes = {0: "batch", 2: "height", 3: "width"} if name == "PNet" else {0: "batch"}
    outputs = ["offsets", "points", "faces"] if name == "ONet" else ["offsets", "faces"]
    dynamic = {"picture": axes} | {output: (axes if name == "PNet" else {0: "batch"}) for output in outputs}
    torch.onnx.export(
        network,
        (torch.zeros(2, 3, SIDES[name], SIDES[name]),),
        str(path),
        dynamo=False,  # the older exporter writes smaller files here and needs no onnxscript
        opset_version=17,
        input_names=["picture"],
        output_names=outputs,
        dynamic_axes=dynamic,
    )


def main() -> None:
    """Export all three and print each file's size and digest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("engine/faces/mtcnn"))
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for name, network in read_networks().items():
        path = folder / f"{name.lower()}.onnx"
        export_network(network, name, path)
        print(f"{path} {path.stat().st_size} bytes sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
