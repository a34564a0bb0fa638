"""The crops of a group of frames, cut by the rule of ``engine/faces/crop.py``, ready for the network."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.arrays import F32, I64, U8
from engine.faces.crop import crop_face
from engine.faces.track import FaceTracks

if TYPE_CHECKING:  # types only: what was decoded may come from anywhere
    from engine.decode import SampledFrames


@dataclass(frozen=True)
class FaceBatch:
    """The crops of one group of frames, ready for the network.

    They stand in the order of those rows of ``FaceTracks`` whose ``exclude`` is None.
    """

    crops: U8  # [B, 3, S, S] RGB
    track: I64  # [B] ordinal of the track
    pts_us: I64  # [B] presentation time of the frame
    to_frame: F32  # [B, 2, 3] crop pixels to displayed-frame pixels
    frame: I64  # [B] index of the frame in its group

    def __post_init__(self) -> None:
        count = len(self.crops)
        if self.crops.dtype != np.uint8 or self.crops.ndim != 4 or self.crops.shape[1] != 3:
            raise ValueError(f"crops are uint8 [B, 3, S, S], not {self.crops.dtype} {self.crops.shape}")
        if self.crops.shape[2] != self.crops.shape[3]:
            raise ValueError(f"crops are square, not {self.crops.shape}")
        if self.to_frame.shape != (count, 2, 3):
            raise ValueError(f"to_frame is [{count}, 2, 3], not {self.to_frame.shape}")
        for name in ("track", "pts_us", "frame"):
            if getattr(self, name).shape != (count,):
                raise ValueError(f"{name} has not one entry for each of {count} crops")


def crop_faces(frames: "SampledFrames", tracks: FaceTracks, size: int) -> FaceBatch:
    """Crop every face of a group that carries no reason for exclusion, at the network's input size."""
    rows = np.flatnonzero([reason is None for reason in tracks.exclude])
    height, width = frames.rgb.shape[1:3]
    crops = np.empty((len(rows), 3, size, size), np.uint8)
    to_frame = np.empty((len(rows), 2, 3), np.float32)
    for place, row in enumerate(rows):
        box_px = tracks.boxes[row] * np.array([width, height, width, height], np.float32)
        crop, to_frame[place] = crop_face(frames.rgb[tracks.frame[row]], box_px, size)
        crops[place] = crop.transpose(2, 0, 1)
    frame = tracks.frame[rows]
    return FaceBatch(crops, tracks.track[rows], frames.pts_us[frame], to_frame, frame)
