"""The shipped networks and the detector built of them against the real facenet-pytorch 2.6.0."""

import numpy as np
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch", reason="facenet-pytorch runs on torch")

from engine.faces.detect import WEIGHTS, MtcnnDetector, MtcnnParameters  # noqa: E402 - after the skip
from tests.assets import astronaut  # noqa: E402 - after the skip
from tests.engine.faces.facenet import load_mtcnn  # noqa: E402 - after the skip
from tests.engine.faces.pictures import read_picture, second_by_second  # noqa: E402 - after the skip
from tests.tolerance import MTCNN_BOX_PX, MTCNN_NETS  # noqa: E402 - after the skip
from tools.export_mtcnn import SIDES, export_network, read_networks, rearrange  # noqa: E402 - after the skip

SMALLEST_PX = 20


@pytest.fixture(scope="module")
def networks():
    return read_networks()


@pytest.fixture(scope="module")
def mtcnn():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two wait for each other on cores that other work shares
    yield load_mtcnn(SMALLEST_PX)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def ours():
    return MtcnnDetector(parameters=MtcnnParameters(smallest_px=SMALLEST_PX, smallest_share=0))


def run_both(network, graph, pictures):
    """Heads [n, ...] of the graph, and logit-free outputs of the original in the same order."""
    with torch.no_grad():
        offsets, *points, faces = network(torch.from_numpy(pictures))
    (heads,) = graph.run(None, {"picture": pictures})
    expected = [faces[:, 1:].numpy(), offsets.numpy(), *(each.numpy() for each in points)]
    heads = np.concatenate([1 / (1 + np.exp(-heads[:, :1])), heads[:, 1:]], axis=1)
    return heads, np.concatenate(expected, axis=1)


@pytest.mark.parametrize(
    ("name", "batch", "height", "width"),
    [
        ("PNet", 1, 12, 12),
        ("PNet", 3, 37, 61),
        ("PNet", 2, 100, 57),
        ("RNet", 1, 24, 24),
        ("RNet", 33, 24, 24),
        ("ONet", 1, 48, 48),
        ("ONet", 17, 48, 48),
    ],
)
def test_each_network_answers_as_the_original(networks, name, batch, height, width):
    random = np.random.default_rng(batch)
    pixels = random.integers(0, 256, (batch, 3, height, width))
    pictures = ((pixels - 127.5) / 128).astype(np.float32)
    graph = ort.InferenceSession(WEIGHTS / f"{name.lower()}.onnx", providers=["CPUExecutionProvider"])
    heads, expected = run_both(networks[name], graph, pictures)
    assert heads.shape == expected.shape
    assert np.abs(heads - expected).max() < MTCNN_NETS


@pytest.mark.parametrize("name", ["PNet", "RNet", "ONet"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's older exporter, which is meant
def test_export_makes_the_shipped_network_again(networks, name, tmp_path):
    path = tmp_path / "again.onnx"
    export_network(rearrange(name, networks[name]), name, path)
    pictures = np.random.default_rng(0).normal(size=(2, 3, SIDES[name], SIDES[name])).astype(np.float32)
    again, shipped = (
        ort.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"picture": pictures})[0]
        for file in (path, WEIGHTS / f"{name.lower()}.onnx")
    )
    assert np.array_equal(again, shipped)


def real_pictures():
    """Pictures with one face, five faces and none, and frames of three clips."""
    yield "astronaut", astronaut()
    yield "multi_face", read_picture("multi_face.jpg")
    for clip, seconds in (
        ("WolfgangLanger_Pexels.mp4", (0, 5, 12, 19)),
        ("face_noface.mov", (0, 5)),
        ("noface_face.mov", (0, 6)),
    ):
        for second in seconds:
            yield f"{clip} {second} s", second_by_second(clip)[second]


def boxes_of_original(mtcnn, rgb):
    """Corners [n, 4] and points [n, 5, 2] in pixels from the left."""
    boxes, _, points = mtcnn.detect(rgb, landmarks=True)
    if boxes is None:
        return np.empty((0, 4)), np.empty((0, 5, 2))
    # With numpy 2 the package returns arrays of objects.
    boxes, points = np.array(boxes.tolist(), float), np.array(points.tolist(), float)
    order = np.argsort(boxes[:, 0])
    return boxes[order], points[order]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:facenet_pytorch")
def test_faces_are_where_facenet_pytorch_finds_them(mtcnn, ours):
    found = 0
    for name, rgb in real_pictures():
        boxes, points = boxes_of_original(mtcnn, np.array(rgb))
        (faces,) = ours.detect(rgb[None])
        size = np.array([rgb.shape[1], rgb.shape[0]])
        order = np.argsort(faces.boxes[:, 0])
        corners = np.concatenate([faces.boxes[:, :2], faces.boxes[:, :2] + faces.boxes[:, 2:]], 1)[order]
        assert len(corners) == len(boxes), name
        if len(boxes):
            assert np.abs(corners * np.tile(size, 2) - boxes).max() < MTCNN_BOX_PX, name
            assert np.abs(faces.landmarks[order] * size - points).max() < MTCNN_BOX_PX, name
        found += len(boxes)
    assert found == 12  # one, five, and six frames of a person
