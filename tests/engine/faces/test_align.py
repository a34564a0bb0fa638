"""The crops of a group of frames: whose they are, and that their columns agree."""

import numpy as np
import pytest

from engine.faces.align import FaceBatch, crop_faces
from engine.faces.crop import crop_face
from engine.faces.track import FaceTracker
from tests.engine.faces.pictures import faces_at, noise, sampled


def test_only_faces_without_a_reason_are_cropped():
    frames = sampled(noise(2, height=240, width=320))
    small, large = (0.05, 0.05, 0.05, 0.08), (0.4, 0.2, 0.3, 0.5)
    tracks = FaceTracker().update(frames, [faces_at(small, large), faces_at(large)])
    batch = crop_faces(frames, tracks, 64)
    assert batch.crops.shape == (2, 3, 64, 64)
    assert batch.frame.tolist() == [0, 1]
    assert batch.pts_us.tolist() == frames.pts_us.tolist()
    assert len(set(batch.track.tolist())) == 1
    expected, affine = crop_face(frames.rgb[0], np.array(large) * [320, 240, 320, 240], 64)
    assert np.array_equal(batch.crops[0].transpose(1, 2, 0), expected)
    assert np.array_equal(batch.to_frame[0], affine)


def test_group_without_faces_gives_an_empty_batch():
    frames = sampled(noise(1))
    tracks = FaceTracker().update(frames, [faces_at()])
    assert crop_faces(frames, tracks, 32).crops.shape == (0, 3, 32, 32)


@pytest.mark.parametrize(
    "changed",
    [
        {"crops": np.zeros((1, 3, 8, 9), np.uint8)},
        {"crops": np.zeros((1, 3, 8, 8), np.float32)},
        {"track": np.zeros(2, np.int64)},
        {"to_frame": np.zeros((1, 3, 3), np.float32)},
    ],
)
def test_batch_of_disagreeing_columns_is_refused(changed):
    one = np.zeros(1, np.int64)
    columns = {
        "crops": np.zeros((1, 3, 8, 8), np.uint8),
        "track": one,
        "pts_us": one,
        "to_frame": np.zeros((1, 2, 3), np.float32),
        "frame": one,
    }
    with pytest.raises(ValueError, match=r"crops|to_frame|track"):
        FaceBatch(**(columns | changed))
