"""Written videos keep times and colours, and appear whole or not at all."""

import io
from pathlib import Path

import av
import numpy as np
import pytest

from engine.errors import Unavailable
from engine.output.encode import VideoWriter, encode_jpeg
from engine.results import RejectReason
from tests.tolerance import ENCODED_LEVELS

TIMES_US = (0, 41_708, 83_417, 250_000, 250_001)
COLOUR = (200, 60, 30)


def write(path: Path, times_us=TIMES_US) -> None:
    with VideoWriter(path, 64, 48, comment="made by a test") as writer:
        for time_us in times_us:
            writer.write(np.full((48, 64, 3), COLOUR, np.uint8), time_us, 40_000)


def read(path: Path) -> tuple[list[int], np.ndarray, dict[str, str]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        base = container.streams.video[0].time_base
        times = [round(frame.pts * base * 1_000_000) for frame in frames]
        rgb = frames[0].reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()
        return times, rgb, dict(container.metadata)


def test_times_are_kept_to_the_microsecond(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4")
    times, _, metadata = read(tmp_path / "a.mp4")
    assert tuple(times) == TIMES_US
    assert metadata["comment"] == "made by a test"


def test_colours_are_kept(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4")
    _, rgb, _ = read(tmp_path / "a.mp4")
    assert np.abs(rgb.reshape(-1, 3).mean(axis=0) - COLOUR).max() <= ENCODED_LEVELS


@pytest.mark.parametrize("folder", ["a:b", "http:", "%03d", "a|b", "-i"])
def test_a_folder_of_any_name_takes_a_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(folder).mkdir()
    write(Path(folder) / "a.mp4")
    assert [path.name for path in Path(folder).iterdir()] == ["a.mp4"]
    (tmp_path / folder / "a.mp4").replace(tmp_path / "found.mp4")
    assert tuple(read(tmp_path / "found.mp4")[0]) == TIMES_US


def write_and_stop(path: Path) -> None:
    with VideoWriter(path, 64, 48) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8), 0)
        raise KeyboardInterrupt


def test_a_video_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_and_stop(tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []


def test_two_runs_may_write_the_same_video(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 64, 48) as first:
        write(tmp_path / "a.mp4")
        first.write(np.zeros((48, 64, 3), np.uint8), 0)
        first.write(np.zeros((48, 64, 3), np.uint8), 7)
    assert read(tmp_path / "a.mp4")[0] == [0, 7]
    assert [each.name for each in tmp_path.iterdir()] == ["a.mp4"]


def test_a_video_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        write(tmp_path / "missing" / "a.mp4")
    assert caught.value.reason is RejectReason.OUTPUT_FAILED
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [(63, 48), (64, 47), (0, 0)])
def test_sides_that_cannot_be_coded_are_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="even"):
        VideoWriter(tmp_path / "a.mp4", *size)


def test_times_must_rise(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="follows"):
        write(tmp_path / "a.mp4", (40_000, 40_000))


def test_pictures_become_jpeg() -> None:
    data = encode_jpeg(np.full((20, 30, 3), COLOUR, np.uint8))
    with av.open(io.BytesIO(data), format="jpeg_pipe") as container:
        rgb = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert rgb.shape == (20, 30, 3)
    assert np.abs(rgb.mean((0, 1)) - COLOUR).max() <= ENCODED_LEVELS
