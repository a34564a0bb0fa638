"""Writes a copy of a clip in which a span of a face was swapped, and knows where."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.arrays import F32, F64, U8
from engine.decode import decode_samples
from engine.demo.forge import (
    UPPER_FACE,
    WHOLE_FACE,
    Donor,
    choose_steady,
    follow_points,
    swap_face,
)
from engine.errors import MediaRejected
from engine.faces.detect import FaceDetector
from engine.output.encode import VideoWriter
from engine.output.frames import plan_frames
from engine.probe import Probe, probe_video
from engine.results import RejectReason
from engine.sampling import SampleTarget
from engine.sandbox.handle import Sandbox

START_US, END_US = 6_000_000, 14_000_000
CLEAR_US = 9_900_000
"""Until then the woman of the demonstration clip holds a hand before her mouth; it must stay in front."""
_DETECT_EVERY = 4  # frames; the head moves little in between, and the detector is the slow part
_CRF = 18  # like the source in size
_COMMENT = "Forged on purpose: a face was swapped by the demonstration of fakesieve."


@dataclass(frozen=True)
class ForgedClip:
    """A forged video and where it is forged."""

    path: Path
    start_us: int
    end_us: int
    times_us: tuple[int, ...]  # [n] of the forged frames
    points: F64  # [n, 5, 2] of the face in them, pixels
    clear_us: int  # from then on the whole face is swapped, before it the upper part

    def forge(self, rgb: U8, time_us: int, donor: Donor) -> U8:
        """Return the frame as it stands in the forged clip."""
        if time_us not in self.times_us:
            return rgb
        points = self.points[self.times_us.index(time_us)]
        return swap_face(rgb, points, donor, self._outline(time_us)).rgb

    def _outline(self, time_us: int) -> F64:
        return UPPER_FACE if time_us < self.clear_us else WHOLE_FACE


def write_forged_clip(
    source: Path,
    donor_picture: Path,
    path: Path,
    detector: FaceDetector,
    sandbox: Sandbox,
    *,
    start_us: int = START_US,
    end_us: int = END_US,
    clear_us: int = CLEAR_US,
) -> ForgedClip:
    """Write a copy of ``source`` with the largest face swapped from ``start_us`` to before ``end_us``.

    Frames keep their times; sound is left out. Raises MediaRejected if a file is unreadable or has no face.
    """
    probe = probe_video(source, sandbox=sandbox)
    targets = plan_frames(probe)
    span = tuple(target for target in targets if start_us <= target.pts_us < end_us)
    donor = read_donor(donor_picture, detector, sandbox)
    points = _find_points(source, probe, span, detector, sandbox)
    times = tuple(target.pts_us for target in span)
    clip = ForgedClip(path, start_us, end_us, times, points, clear_us)
    with (
        VideoWriter(path, probe.width, probe.height, crf=_CRF, preset="fast", comment=_COMMENT) as writer,
        decode_samples(source, probe, targets, sandbox=sandbox) as stream,
    ):
        for group in stream:
            for time_us, rgb in zip(group.pts_us.tolist(), group.rgb, strict=True):
                writer.write(clip.forge(rgb, time_us, donor), time_us, probe.frame_us)
    return clip


def read_donor(picture: Path, detector: FaceDetector, sandbox: Sandbox, *, place: int = 1) -> Donor:
    """Return the face of a picture that is number ``place`` by size, from 0, or the last one."""
    probe = probe_video(picture, sandbox=sandbox)
    with decode_samples(picture, probe, plan_frames(probe), sandbox=sandbox) as stream:
        rgb = next(stream).rgb
    (found,) = detector.detect(rgb)
    if not len(found.boxes):
        raise _no_face(picture)
    points = found.landmarks[min(place, len(found.boxes) - 1)].astype(np.float64)
    return Donor(rgb[0], points * np.array([probe.width, probe.height], np.float64))


def _find_points(
    source: Path, probe: Probe, span: tuple[SampleTarget, ...], detector: FaceDetector, sandbox: Sandbox
) -> F64:
    """Return the points [n, 5, 2] of the largest face in every frame of the span, in pixels."""
    seen_us: list[int] = []
    views: list[F32] = []
    with decode_samples(source, probe, span[::_DETECT_EVERY], sandbox=sandbox) as stream:
        for group in stream:
            plain = detector.detect(group.rgb)
            mirrored = detector.detect(np.ascontiguousarray(group.rgb[:, :, ::-1]))
            for time_us, found, turned in zip(group.pts_us.tolist(), plain, mirrored, strict=True):
                if len(found.boxes) and len(turned.boxes):
                    seen_us.append(time_us)
                    views.append(np.stack([found.landmarks[0], mirror_points(turned.landmarks[0])]))
    if not views:
        raise _no_face(source)
    candidates = np.stack(views).astype(np.float64) * np.array([probe.width, probe.height], np.float64)
    return follow_points([target.pts_us for target in span], seen_us, choose_steady(candidates))


def mirror_points(points: F32) -> F32:
    """Return five points [5, 2], fractions of a mirrored picture, as they lie in the picture itself."""
    mirrored = points[[1, 0, 2, 4, 3]].copy()
    mirrored[:, 0] = 1 - mirrored[:, 0]
    return mirrored


def _no_face(path: Path) -> MediaRejected:
    return MediaRejected(
        RejectReason.NO_FRAMES, f"no face was found in {path}", "delete it and fetch it again"
    )
