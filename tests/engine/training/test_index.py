"""Lists of faces: what is read, and what is refused with its line and a cure."""

from pathlib import Path

import numpy as np
import pytest

from engine.errors import DataInvalid
from engine.results import RejectReason
from engine.training.faces import load_context, read_faces
from engine.training.index import read_index
from engine.training.prepare import read_split
from tests.engine.training.faces import write_face_set

HEADER = "path,set,identity,split,size,bx,by,bw,bh\n"


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    return write_face_set(tmp_path / "faces")


def test_one_person_in_both_splits_is_refused(faces: Path) -> None:
    index = faces / "index.csv"
    index.write_text(index.read_text().replace("p3,val", "p0,val"))
    with pytest.raises(DataInvalid, match=r"in both splits: p0") as caught:
        read_faces(faces)
    assert caught.value.reason is RejectReason.INVALID_MANIFEST
    assert "all into val" in caught.value.hint


def test_many_people_in_both_splits_are_counted(tmp_path: Path) -> None:
    rows = [f"{i}{split}.jpg,lfw,p{i},{split},9,1,1,5,5\n" for i in range(8) for split in ("train", "val")]
    (tmp_path / "index.csv").write_text(HEADER + "".join(rows))
    with pytest.raises(DataInvalid, match="p0, p1, p2, p3, p4 and 3 more"):
        read_index(tmp_path)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", "line 1: no column path, set, identity, split, bx, by, bw, bh"),
        (HEADER.replace(",bw", ""), "line 1: no column bw"),
        (HEADER + "a.jpg,lfw,p0,test,9,1,1,5,5\n", "line 2: split 'test' is neither train nor val"),
        (HEADER + "a.jpg,lfw,p0,val,9,1,one,5,5\n", "line 2: could not convert string to float: 'one'"),
        (HEADER + "a.jpg,lfw,p0,val,9,1,1,0,5\n", "line 2: the face box .* is empty"),
        (HEADER + "a.jpg,lfw,p0,val,9,1,1,nan,5\n", "line 2: the face box .* is empty"),
        (HEADER + "a.jpg,lfw,,val,9,1,1,5,5\n", "line 2: path or identity is empty"),
        (HEADER + "a.jpg,lfw,p0\n", "line 2: "),
        (HEADER + '"a.jpg,lfw\n', "cannot be read"),
    ],
)
def test_a_wrong_list_is_refused_with_its_line(tmp_path: Path, text: str, seen: str) -> None:
    (tmp_path / "index.csv").write_text(text)
    with pytest.raises(DataInvalid, match=seen) as caught:
        read_index(tmp_path)
    assert caught.value.reason is RejectReason.INVALID_MANIFEST


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match=r"gone/index\.csv cannot be read: No such file") as caught:
        read_index(tmp_path / "gone")
    assert caught.value.reason is RejectReason.SOURCE_NOT_FOUND


@pytest.mark.parametrize(
    ("name", "reason"),
    [("landmarks68.npz", RejectReason.SOURCE_NOT_FOUND), ("index.csv", RejectReason.SOURCE_NOT_FOUND)],
)
def test_a_missing_part_is_named(faces: Path, name: str, reason: RejectReason) -> None:
    (faces / name).unlink()
    with pytest.raises(DataInvalid, match=name) as caught:
        read_faces(faces)
    assert caught.value.reason is reason


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x03\x04 and no more"])
def test_damaged_landmarks_and_boxes_are_refused(faces: Path, tmp_path: Path, data: bytes) -> None:
    boxes = tmp_path / "boxes.npz"
    boxes.write_bytes(data)
    with pytest.raises(DataInvalid, match=r"boxes\.npz is damaged") as caught:
        read_faces(faces, boxes)
    assert caught.value.hint == "remove it: it is made again"
    (faces / "landmarks68.npz").write_bytes(data)
    with pytest.raises(DataInvalid, match=r"landmarks68\.npz is damaged"):
        read_faces(faces)


def test_landmarks_of_another_list_are_refused(faces: Path) -> None:
    np.savez(faces / "landmarks68.npz", lm=np.zeros((3, 68, 2), np.float16))
    with pytest.raises(DataInvalid, match=r"has shape \(3, 68, 2\); 4 rows"):
        read_faces(faces)


def test_a_split_without_faces_is_refused(faces: Path, tmp_path: Path) -> None:
    index, boxes = faces / "index.csv", tmp_path / "boxes.npz"
    index.write_text(index.read_text().replace(",val,", ",train,"))
    np.savez(boxes, path=np.array(["person0.jpg"]), found=np.array([True]), box_px=np.ones((1, 4)))
    assert [face.identity for face in read_split(faces, boxes, "train")] == ["p0"]
    with pytest.raises(DataInvalid, match="finds 0 faces of split 'val', 1 are needed"):
        read_split(faces, boxes, "val")


def test_a_picture_that_is_gone_or_none_is_refused(faces: Path) -> None:
    record = read_faces(faces)[0]
    record.path.write_text("no picture")
    for reason in (RejectReason.CORRUPT, RejectReason.SOURCE_NOT_FOUND):
        with pytest.raises(DataInvalid, match="not a readable picture") as caught:
            load_context(record)
        assert caught.value.reason is reason
        record.path.unlink(missing_ok=True)
