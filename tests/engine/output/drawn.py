"""Results of drawn clips: the file is there, the evidence is made to fit it."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.limits import Limits
from engine.output.frames import plan_frames
from engine.probe import probe_video
from engine.sandbox.handle import Sandbox
from engine.scan_result import ScanResult
from tests.engine.made_evidence import CROP, make_evidence
from tests.engine.output.made_results import finish_result, forged_patches

BOX_PX = (100.0, 60.0, 56.0, 56.0)
CROP_LEFT, CROP_TOP, CROP_SIDE = 91, 51, 73
"""The crop rule for that box: side 73 px around its centre."""
LOGITS = (3.0,) * 10


def drawn_result(path: Path, sandbox: Sandbox, *, step: int = 5) -> ScanResult:
    """A scan of a drawn video that found one forged face, always in the same place, in every fifth frame."""
    probe = probe_video(path, sandbox=sandbox)
    times = [target.pts_us for target in plan_frames(probe)][::step][: len(LOGITS)]
    return _result(path, probe, times)


def drawn_picture_result(path: Path, sandbox: Sandbox) -> ScanResult:
    """A scan of a picture that found one forged face."""
    return _result(path, probe_video(path, sandbox=sandbox), [0])


def _result(path: Path, probe, times: list[int]) -> ScanResult:
    cells = LOGITS[: len(times)]
    evidence = make_evidence({0: cells}, times_us=times, patches=forged_patches(cells))
    count = len(times)
    scale = CROP_SIDE / CROP
    size = np.array([probe.width, probe.height, probe.width, probe.height])
    evidence = replace(
        evidence,
        box=np.tile((np.array(BOX_PX) / size).astype(np.float32), (count, 1)),
        to_frame=np.tile(np.array([[scale, 0, CROP_LEFT], [0, scale, CROP_TOP]], np.float32), (count, 1, 1)),
        frame_width=probe.width,
        frame_height=probe.height,
    )
    return finish_result(evidence, probe, path)


LIMITS = Limits()
