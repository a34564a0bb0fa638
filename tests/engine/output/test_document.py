"""Documents say what is known, nothing else, and follow the schema in every shape."""

import base64
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from engine.output.document import build_document, dump_document
from engine.output.schema import build_schema
from engine.result_forms import SCHEMA_VERSION
from tests.engine.output.made_results import all_results, make_failed_result, make_picture_result, make_result

VALIDATOR = Draft202012Validator(build_schema())
RESULTS = all_results()


def read(result, **options: bool) -> dict:
    return json.loads(dump_document(build_document(result, **options)))


def test_the_schema_is_itself_valid() -> None:
    Draft202012Validator.check_schema(build_schema())


@pytest.mark.parametrize("with_patches", [False, True])
@pytest.mark.parametrize("name", RESULTS)
def test_every_document_follows_the_schema(name: str, with_patches: bool) -> None:
    document = read(RESULTS[name], with_patches=with_patches)
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []


def test_the_schema_refuses_what_no_document_may_say() -> None:
    good = read(RESULTS["forged"])
    for key, value in (
        ("outcome", "fake"),
        ("extra", 1),
        ("score", {"raw": 1.2, "calibrated": None, "interval": None}),
        ("verdict", {**good["verdict"], "value": "authentic"}),
        ("fingerprint", "12"),
        ("segments", [{**good["segments"][0], "kind": "odd"}]),
    ):
        assert not VALIDATOR.is_valid({**good, key: value}), key
    assert not VALIDATOR.is_valid({key: value for key, value in good.items() if key != "error"})


def test_a_layout_that_changes_is_a_layout_of_another_version() -> None:
    """A change ends here. Once a release has had the layout, raise its version (docs/reference/json.md), and
    until then change the hash alone.
    """
    layout = json.dumps(strip_words(build_schema()), sort_keys=True)
    found = (SCHEMA_VERSION, hashlib.sha256(layout.encode()).hexdigest())
    assert found == ("1.0", "9dddb176da97c944c9a8b26dd345116de1f1765f8481b1545fe05987fd1d6c11")


def strip_words(schema: object) -> object:
    """Return a schema without what it says to readers."""
    if isinstance(schema, list):
        return [strip_words(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    is_words = isinstance(schema.get("description"), str)
    return {
        key: strip_words(value) for key, value in schema.items() if not (is_words and key == "description")
    }


def test_all_keys_of_the_layout_are_always_there() -> None:
    first = ["schema_version", "input", "media", "outcome", "score", "verdict", "coverage", "tracks"]
    last = ["segments", "time_series", "model", "fingerprint", "timings_ms", "error"]
    for result in RESULTS.values():
        assert list(read(result)) == first + last


def test_a_forged_span_is_told_with_score_time_and_place() -> None:
    document = read(make_result())
    (segment,) = (each for each in document["segments"] if each["kind"] == "suspicious")
    assert (segment["start_us"], segment["end_us"], segment["track"]) == (10_000_000, 22_000_000, 0)
    assert segment["score_max"] == pytest.approx(0.952574, abs=1e-6)
    assert document["verdict"]["value"] == "likely_manipulated"
    assert document["verdict"]["policy"] == "balanced@1"
    frame = document["tracks"][0]["frames"][12]
    assert frame["box"] == {"x": 0.4, "y": 0.2, "w": 0.15, "h": 0.3}
    assert frame["patch_max"] == pytest.approx(240 / 255, abs=1e-6)
    assert frame["patch_area"] == pytest.approx(4 / 49, abs=1e-6)
    assert "patch_map" not in frame


def test_an_excluded_face_has_a_reason_and_no_number() -> None:
    frames = read(RESULTS["partly"])["tracks"][1]["frames"]
    assert {frame["exclude_reason"] for frame in frames} == {"too_blurred"}
    assert {(frame["score"], frame["patch_max"], frame["patch_area"]) for frame in frames} == {(None,) * 3}


def test_a_failed_input_has_an_error_and_no_number() -> None:
    document = read(make_failed_result())
    assert document["error"]["reason"] == "NOT_VIDEO"
    assert document["error"]["hint"] == "give a video"
    assert document["outcome"] == "unscorable"
    assert document["score"] == {"raw": None, "calibrated": None, "interval": None}
    assert document["verdict"]["value"] is None
    assert (document["media"], document["coverage"], document["tracks"]) == (None, None, [])


def test_a_picture_has_no_time_series() -> None:
    document = read(make_picture_result())
    assert document["time_series"] is None
    assert document["coverage"]["ratio"] == 1.0


def test_inline_maps_are_the_bytes_of_the_network() -> None:
    frame = read(make_result(), with_patches=True)["tracks"][0]["frames"][12]["patch_map"]
    cells = np.frombuffer(base64.b64decode(frame["u8"]), np.uint8).reshape(frame["grid"], frame["grid"])
    assert (cells[2:4, 2:4] == 240).all()
    assert cells.sum() == 4 * 240 + 45 * 10
    assert frame["to_frame"] == [[0.625, 0.0, 234.0], [0.0, 0.625, 56.0]]


def test_documents_are_ascii_whatever_the_name() -> None:
    name = Path("\udcff\u202e\x1b\N{GRINNING FACE}.mp4")
    text = dump_document(build_document(make_failed_result(name)))
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text)["input"]["path"] == "\\xff\u202e\x1b\N{GRINNING FACE}.mp4"


def test_equal_scans_give_equal_documents() -> None:
    assert dump_document(build_document(make_result())) == dump_document(build_document(make_result()))
