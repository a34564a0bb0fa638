"""``fakesieve train``: what it refuses before it begins."""

from pathlib import Path


def test_drawn_forgeries_need_what_they_are_drawn_by(run, tmp_path: Path) -> None:
    done = run("train", tmp_path, "--out", tmp_path / "run", "--redrawn", "0.4")
    assert done.code == 2
    assert "--redrawn needs --imagenet" in done.err
    assert not (tmp_path / "run").exists()
