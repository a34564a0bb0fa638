"""Lists of labelled files."""

from pathlib import Path

import pytest

from engine.evaluation.manifest import ManifestInvalid, read_items


def write(folder: Path, text: str, files: tuple[str, ...] = ("a.mp4", "b.mp4", "m.npz")) -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    manifest = folder / "list.csv"
    manifest.write_text(text)
    return manifest


def test_all_columns_are_read_and_unknown_ones_ignored(tmp_path: Path) -> None:
    text = (
        "note,path,label,method,subset,compression,video_id,pair_id,mask\n"
        "?,a.mp4,0,camera,wild,c23,v1,p1,\n"
        '"x, y",b.mp4,1,swap,wild,c40,v2,p1,m.npz\n'
    )
    real, fake = read_items(write(tmp_path, text))
    assert (real.path, real.name, real.label, real.method) == (tmp_path / "a.mp4", "a.mp4", 0, "")
    assert (fake.label, fake.method, fake.subset, fake.compression) == (1, "swap", "wild", "c40")
    assert (fake.video_id, fake.pair_id, fake.mask) == ("v2", "p1", tmp_path / "m.npz")
    assert real.cluster == fake.cluster == "pair p1"


def test_path_and_label_are_enough(tmp_path: Path) -> None:
    real, fake = read_items(write(tmp_path, "path,label\na.mp4,0\nb.mp4,1\n"))
    assert (real.cluster, fake.cluster) == ("video a.mp4", "video b.mp4")
    assert (fake.method, fake.mask) == ("unknown", None)


def test_byte_order_mark_and_windows_line_ends_are_no_obstacle(tmp_path: Path) -> None:
    write(tmp_path, "")
    (tmp_path / "list.csv").write_bytes(b"\xef\xbb\xbfpath,label\r\na.mp4, 1 \r\n")
    assert [item.label for item in read_items(tmp_path / "list.csv")] == [1]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("path,method\na.mp4,x\n", "line 1: no column 'label'"),
        ("path,label\na.mp4,2\n", "line 2: label '2'"),
        ("path,label\na.mp4,real\n", "line 2: label 'real'"),
        ("path,label\na.mp4,0\nc.mp4,1\n", "line 3: there is no file"),
        ("path,label\na.mp4,0\na.mp4,1\n", "line 3: a.mp4 already stands in line 2"),
        ("path,label,mask\na.mp4,1,nope.npz\n", "line 2: there is no mask"),
        ("path,label\n,1\n", "line 2: the path is empty"),
        ("path,label\na.mp4\n", "line 2: not 2 fields"),
        ("path,label\na.mp4,0,more\n", "line 2: not 2 fields"),
        ('path,label\n"a.mp4,0\n', "cannot be read"),
        ("path,label\n", "lists no file"),
        ("", "no column 'path'"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ManifestInvalid, match=complaint):
        read_items(write(tmp_path, text))


def test_folder_with_a_manifest_is_read_by_it(tmp_path: Path) -> None:
    write(tmp_path, "path,label\na.mp4,0\n").rename(tmp_path / "manifest.csv")
    assert [item.name for item in read_items(tmp_path)] == ["a.mp4"]


def test_folders_real_and_fake_are_labels(tmp_path: Path) -> None:
    files = ("real/a.mp4", "real/deep/b.JPG", "real/notes.txt", "fake/c.mkv")
    write(tmp_path, "", files)
    items = read_items(tmp_path)
    assert [(item.name, item.label) for item in items] == [
        ("real/a.mp4", 0),
        ("real/deep/b.JPG", 0),
        ("fake/c.mkv", 1),
    ]


def test_folder_without_either_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ManifestInvalid, match=r"neither manifest\.csv nor the folders real/ and fake/"):
        read_items(tmp_path)
    with pytest.raises(ManifestInvalid, match="no file or folder"):
        read_items(tmp_path / "nowhere")


def test_real_files_alone_are_enough_for_thresholds(tmp_path: Path) -> None:
    write(tmp_path, "", ("real/a.mp4",))
    assert [(item.name, item.label) for item in read_items(tmp_path)] == [("real/a.mp4", 0)]
