"""The restructured graphs against a plain export and against torch, and lv-compact against lv-xception.

Usage: python -m bench.export [--rounds N] [--threads 1,2] [--out DIR]. Weights are random from a fixed seed.
Every contender scores one face at a time, in turns within a round, so that what slows the machine slows all.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from bench.report import Figure, format_table, ratio
from bench.run import describe_machine
from engine.arrays import U8
from engine.backends.onnx import open_graph
from engine.backends.parity import probe_crops
from engine.build.export import GraphKind, export_graph
from engine.network.fusion import GuidedAttention
from engine.network.two_stream import TwoStreamNet
from engine.network.variants import build_lv_compact, build_lv_xception

OUT = Path(__file__).parent / "results"
FACES_PER_TURN = {"lv-xception": 1, "lv-compact": 8}  # so that a turn of each lasts some tenths of a second
Score = Callable[[U8], object]


@dataclass(frozen=True)
class Contender:
    """One way to score a face of one network."""

    network: str
    way: str
    side: int
    score: Score

    @property
    def name(self) -> str:
        return f"{self.network}, {self.way}"


def build(network: str) -> TwoStreamNet:
    """Build a network with random weights and gammas that are not zero."""
    torch.manual_seed(1)
    net = build_lv_xception() if network == "lv-xception" else build_lv_compact()
    for module in net.modules():
        if isinstance(module, GuidedAttention):
            module.gamma.data.fill_(0.5)
    return net.eval()


class PlainLayout(nn.Module):
    """A network whose maps stay channels first, as in code that does not choose a layout."""

    def __init__(self, net: TwoStreamNet) -> None:
        super().__init__()
        self.net = net
        for stream in (net.rgb, net.noise):
            stream.part1_0.register_forward_pre_hook(lambda _, given: (given[0].contiguous(),))

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        return self.net(crops)


def export_plain(net: nn.Module, side: int, path: Path) -> None:
    """Write the graph that torch's own exporter makes of the network as it is."""
    crops = torch.zeros(2, 3, side, side, dtype=torch.uint8)
    program = torch.onnx.export(
        net,
        (crops,),
        dynamo=True,
        opset_version=18,
        input_names=["crops"],
        output_names=["logits", "patch_logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None
    program.save(str(path))


def run_torch(net: nn.Module, threads: int) -> Score:
    """Score with torch; the number of threads is set anew, for it holds for the whole process."""

    def score(crops: U8) -> object:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            return net(torch.from_numpy(crops))

    return score


def run_onnx(path: Path, threads: int) -> Score:
    """Score with ONNX Runtime."""
    session = open_graph(path, threads)
    return lambda crops: session.run(None, {"crops": crops})


def make_graphs(folder: Path) -> dict[str, TwoStreamNet]:
    """Write all graphs into a folder and return the networks behind them."""
    nets = {network: build(network) for network in FACES_PER_TURN}
    for network, net in nets.items():
        for kind in GraphKind:
            onnx.save(export_graph(net, kind), folder / f"{network}-{kind}.onnx")
        export_plain(build(network), net.sizes.input_px, folder / f"{network}-plain.onnx")
    return nets


def contenders(folder: Path, nets: dict[str, TwoStreamNet], threads: int) -> list[Contender]:
    """All ways to score, loaded for a number of threads."""
    found: list[Contender] = []
    for network, net in nets.items():
        side = net.sizes.input_px
        ways = {
            "torch, channels first": run_torch(PlainLayout(build(network)).eval(), threads),
            "torch": run_torch(net, threads),
            "restructured": run_onnx(folder / f"{network}-full.onnx", threads),
            "triage": run_onnx(folder / f"{network}-triage.onnx", threads),
            "plain export": run_onnx(folder / f"{network}-plain.onnx", threads),
        }
        found += [Contender(network, way, side, score) for way, score in ways.items()]
    return found


def measure(ways: list[Contender], rounds: int) -> dict[str, Figure]:
    """Milliseconds for one face by each contender in every round, after one turn that does not count."""
    times: dict[str, list[float]] = {way.name: [] for way in ways}
    for turn in range(rounds + 1):
        for way in ways:
            faces = FACES_PER_TURN[way.network]
            crop = probe_crops(way.side, 1)
            start = time.perf_counter()
            for _ in range(faces):
                way.score(crop)
            if turn:
                times[way.name].append(1000 * (time.perf_counter() - start) / faces)
    return {name: Figure(name, "ms", tuple(values)) for name, values in times.items()}


def figures_of(measured: dict[str, Figure], threads: int) -> list[Figure]:
    """Add the ratios that the design is judged by."""
    eager, ours = measured["lv-xception, torch, channels first"], measured["lv-xception, restructured"]
    compact = measured["lv-compact, restructured"]
    ratios = [
        *_graph_ratios(measured),
        ratio("lv-xception: ONNX Runtime over torch, channels first", eager, ours),
        ratio("lv-xception: ONNX Runtime over torch", measured["lv-xception, torch"], ours),
        ratio("lv-xception: triage over torch, channels first", eager, measured["lv-xception, triage"]),
        ratio("lv-compact over lv-xception, per face", ours, compact),
        Figure("lv-compact, faces", "1/s", tuple(1000 / value for value in compact.values)),
    ]
    cores = f"{threads} thread{'s' * (threads > 1)}"
    return [Figure(f"{f.name}, {cores}", f.unit, f.values) for f in [*measured.values(), *ratios]]


def _graph_ratios(measured: dict[str, Figure]) -> list[Figure]:
    """How many times as fast as a plain export, and as each other, the graphs of each network are."""
    found: list[Figure] = []
    for network in FACES_PER_TURN:
        plain, full, triage = (
            measured[f"{network}, {way}"] for way in ("plain export", "restructured", "triage")
        )
        found += [
            ratio(f"{network}: restructured over plain export", plain, full),
            ratio(f"{network}: triage over plain export", plain, triage),
            ratio(f"{network}: triage over restructured", full, triage),
        ]
    return found


def differences(ways: list[Contender]) -> dict[str, float]:
    """Largest difference of each contender's logits from torch's, so that no speed is bought with answers."""
    found = {}
    for network in FACES_PER_TURN:
        mine = [way for way in ways if way.network == network]
        answers = {way.way: _logits(way.score(probe_crops(way.side, 1))) for way in mine}
        for way, logits in answers.items():
            found[f"{network}, {way}"] = float(np.abs(logits - answers["torch"]).max())
    return found


def _logits(answer: object) -> np.ndarray:
    assert isinstance(answer, tuple | list)
    return np.asarray(answer[0])


def main() -> None:
    """Measure, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    machine = describe_machine(max(int(number) for number in given.threads.split(",")))
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        nets = make_graphs(Path(folder))
        for threads in (int(number) for number in given.threads.split(",")):
            ways = contenders(Path(folder), nets, threads)
            worst = differences(ways)
            figures += figures_of(measure(ways, given.rounds), threads)
    facts = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    text = (
        "# The restructured graphs against a plain export\n\n"
        f"`python -m bench.export --rounds {given.rounds}`\n\n{facts}\n\n"
        "Milliseconds for a face, one at a time, all in turns within a round. `triage` is the graph without"
        " the branch that locates; `plain export` is what torch.onnx makes of the network as it stands.\n\n"
        f"{format_table(figures, {})}"
    )
    print(text)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "export.md").write_text(text, encoding="utf-8")
    forms = [{"name": f.name, "unit": f.unit, "median": f.median, "values": f.values} for f in figures]
    report = {"machine": machine, "rounds": given.rounds, "logits_differ_by": worst, "figures": forms}
    (given.out / "export.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
