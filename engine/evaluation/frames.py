"""Single frames for masks and for the pictures of the report, decoded in the sandbox like everything else."""

from pathlib import Path

import numpy as np

from engine.arrays import U8
from engine.decode import decode_samples
from engine.errors import MediaRejected
from engine.evaluation.measures import PeakFace
from engine.faces.crop import crop_face
from engine.limits import Limits
from engine.output.drawing import PatchMap, draw_patch_map
from engine.output.encode import encode_jpeg
from engine.probe import probe_video
from engine.results import RejectReason
from engine.sampling import SampleTarget
from engine.sandbox.handle import Sandbox

SHOWN_PX = 224
ROOM = 1.15
"""Side of the picture of a face over the side of the network's crop, so that its surroundings can be seen."""


def decode_picture(path: Path, sandbox: Sandbox, pts_us: int = 0, limits: Limits | None = None) -> U8:
    """Return one frame, RGB [H, W, 3], of a video or a picture. Raises MediaRejected if it cannot be had."""
    probe = probe_video(path, limits, sandbox)
    before = [time for time in probe.keyframes_us if time <= pts_us]
    target = SampleTarget(pts_us, max(before, default=0))
    with decode_samples(path, probe, [target], sandbox=sandbox, limits=limits) as stream:
        for frames in stream:
            return np.array(frames.rgb[0])
    raise MediaRejected(RejectReason.NO_FRAMES, f"no frame at {pts_us} us", "check the file")


def draw_peak(
    path: Path, peak: PeakFace, sandbox: Sandbox, limits: Limits | None = None
) -> tuple[bytes, bytes]:
    """Return the highest scoring face of a file as two JPEGs: as it is, and with its patch map.

    Raises MediaRejected if the frame cannot be decoded again.
    """
    plain = decode_picture(path, sandbox, peak.pts_us, limits)
    marked = plain.copy()
    draw_patch_map(marked, PatchMap(peak.patches, peak.to_frame, peak.crop_size))
    height, width = plain.shape[:2]
    x, y, w, h = (share * side for share, side in zip(peak.box, (width, height, width, height), strict=True))
    wide, high = w * ROOM, h * ROOM
    around = (x + (w - wide) / 2, y + (h - high) / 2, wide, high)
    both = [encode_jpeg(crop_face(frame, around, SHOWN_PX)[0]) for frame in (plain, marked)]
    return both[0], both[1]
