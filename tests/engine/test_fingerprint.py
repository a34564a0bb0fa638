"""The fingerprint moves with everything that moves a number, and with nothing else."""

import json
import subprocess
import sys
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.aggregate import AggregationParams
from engine.bundle import ModelBundle
from engine.calibrate import Calibration, CalibrationMethod
from engine.faces.link import TrackRules
from engine.faces.quality import QualityRules
from engine.fingerprint import (
    CODE,
    PipelineParts,
    canonical_json,
    code_digest,
    describe_package,
    describe_pipeline,
    pipeline_fingerprint,
    to_json,
)
from engine.limits import Limits
from engine.policy import Threshold
from engine.sampling import Sampling
from engine.score import ScoringParams
from tests.waiting import PATIENCE_S

PARTS = PipelineParts(
    network={"name": "lv", "files": {"model.onnx": "aa", "weights.safetensors": "bb"}, "grid": 14},
    calibration=None,
    engine={"name": "onnxruntime", "version": "1", "precision": "f32"},
    detector={"name": "mtcnn", "sha256": "cc", "parameters": {"min": 20}},
    tracking={"max_gap_us": 1},
    quality={"min_size_px": 48},
    crop={"margin": 1.3},
    sampling={"rate_hz": 1},
    limits={"pixels": 1},
    decoder={"name": "pyav", "version": "18", "binaries": "dd"},
    libraries={"numpy": "2", "opencv-python-headless": "4"},
    scoring={"version": 1},
    code="ee",
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("name", [field.name for field in fields(PARTS)])
def test_every_part_moves_the_fingerprint(name: str) -> None:
    value = getattr(PARTS, name)
    other = "ff" if isinstance(value, str) else {**(value or {}), "more": 1}
    assert pipeline_fingerprint(replace(PARTS, **{name: other})) != pipeline_fingerprint(PARTS)
    if isinstance(value, dict):
        for key in value:
            changed = {**value, key: "changed"}
            assert pipeline_fingerprint(replace(PARTS, **{name: changed})) != pipeline_fingerprint(PARTS), key


def test_order_of_keys_does_not_show() -> None:
    turned = replace(PARTS, network=dict(reversed(list(PARTS.network.items()))))
    assert list(turned.network) != list(PARTS.network)
    assert pipeline_fingerprint(turned) == pipeline_fingerprint(PARTS)


def test_fingerprint_is_the_same_in_every_release() -> None:
    assert canonical_json(to_json({"b": [1.0, 0.1, None], "a": "ü"})) == '{"a":"\\u00fc","b":[1,0.1,null]}'


@given(st.dictionaries(st.text(), json_values, min_size=2, max_size=6), st.randoms())
def test_canonical_text_does_not_depend_on_the_order_of_insertion(value: dict, random: object) -> None:
    keys = list(value)
    random.shuffle(keys)
    assert canonical_json(to_json({key: value[key] for key in keys})) == canonical_json(to_json(value))


def test_whole_floats_and_integers_are_one_number() -> None:
    assert canonical_json(to_json([1.0, 1])) == "[1,1]"
    assert canonical_json(to_json([True, 1])) == "[true,1]"


def test_what_json_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(to_json(float("nan")))
    with pytest.raises(TypeError, match="object has no JSON form"):
        to_json(object())


def test_dataclasses_and_enums_become_plain_values() -> None:
    class Kind(StrEnum):
        ONE = "one"

    @dataclass(frozen=True)
    class Inner:
        kind: Kind
        values: tuple[float, ...]

    assert to_json(Inner(Kind.ONE, (1.5, 2.0))) == {"kind": "one", "values": [1.5, 2]}


class FakeBackend:
    name, precision, input_size, grid, ladder = "onnxruntime", "f32", 224, 14, (1,)


class FakeDetector:
    name, sha256, parameters = "mtcnn", "00", {"smallest_px": 20.0}


FILES = {"weights.safetensors": "a" * 64, "model.onnx": "b" * 64}
BUNDLE = ModelBundle(Path("bundle"), "test", "lv-compact", 224, 14, False, FILES)


def fingerprint(bundle: ModelBundle = BUNDLE, sampling: Sampling | None = None, **options: object) -> str:
    parts = describe_pipeline(bundle, FakeBackend(), FakeDetector(), sampling or Sampling(), **options)
    return pipeline_fingerprint(parts)


def test_described_pipeline_moves_with_what_a_user_can_set() -> None:
    calibration = Calibration(CalibrationMethod.PLATT, 1.0, 0.0, 0.5, 600, "test")
    variants = [
        fingerprint(),
        fingerprint(replace(BUNDLE, files=FILES | {"model.onnx": "c" * 64})),
        fingerprint(replace(BUNDLE, calibration=calibration)),
        fingerprint(sampling=Sampling(rate_hz=2.0)),
        fingerprint(decoder="decord"),
        fingerprint(limits=Limits(pixels=1 << 20)),
        fingerprint(limits=Limits(memory_bytes=1 << 29)),
        fingerprint(tracking=TrackRules(max_shift=0.5)),
        fingerprint(quality=QualityRules(min_size_px=64.0)),
        fingerprint(scoring=ScoringParams(aggregation=AggregationParams(track_scale=0.7))),
    ]
    assert len(set(variants)) == len(variants)
    assert fingerprint() == variants[0]


def test_limits_that_refuse_or_depend_on_the_load_do_not_move_the_fingerprint() -> None:
    assert fingerprint(limits=Limits(size_bytes=1 << 20, wall_s=600.0)) == fingerprint()


def test_thresholds_and_names_do_not_move_the_fingerprint() -> None:
    threshold = Threshold(0.01, 0.5, 0.02, 10, 1000, False)
    other = replace(BUNDLE, thresholds=(threshold,), name="renamed", card={"licence": "x"})
    assert fingerprint(other) == fingerprint()


def test_code_digest_moves_with_text_and_names_and_not_with_line_ends(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one = 1\n")
    before = code_digest(tmp_path, ["*.py"])
    (tmp_path / "a.py").write_bytes(b"one = 1\r\n")
    assert code_digest(tmp_path, ["*.py"]) == before
    (tmp_path / "a.py").write_text("one = 2\n")
    assert code_digest(tmp_path, ["*.py"]) != before
    (tmp_path / "a.py").write_text("one = 1\n")
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert code_digest(tmp_path, ["*.py"]) != before


def test_decoder_is_named_by_its_wheel() -> None:
    found = describe_package("av")
    assert found["version"]
    assert len(str(found["binaries"])) == 64
    assert describe_package("no-such-package") == {"version": None, "binaries": None}


# Modules that a scan loads and whose text is not in the fingerprint, with the reason.
EXEMPT = {
    "__init__.py": "a docstring",
    "arrays.py": "names of types",
    "errors.py": "what is raised where there is no number",
    "results.py": "lists of words and records that check themselves; what fills them is covered",
    "scan_result.py": "the record of a scan",
    "watch.py": "tells of progress and takes times",
    "source.py": "the file's digest and whether it stayed the same",
    "policy.py": "verdicts: a score can be decided again",
    "limits.py": "its values are parts",
    "fingerprint.py": "a change of what it names is a change of the digest",
    "bundle.py": "what it reads of a bundle is a part",
    "model_names.py": "names of bundles, whose files are parts by their hashes",
    "onnx_files.py": "refuses graphs or lets them through",
    "sandbox/__init__.py": "a docstring",
    **dict.fromkeys(
        [f"sandbox/{name}.py" for name in ("child", "handle", "zygote")],
        "starts and ends processes, in which covered modules decode",
    ),
    **dict.fromkeys(
        [f"sandbox/{name}.py" for name in ("landlock", "lockdown", "memory", "seccomp")],
        "what a process may do and take",
    ),
    **dict.fromkeys(
        [f"sandbox/{name}.py" for name in ("channel", "integers", "slabs")],
        "carries frames and times from process to process as they are",
    ),
}

_LOADED = """
import importlib, json, pkgutil, sys
import engine.screen, engine.sandbox.zygote, engine.sandbox.child
import engine.backends
for found in pkgutil.iter_modules(engine.backends.__path__, "engine.backends."):
    importlib.import_module(found.name)
files = [module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] == "engine"]
print(json.dumps([file for file in files if file is not None]))
"""


def test_every_module_that_a_scan_loads_is_in_the_fingerprint_or_exempt_with_a_reason() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("openvino")
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", _LOADED],
        cwd=root, capture_output=True, text=True, timeout=PATIENCE_S, check=True,
    )  # fmt: skip
    folder = root / "engine"
    loaded = {Path(file).relative_to(folder).as_posix() for file in json.loads(done.stdout)}
    covered = {path.relative_to(folder).as_posix() for pattern in CODE for path in folder.glob(pattern)}
    assert {"network/two_stream.py", "backends/eager.py", "decoders/pyav.py"} <= loaded & covered
    assert loaded - covered == set(EXEMPT)
