import math
from pathlib import Path

import pytest

from fakesieve.__main__ import main
from fakesieve.cli.demo_fleet import compare


def document(raw: float | None, *frames: float | None) -> dict[str, object]:
    tracks = [{"score": raw, "frames": [{"score": score} for score in frames]}]
    return {"score": {"raw": raw, "calibrated": None}, "tracks": tracks}


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        (document(0.5, 0.25, None), document(0.5, 0.25, None), 0.0),
        (document(0.5, 0.25), document(0.5, 0.375), 0.125),
        (document(0.5, 0.25), document(0.25, 0.25), 0.25),
        (document(0.5, None), document(0.5, 0.0), math.inf),
        (document(0.5, 0.25), document(0.5, 0.25, 0.25), math.inf),
        (document(None), document(None), 0.0),
    ],
)
def test_documents_are_compared_down_to_each_face(
    one: dict[str, object], other: dict[str, object], difference: float
) -> None:
    assert compare(one, other) == difference


def test_without_clips_it_says_how_to_make_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fakesieve.__main__.signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as stop:
        main(["demo-fleet", "--out", str(tmp_path)])
    assert stop.value.code == 1
    assert f"hint: make it first: fakesieve demo --out {tmp_path}" in capsys.readouterr().err
