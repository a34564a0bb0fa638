"""A bundle that was changed, cut off or reaches out of its folder is refused before anything parses it."""

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bundle import (
    MANIFEST,
    ModelBundle,
    file_sha256,
    find_bundle,
    list_bundles,
    load_bundle,
    read_manifest,
    write_manifest,
)
from engine.errors import BundleInvalid
from engine.results import RejectReason


def rewrite(bundle_folder: Path, **changes: object) -> None:
    form = json.loads((bundle_folder / MANIFEST).read_text())
    (bundle_folder / MANIFEST).write_text(json.dumps(form | changes))


def test_a_name_that_no_file_can_have_is_no_model() -> None:
    with pytest.raises(BundleInvalid, match="no model"):
        load_bundle("x" * 300)


def test_a_bundle_is_found_by_folder(bundle_folder: Path) -> None:
    bundle = load_bundle(str(bundle_folder))
    assert (bundle.name, bundle.input_size, bundle.grid) == ("random-compact", 224, 14)
    assert bundle.weights_sha256 == file_sha256(bundle_folder / "weights.safetensors")
    assert bundle.path("triage.onnx") == bundle_folder / "triage.onnx"


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(BundleInvalid, match=r"no model 'no-such-model'"):
        find_bundle("no-such-model")


@pytest.mark.parametrize("name", ["..", "/", "../models", ""])
def test_names_do_not_lead_out_of_the_shipped_models(name: str) -> None:
    with pytest.raises(BundleInvalid):
        load_bundle(name)


def test_bundles_of_a_folder_are_listed_by_name(bundle_folder: Path) -> None:
    assert list_bundles(bundle_folder.parent) == ("bundle",)
    assert list_bundles(bundle_folder.parent / "nowhere") == ()


@pytest.mark.parametrize("file", ["weights.safetensors", "model.onnx", "triage.onnx"])
def test_a_changed_file_is_refused(bundle_folder: Path, file: str) -> None:
    content = bytearray((bundle_folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle_folder / file).write_bytes(content)
    with pytest.raises(BundleInvalid, match=file) as refusal:
        load_bundle(bundle_folder)
    assert refusal.value.reason is RejectReason.MODEL_INVALID


def test_a_missing_file_is_refused(bundle_folder: Path) -> None:
    (bundle_folder / "triage.onnx").unlink()
    with pytest.raises(BundleInvalid, match=r"triage\.onnx is not there"):
        load_bundle(bundle_folder)


def test_a_link_is_not_followed(bundle_folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.onnx"
    (bundle_folder / "triage.onnx").rename(elsewhere)
    (bundle_folder / "triage.onnx").symlink_to(elsewhere)
    with pytest.raises(BundleInvalid, match="plain file"):
        load_bundle(bundle_folder)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "other.bin", "a/../../b"])
def test_a_graph_that_refers_outside_of_the_bundle_is_refused(bundle_folder: Path, location: str) -> None:
    model = onnx.load(bundle_folder / "model.onnx", load_external_data=False)
    last = [array for array in model.graph.initializer if array.external_data][-1]
    next(entry for entry in last.external_data if entry.key == "location").value = location
    (bundle_folder / "model.onnx").write_bytes(model.SerializeToString())
    bundle = read_manifest(bundle_folder)
    write_manifest(replace(bundle, files={n: file_sha256(bundle_folder / n) for n in bundle.files}))
    with pytest.raises(BundleInvalid, match="outside of the bundle"):
        load_bundle(bundle_folder)


@pytest.mark.parametrize("name", ["../weights", "a/b", "/etc/passwd", ".hidden", "", "manifest.json", "a\\b"])
def test_a_manifest_names_files_of_its_folder_only(bundle_folder: Path, name: str) -> None:
    files = json.loads((bundle_folder / MANIFEST).read_text())["files"]
    rewrite(bundle_folder, files=files | {name: {"sha256": "0" * 64}})
    with pytest.raises(BundleInvalid, match="cannot be read"):
        read_manifest(bundle_folder)


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 2},
        {"files": {}},
        {"files": {"model.onnx": {"sha256": "0" * 64}}},
        {"files": 3},
        {"input_size": "wide"},
        {"input_size": 0},
        {"name": ""},
        {"thresholds": [{"fpr_target": 2}]},
        {"calibration": {"method": "guess"}},
        {"card": [1]},
    ],
)
def test_malformed_manifests_are_refused(bundle_folder: Path, change: dict[str, object]) -> None:
    rewrite(bundle_folder, **change)
    with pytest.raises(BundleInvalid, match=r"manifest\.json cannot be read"):
        read_manifest(bundle_folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "[" * 100_000, "{" + " " * 2_000_000 + "}"])
def test_texts_that_are_no_manifest_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(BundleInvalid):
        read_manifest(tmp_path)


@given(content=st.binary(max_size=80))
def test_any_bytes_as_manifest_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    bundle_folder = tmp_path_factory.getbasetemp()
    (bundle_folder / MANIFEST).write_bytes(content)
    with pytest.raises(BundleInvalid):
        read_manifest(bundle_folder)


def test_an_asked_file_must_be_of_the_bundle(bundle_folder: Path) -> None:
    bundle: ModelBundle = load_bundle(bundle_folder)
    with pytest.raises(BundleInvalid, match=r"has no extra\.onnx"):
        bundle.path("extra.onnx")
