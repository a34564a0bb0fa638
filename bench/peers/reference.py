"""N1 and N2, the plan of a well-known contest winner: 32 frames, grab past the rest, one batch a video.

Between the wanted frames ``grab`` still decodes every frame. Detection sees one frame at a time at half
size; all faces of a video go through the network in one batch. N2 is the same with our detector at full
size, which tells what decoding and batching alone are worth.
"""

from pathlib import Path

import cv2
import numpy as np

from bench.contender import Screening, StageClock, mean_score
from bench.peers.facenet import find_boxes, load_mtcnn
from engine.arrays import F32, U8
from engine.backends.protocol import Backend
from engine.faces.crop import crop_face
from engine.faces.detect import MtcnnDetector

FRAMES = 32


class Reference:
    """Screens 32 evenly spaced frames of a video."""

    def __init__(self, backend: Backend, *, own_detector_threads: int = 0) -> None:
        """Take facenet-pytorch's detector, or ours when it is given threads."""
        self.name = "N2" if own_detector_threads else "N1"
        self._backend = backend
        self._ours = MtcnnDetector(threads=own_detector_threads) if own_detector_threads else None
        self._theirs = None if own_detector_threads else load_mtcnn()

    def screen(self, path: Path) -> Screening:
        """Grab, detect frame by frame, score in one batch."""
        clock, crops = StageClock(), list[U8]()
        with clock.stage("decode"):
            frames, frames_in_video = grab_frames(path)
        for rgb in frames:
            with clock.stage("detect"):
                boxes = self._find(rgb)
            with clock.stage("crop"):
                crops += [crop_face(rgb, box, self._backend.input_size)[0] for box in boxes]
        logits = list[float]()
        if crops:
            with clock.stage("predict"):
                batch = np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2))
                found = self._backend.infer(batch)[0]
            logits = [float(v) for v in found[:, 1] - found[:, 0]]
        return Screening(mean_score(logits), frames_in_video, frames_in_video, len(logits), clock.stages_ms)

    def _find(self, rgb: U8) -> F32:
        height, width = rgb.shape[:2]
        if self._ours is not None:
            return self._ours.detect(rgb[None])[0].boxes * np.array(
                [width, height, width, height], np.float32
            )
        assert self._theirs is not None
        half = cv2.resize(rgb, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        return find_boxes(self._theirs, half) * 2


def grab_frames(path: Path) -> tuple[list[U8], int]:
    """Return 32 evenly spaced RGB frames and the number of frames that were passed. Raises OSError."""
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise OSError(f"OpenCV cannot open {path}")
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    wanted = set(np.linspace(0, count - 1, FRAMES, dtype=int).tolist())
    frames = list[U8]()
    for index in range(count):
        if not capture.grab():
            break
        if index in wanted:
            there, bgr = capture.retrieve()
            if there:
                frames.append(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
    capture.release()
    return frames, count
