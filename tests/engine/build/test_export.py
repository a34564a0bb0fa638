"""The restructured graphs answer like the network, whichever way they keep their weights."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file

from engine.backends.onnx import open_graph
from engine.build.export import GraphKind, export_graph
from engine.build.shared import SharedWeights
from engine.errors import BundleInvalid
from engine.network.two_stream import TwoStreamNet
from tests.models import random_compact, random_crops, random_mean_head
from tests.tolerance import ENGINES_F32

NETS = {"votes": random_compact, "mean": random_mean_head}


@pytest.fixture(scope="module", params=list(NETS))
def net(request: pytest.FixtureRequest) -> TwoStreamNet:
    return NETS[request.param](4)


@pytest.fixture(scope="module")
def folder(net: TwoStreamNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graphs")
    save_file(net.state_dict(), folder / "weights.safetensors")
    for kind in GraphKind:
        onnx.save(export_graph(net, kind), folder / f"{kind}-folded.onnx")
        shared = SharedWeights(folder / "weights.safetensors")
        onnx.save(export_graph(net, kind, shared), folder / f"{kind}-shared.onnx")
    return folder


def count_nodes(path: Path, kind: str) -> int:
    model = onnx.load(path, load_external_data=False)
    return sum(node.op_type == kind for node in model.graph.node)


@pytest.mark.parametrize("form", ["folded", "shared"])
@pytest.mark.parametrize("batch", [1, 3])
def test_graphs_answer_like_the_network_at_any_batch(
    net: TwoStreamNet, folder: Path, form: str, batch: int
) -> None:
    crops = random_crops(batch, 224)
    with torch.no_grad():
        expected = [output.numpy() for output in net(torch.from_numpy(crops))]
    full = open_graph(folder / f"full-{form}.onnx", 1).run(None, {"crops": crops})
    triage = open_graph(folder / f"triage-{form}.onnx", 1).run(None, {"crops": crops})
    for seen, wanted in zip([*full, *triage], [*expected, expected[0]], strict=True):
        np.testing.assert_allclose(seen, wanted, atol=ENGINES_F32, rtol=0)


def test_graphs_are_well_formed(folder: Path) -> None:
    for path in folder.glob("*.onnx"):
        onnx.checker.check_model(str(path), full_check=True)


def test_folded_graphs_keep_one_norm_that_no_convolution_precedes(folder: Path) -> None:
    assert count_nodes(folder / "full-folded.onnx", "BatchNormalization") == 1


def test_shared_graphs_hold_no_weights_of_their_own(folder: Path) -> None:
    weights = (folder / "weights.safetensors").stat().st_size
    assert (folder / "full-shared.onnx").stat().st_size < weights / 50
    assert (folder / "full-folded.onnx").stat().st_size > weights * 0.9


def test_input_and_outputs_have_their_names_types_and_open_batch(folder: Path) -> None:
    session = open_graph(folder / "full-folded.onnx", 1)
    (crops,) = session.get_inputs()
    assert (crops.name, crops.type, crops.shape) == ("crops", "tensor(uint8)", ["batch", 3, 224, 224])
    outputs = [(output.name, output.shape) for output in session.get_outputs()]
    assert outputs == [("logits", ["batch", 2]), ("patch_logits", ["batch", 2, 14, 14])]
    (logits,) = open_graph(folder / "triage-folded.onnx", 1).get_outputs()
    assert logits.name == "logits"


def test_triage_leaves_the_localisation_head_out_where_it_has_no_vote(tmp_path: Path) -> None:
    for name, counts in (("mean", (0, 3)), ("votes", (3, 3))):
        for kind, count in zip((GraphKind.TRIAGE, GraphKind.FULL), counts, strict=True):
            onnx.save(export_graph(NETS[name](4), kind), tmp_path / "graph.onnx")
            assert count_nodes(tmp_path / "graph.onnx", "SpaceToDepth") == count


def test_the_projection_head_is_not_exported() -> None:
    graph = export_graph(random_compact(4, projection=True), GraphKind.FULL).graph
    assert not [array.name for array in graph.initializer if array.name.startswith("projection")]


def test_a_weights_file_without_an_array_is_refused(net: TwoStreamNet, tmp_path: Path) -> None:
    tensors = net.state_dict()
    del tensors["attend.1.gamma"]
    save_file(tensors, tmp_path / "weights.safetensors")
    with pytest.raises(BundleInvalid, match=r"attend\.1\.gamma"):
        export_graph(net, GraphKind.FULL, SharedWeights(tmp_path / "weights.safetensors"))
