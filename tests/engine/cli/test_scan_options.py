"""Every option of ``fakesieve scan`` that chooses or limits something reaches what it names."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino
import pytest

from engine import probe
from engine.sandbox.channel import Message
from engine.sandbox.handle import CallTimedOut, SandboxCall
from tests.assets import pyfeat_clip
from tests.media import draw_clip, draw_two_streams, encode_picture

FRAMES = 40  # of the drawn clips, which last 1.6 s


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("options")
    (folder / "face.mp4").write_bytes(pyfeat_clip("single_face.mp4").read_bytes())
    draw_clip(folder / "drawn.mp4", frames=FRAMES)
    draw_clip(folder / "drawn.ts", frames=FRAMES)
    draw_two_streams(folder / "two.mp4", frames=FRAMES)
    noise = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)  # 900 kB however it is packed
    (folder / "large.png").write_bytes(encode_picture(noise, "png"))
    for name, (height, width) in {"long": (40, 17_000), "tiny": (20, 24)}.items():
        (folder / f"{name}.png").write_bytes(encode_picture(np.zeros((height, width, 3), np.uint8), "png"))
    draw_clip(folder / "long.mp4", width=4_000, height=64, frames=FRAMES)
    draw_clip(folder / "tiny.mp4", width=24, height=20, frames=FRAMES)
    return folder


@pytest.fixture
def scan(run, random_model: Path, clips: Path) -> Callable[..., dict]:
    def scan_one(name: str, *options: object) -> dict:
        done = run("scan", clips / name, "--model", random_model, "--jsonl", "--max-samples", 8, *options)
        return json.loads(done.out)

    return scan_one


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "torch"])
def test_the_engine_that_was_asked_for_runs_the_network(scan, engine: str) -> None:
    document = scan("face.mp4", "--engine", engine)
    assert (document["model"]["engine"], document["model"]["precision"]) == (engine, "f32")
    assert document["score"]["raw"] is not None


def test_a_precision_is_told_or_refused(run, scan, random_model: Path, clips: Path) -> None:
    common = ("scan", clips / "face.mp4", "--model", random_model, "--max-samples", 8, "--jsonl")
    for engine, precision, able in (
        ("auto", "bf16", "openvino"),
        ("openvino", "f16", "onnxruntime-tensorrt"),
    ):
        done = run(*common, "--engine", engine, "--precision", precision)
        assert (done.code, done.out) == (1, "")
        assert f"ENGINE_UNAVAILABLE: {engine} does not compute in {precision}" in done.err
        assert f"hint: for {precision} use --engine {able}" in done.err
    done = run(*common, "--engine", "openvino", "--precision", "bf16")
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        document = json.loads(done.out)
        assert document["model"]["precision"] == "bf16"
        assert document["fingerprint"] != scan("face.mp4", "--engine", "openvino")["fingerprint"]
    else:
        assert "OpenVINO does not compute in bf16 on this processor but in f32" in done.err


def test_the_decoder_that_was_asked_for_decodes(scan) -> None:
    usual, other = scan("drawn.mp4"), scan("drawn.mp4", "--decoder", "decord")
    assert other["coverage"] == usual["coverage"]
    assert other["fingerprint"] != usual["fingerprint"]
    refused = scan("drawn.ts", "--decoder", "decord")["error"]  # which decord alone refuses
    assert (refused["reason"], "pyav" in refused["hint"]) == ("ENGINE_UNAVAILABLE", True)
    assert scan("drawn.ts")["error"] is None


@pytest.mark.parametrize(("fps", "samples"), [(25, FRAMES), (10, 32)])  # 32 are the fewest of a video
def test_the_rate_decides_how_many_frames_are_looked_at(scan, fps: int, samples: int) -> None:
    document = scan("drawn.mp4", "--fps", fps, "--max-samples", 600)
    assert document["coverage"]["frames_sampled"] == document["coverage"]["frames_decoded"] == samples


@pytest.mark.parametrize("policy", ["balanced", "sensitive", "strict"])
def test_the_policy_that_was_asked_for_decides(scan, policy: str) -> None:
    assert scan("drawn.mp4", "--policy", policy)["verdict"]["policy"].split("@")[0] == policy


@pytest.mark.parametrize(
    ("name", "option", "limit", "reason"),
    [
        ("drawn.mp4", "--max-bytes", 1000, "SOURCE_TOO_LARGE"),
        ("drawn.mp4", "--max-seconds", 1, "LIMIT_DURATION"),
        ("drawn.mp4", "--max-pixels", 320 * 240 - 1, "LIMIT_PIXELS"),
        ("drawn.mp4", "--max-side", 319, "LIMIT_PIXELS"),
        ("drawn.mp4", "--min-side", 241, "TOO_SMALL"),
        ("drawn.mp4", "--max-frames", FRAMES - 1, "LIMIT_FRAMES"),
        ("two.mp4", "--max-streams", 1, "LIMIT_STREAMS"),
        ("large.png", "--max-memory", 1 << 20, "LIMIT_MEMORY"),
    ],
)
def test_a_limit_that_was_set_refuses_what_is_beyond_it(
    scan, name: str, option: str, limit: int, reason: str
) -> None:
    error = scan(name, option, limit)["error"]
    assert error["reason"] == reason
    assert error["hint"]
    assert scan(name)["error"] is None


@pytest.mark.parametrize(
    ("name", "option", "limit", "reason"),
    [
        ("long.png", "--max-side", 17_000, "LIMIT_PIXELS"),
        ("long.mp4", "--max-side", 4_000, "LIMIT_PIXELS"),
        ("tiny.png", "--min-side", 20, "TOO_SMALL"),
        ("tiny.mp4", "--min-side", 20, "TOO_SMALL"),
    ],
)
def test_sides_that_are_refused_are_screened_once_their_limit_is_moved(
    scan, clips: Path, name: str, option: str, limit: int, reason: str
) -> None:
    usual = ("--max-side", 3_999) if name == "long.mp4" else ()
    assert scan(name, *usual)["error"]["reason"] == reason
    found = scan(name, option, limit)
    assert (found["error"], found["outcome"]) == (None, "no_face")


def test_the_time_limit_is_that_of_a_call_to_the_decoder(scan, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait_in_vain(call: SandboxCall, wall_s: float) -> object:
        monkeypatch.setattr(call, "receive", give_up)
        return collect(call, wall_s)

    def give_up() -> Message:
        raise CallTimedOut("no answer")

    collect = probe._collect
    monkeypatch.setattr(probe, "_collect", wait_in_vain)
    error = scan("drawn.mp4", "--timeout", 7)["error"]
    assert error["reason"] == "DECODE_TIMEOUT"
    assert "took longer than 7 s" in error["message"]
