import base64
import csv
import io
import json

import cv2
import jsonschema
import numpy as np
import pytest

from engine.output.schema import build_schema
from fakesieve.documents import extend_schema
from fakesieve.jobs.states import JobState
from fakesieve.reasons import Reason
from tests.factories import CROP_SIZE, GRID, MODEL, SECOND_US, hash_text, make_empty_score, make_score
from tests.fakesieve.cli.conftest import Fleet

SCHEMA = extend_schema(build_schema())


def test_a_result_is_the_document_of_a_scan_with_its_job(fleet: Fleet) -> None:
    job_id = fleet.add_result("a.mp4")
    ran = fleet.run("results", "show", job_id, "--json", "--patches")
    assert (ran.code, ran.err) == (0, "")
    document = json.loads(ran.out)
    jsonschema.validate(document, SCHEMA)
    assert document["job"]["id"] == job_id
    assert (document["job"]["state"], document["job"]["attempts"]) == ("succeeded", 0)
    assert document["input"] == {
        "path": "s3://videos/a.mp4",
        "sha256": hash_text("a.mp4"),
        "size_bytes": 1000,
    }
    assert document["outcome"] == "partially_scored"
    assert document["score"] == {"raw": 0.9, "calibrated": 0.45, "interval": [0.225, 0.9]}
    assert document["verdict"]["value"] == "inconclusive"
    assert document["model"]["name"] == MODEL.name
    assert document["media"]["warnings"] == ["variable_rate"]
    (track,) = document["tracks"]
    assert [frame["score"] for frame in track["frames"]] == [0.9, 0.95, None]
    assert base64.b64decode(track["frames"][0]["patch_map"]["u8"]) == bytes(range(GRID * GRID))
    assert track["frames"][2]["patch_map"] is None


def test_an_analysis_is_found_by_its_own_id(fleet: Fleet) -> None:
    job_id = fleet.add_result("a.mp4")
    document = json.loads(fleet.run("results", "show", job_id, "--json").out)
    again = json.loads(fleet.run("results", "show", document["job"]["analysis_id"], "--json").out)
    assert again == document
    missing = fleet.run("results", "show", "ana_" + "0" * 26)
    assert "NOT_FOUND: there is no analysis ana_" in missing.err


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.EXPIRED])
def test_a_job_without_an_analysis_says_why(fleet: Fleet, state: JobState) -> None:
    job_id = fleet.add_job(state=state, reason=Reason.CORRUPT, message="cut \x1b[2J off")
    ran = fleet.run("results", "show", job_id, "--json")
    assert ran.code == 3
    document = json.loads(ran.out)
    jsonschema.validate(document, SCHEMA)
    assert document["outcome"] == "unscorable"
    assert document["error"] == {
        "reason": "CORRUPT",
        "message": "cut \x1b[2J off",
        "hint": Reason.CORRUPT.hint,
    }
    assert (document["model"], document["verdict"], document["fingerprint"]) == (None, None, None)
    text = fleet.run("results", "show", job_id)
    assert "error     CORRUPT: cut \\x1b[2J off" in text.out


def test_a_job_that_runs_has_no_result_yet(fleet: Fleet) -> None:
    job_id = fleet.add_job()
    ran = fleet.run("results", "show", job_id)
    assert ran.code == 1
    assert ran.err == (
        f"error: STATE_CONFLICT: {job_id} has not ended, it is queued\n"
        f"hint: wait for it: fakesieve watch {job_id}\n"
    )


def test_people_read_verdict_evidence_and_what_it_is_worth(fleet: Fleet) -> None:
    text = fleet.run("results", "show", fleet.add_result("a.mp4")).out
    assert "verdict   inconclusive  0.45 (0.23–0.90)" in text
    assert "scored    67 % of its time, 1 face\n" in text
    assert "suspicious face 0 from 0:00.0 to 0:02.0: mouth" in text
    assert "lv-compact (onnxruntime-cpu, f32), policy balanced@1" in text
    assert "missing   1 frame at 0:02.0: DECODE_TIMEOUT: took too long\n" in text
    assert "triage for people" in text


def test_results_are_listed_by_verdict_and_outcome(fleet: Fleet) -> None:
    suspicious, empty = fleet.add_result("a.mp4"), fleet.add_result("b.mp4", make_empty_score())
    failed = fleet.add_job("c.mp4", state=JobState.FAILED, reason=Reason.EMPTY, message="no bytes")
    fleet.add_job("d.mp4")

    def list_ids(*options: str) -> list[str]:
        lines = fleet.run("results", "ls", "--json", *options).out.splitlines()
        return [json.loads(line)["job_id"] for line in lines]

    assert list_ids() == [failed, empty, suspicious]
    assert list_ids("--verdict", "inconclusive") == [suspicious]
    assert list_ids("--outcome", "no_face") == [empty]
    assert list_ids("--limit", "1") == [failed]
    text = fleet.run("results", "ls").out
    assert "EMPTY: no bytes" in text
    assert "no face found" in text


def test_faces_are_listed(fleet: Fleet) -> None:
    job_id = fleet.add_result()
    line = json.loads(fleet.run("results", "tracks", job_id, "--json").out)
    assert (line["ordinal"], line["score"], line["frames"], line["scored"]) == (0, 0.95, 3, 2)
    assert line["regions"] == {"left_eye": 0.125, "mouth": 0.7}
    assert "mouth 70 %, eye on the left 12 %" in fleet.run("results", "tracks", job_id).out


def test_maps_come_as_bytes_array_and_picture(fleet: Fleet, tmp_path) -> None:
    job_id = fleet.add_result()
    cells = np.arange(GRID * GRID, dtype=np.uint8).reshape(GRID, GRID)
    lines = [json.loads(line) for line in fleet.run("results", "map", job_id).out.splitlines()]
    assert [line["pts_us"] for line in lines] == [0, SECOND_US]
    assert (lines[0]["grid"], lines[0]["crop_size"]) == (GRID, CROP_SIZE)
    assert lines[0]["to_frame"] == [[1.5, 0.0, 240.25], [0.0, 1.5, 90.125]]
    array, picture = tmp_path / "maps.npy", tmp_path / "map.png"
    assert fleet.run("results", "map", job_id, "--format", "npy", "--out", str(array)).code == 0
    np.testing.assert_array_equal(np.load(array), np.stack([cells, cells]))
    assert fleet.run("results", "map", job_id, "--format", "png", "--out", str(picture)).code == 0
    drawn = cv2.imread(str(picture), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(drawn, cells.repeat(16, 0).repeat(16, 1))


def test_a_map_is_chosen_by_face_and_time(fleet: Fleet) -> None:
    job_id = fleet.add_result()
    near = json.loads(fleet.run("results", "map", job_id, "--track", "0", "--at", "0.7").out)
    assert near["pts_us"] == SECOND_US
    missing = fleet.run("results", "map", job_id, "--track", "5")
    assert (missing.code, missing.out) == (1, "")
    assert "hint: faces with maps: 0" in missing.err
    empty = fleet.run("results", "map", fleet.add_result("b.mp4", make_empty_score()))
    assert "hint: faces with maps: none" in empty.err


def test_export_writes_a_row_for_each_job(fleet: Fleet, tmp_path) -> None:
    scored = fleet.add_result("a.mp4")
    failed = fleet.add_job("=cmd()", state=JobState.FAILED, reason=Reason.EMPTY, message="=1+1")
    rows = list(csv.DictReader(io.StringIO(fleet.run("results", "export").out)))
    assert [row["job_id"] for row in rows] == [failed, scored]
    assert (rows[0]["key"], rows[0]["error_message"], rows[0]["policy"]) == ("'=cmd()", "'=1+1", "")
    assert (rows[1]["score_raw"], rows[1]["verdict"], rows[1]["tracks"]) == ("0.9", "inconclusive", "1")
    assert rows[1]["policy"] == "balanced@1"
    out = tmp_path / "all.jsonl"
    assert fleet.run("results", "export", "--format", "jsonl", "--out", str(out)).code == 0
    documents = [json.loads(line) for line in out.read_text().splitlines()]
    assert [document["job"]["id"] for document in documents] == [failed, scored]
    for document in documents:
        jsonschema.validate(document, SCHEMA)


def test_export_goes_on_after_a_page(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fakesieve.cli.result_export._PAGE", 2)
    ids = [fleet.add_result(f"{n}.mp4", make_score(0.1 * n)) for n in range(1, 6)]
    rows = list(csv.DictReader(io.StringIO(fleet.run("results", "export").out)))
    assert [row["job_id"] for row in rows] == ids[::-1]


def test_a_file_that_cannot_be_written_is_told(fleet: Fleet, tmp_path) -> None:
    ran = fleet.run("results", "export", "--out", str(tmp_path / "none" / "all.csv"))
    assert ran.code == 1
    assert ran.err.startswith("error: OUTPUT_FAILED: ")
