"""N0, what a first script does: read every frame, detect on every frame, one forward pass per face."""

from pathlib import Path

import cv2
import numpy as np

from bench.contender import Screening, StageClock, mean_score
from bench.peers.facenet import find_boxes, load_mtcnn
from engine.backends.protocol import Backend
from engine.faces.crop import crop_face


class Naive:
    """Screens the first ``slice_frames`` frames of a video; each of them costs the same, so time scales."""

    name = "N0"

    def __init__(self, backend: Backend, slice_frames: int) -> None:
        self._backend = backend
        self._slice_frames = slice_frames
        self._detector = load_mtcnn()

    def screen(self, path: Path) -> Screening:
        """Read, detect, crop and score frame by frame."""
        clock, logits = StageClock(), list[float]()
        capture = cv2.VideoCapture(str(path))
        if not capture.isOpened():
            raise OSError(f"OpenCV cannot open {path}")
        frames_in_video = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        read = 0
        while read < self._slice_frames:
            with clock.stage("decode"):
                there, bgr = capture.read()
            if not there:
                break
            read += 1
            with clock.stage("detect"):
                rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
                boxes = find_boxes(self._detector, rgb)
            for box in boxes:
                with clock.stage("crop"):
                    crop = crop_face(rgb, box, self._backend.input_size)[0]
                with clock.stage("predict"):
                    found = self._backend.infer(np.ascontiguousarray(crop.transpose(2, 0, 1))[None])[0]
                logits.append(float(found[0, 1] - found[0, 0]))
        capture.release()
        return Screening(mean_score(logits), read, frames_in_video, len(logits), clock.stages_ms)
