"""The forged copy: same frames, same times, changed where and when it says."""

from pathlib import Path

import av
import numpy as np
import pytest

from engine.demo.clips import ForgedClip, mirror_points, read_donor, write_forged_clip
from engine.demo.forge import UPPER_FACE, WHOLE_FACE, Donor, draw_mask
from engine.errors import MediaRejected
from engine.faces.detect import FaceBoxes
from engine.sandbox.handle import Sandbox
from tests.assets import astronaut
from tests.engine.fakes import OneFaceDetector
from tests.media import draw_clip, encode_picture, read_index
from tests.tolerance import ENCODED_LEVELS

WIDTH, HEIGHT = 480, 320
START_US, CLEAR_US, END_US = 800_000, 1_200_000, 1_600_000


def mask_at(clip: ForgedClip, time_us: int):
    """The opacity [height, width] of the forgery in the frame at a time, zeros if untouched."""
    if time_us not in clip.times_us:
        return np.zeros((HEIGHT, WIDTH), np.float32)
    outline = UPPER_FACE if time_us < clip.clear_us else WHOLE_FACE
    return draw_mask(clip.points[clip.times_us.index(time_us)], outline, WIDTH, HEIGHT)


class MirrorDetector(OneFaceDetector):
    """Finds the face of ``OneFaceDetector`` also in the mirror image, which it knows by a dark right edge."""

    def detect(self, rgb):
        found = super().detect(rgb)
        return [
            self._mirror(faces) if _is_mirrored(frame) else faces
            for faces, frame in zip(found, rgb, strict=True)
        ]

    @staticmethod
    def _mirror(faces: FaceBoxes) -> FaceBoxes:
        boxes = faces.boxes.copy()
        boxes[:, 0] = 1 - boxes[:, 0] - boxes[:, 2]
        return FaceBoxes(
            boxes, faces.confidence, np.stack([mirror_points(points) for points in faces.landmarks])
        )


def _is_mirrored(frame: np.ndarray) -> bool:
    return frame[60:, -8:].mean() < 20 < frame[60:, :8].mean()


def paint(index: int, rgb: np.ndarray) -> None:
    """Skin colour with a little structure, and a dark left edge."""
    del index
    noise = np.random.default_rng(2).integers(-8, 9, (HEIGHT - 40, WIDTH, 1))
    rgb[40:] = np.clip(np.array([150, 110, 90]) + noise, 0, 255)
    rgb[40:, :10] = 0


@pytest.fixture(scope="module")
def forged(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ForgedClip]:
    folder = tmp_path_factory.mktemp("forged")
    source = draw_clip(
        folder / "source.mp4", width=WIDTH, height=HEIGHT, frames=60, paint=paint, options={"crf": "12"}
    )
    (folder / "donor.png").write_bytes(encode_picture(astronaut(), "png"))
    clip = write_forged_clip(
        source,
        folder / "donor.png",
        folder / "forged.mp4",
        MirrorDetector(),
        sandbox,
        start_us=START_US,
        end_us=END_US,
        clear_us=CLEAR_US,
    )
    return source, clip


def read(path: Path) -> tuple[list[int], list[np.ndarray], dict[str, str]]:
    with av.open(str(path)) as container:
        base = container.streams.video[0].time_base
        frames = list(container.decode(video=0))
        return (
            [round(frame.pts * base * 1_000_000) for frame in frames],
            [frame.to_ndarray(format="rgb24") for frame in frames],
            dict(container.metadata),
        )


def test_frames_and_times_are_those_of_the_source(forged: tuple[Path, ForgedClip]) -> None:
    source, clip = forged
    times, frames, _ = read(clip.path)
    assert times == read(source)[0]
    assert [read_index(frame) for frame in frames] == list(range(60))


def test_the_file_says_that_it_is_forged(forged: tuple[Path, ForgedClip]) -> None:
    assert "Forged on purpose" in read(forged[1].path)[2]["comment"]


def test_the_mask_is_there_from_start_to_before_the_end(forged: tuple[Path, ForgedClip]) -> None:
    _, clip = forged
    assert clip.times_us == tuple(range(START_US, END_US, 40_000))
    assert not mask_at(clip, START_US - 40_000).any()
    assert not mask_at(clip, END_US).any()
    assert mask_at(clip, CLEAR_US).sum() > 1.5 * mask_at(clip, CLEAR_US - 40_000).sum()  # then the whole face


def test_changed_pixels_lie_under_the_mask(forged: tuple[Path, ForgedClip]) -> None:
    source, clip = forged
    times, before, _ = read(source)
    _, after, _ = read(clip.path)
    for time_us, old, new in zip(times, before, after, strict=True):
        moved = np.abs(old.astype(int) - new).mean(axis=2)
        mask = mask_at(clip, time_us)
        assert np.quantile(moved[mask == 0], 0.98) <= 2 * ENCODED_LEVELS
        if mask.any():
            assert moved[mask > 0.95].mean() > 3 * moved[mask == 0].mean()


def test_a_donor_without_a_face_is_refused(tmp_path: Path, sandbox: Sandbox) -> None:
    picture = tmp_path / "black.png"
    picture.write_bytes(encode_picture(np.zeros((100, 100, 3), np.uint8), "png"))
    with pytest.raises(MediaRejected, match="no face"):
        read_donor(picture, OneFaceDetector(), sandbox)


def test_a_donors_points_are_in_its_pixels(tmp_path: Path, sandbox: Sandbox) -> None:
    picture = tmp_path / "donor.png"
    picture.write_bytes(encode_picture(astronaut(), "png"))
    donor = read_donor(picture, OneFaceDetector(), sandbox)
    assert isinstance(donor, Donor)
    assert donor.points[0] == pytest.approx((0.4 * 512, 0.45 * 512), rel=1e-6)


def test_mirrored_points_change_sides() -> None:
    points = np.array([(0.2, 0.1), (0.4, 0.1), (0.3, 0.2), (0.22, 0.3), (0.38, 0.3)], np.float32)
    mirrored = mirror_points(points)
    assert mirrored[0] == pytest.approx((0.6, 0.1))
    assert mirror_points(mirrored) == pytest.approx(points)
