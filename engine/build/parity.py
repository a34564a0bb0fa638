"""The gate that a graph passes before it is kept: the same answers as the network in PyTorch."""

from pathlib import Path

import torch

from engine.arrays import U8
from engine.backends.onnx import open_graph
from engine.backends.parity import Answers, ParityReport, compare_answers
from engine.errors import BundleInvalid
from engine.network.two_stream import TwoStreamNet
from engine.results import RejectReason


def ask_network(net: TwoStreamNet, crops: U8) -> Answers:
    """Run the network in PyTorch, in float32 and in evaluation mode."""
    was_training = net.training
    net.eval()
    with torch.inference_mode():
        logits, patches = net.forward(torch.from_numpy(crops))
    net.train(was_training)
    return Answers(logits.numpy(), patches.numpy())


def check_graph(path: Path, crops: U8, expected: Answers) -> ParityReport:
    """Run a graph in ONNX Runtime over the crops. Raises BundleInvalid if it answers differently."""
    logits, *patches = open_graph(path, threads=1).run(None, {"crops": crops})
    report = compare_answers(expected, Answers(logits, patches[0] if patches else None))
    if not report.passes:
        raise BundleInvalid(
            RejectReason.MODEL_INVALID,
            f"{path.name} differs from the network by {report.describe()}",
            "the weights may be far outside of any trained range; nothing was kept",
        )
    return report
