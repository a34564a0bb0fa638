"""Patch maps for programs: inline in the document, or all of a video in one NumPy archive."""

import io
import zipfile
from pathlib import Path

import numpy as np

from engine.aggregate import sigmoid
from engine.output.files import write_whole
from engine.result_forms import JsonObject, form_map
from engine.results import TrackScore
from engine.scan_result import ScanResult


def find_rows(result: ScanResult, track: TrackScore) -> dict[int, int]:
    """Return the row in the evidence of each scored frame of a track, by the frame's time."""
    evidence = result.evidence
    if evidence is None:
        return {}
    rows = np.flatnonzero((evidence.track == track.ordinal) & evidence.is_scored).tolist()
    return {int(evidence.pts_us[row]): row for row in rows}


def encode_map(result: ScanResult, row: int) -> JsonObject:
    """Return the patch map of one row of the evidence as it stands in documents."""
    evidence = result.evidence
    assert evidence is not None
    patches = evidence.patches[row]
    return form_map(patches.shape[0], patches.tobytes(), evidence.crop_size, evidence.to_frame[row])


def write_patches(result: ScanResult, path: Path) -> None:
    """Write the patch maps of a scan as ``.npz``, one entry for each scored face in order of time.

    patches uint8 [n, g, g] (255 * P), to_frame float32 [n, 2, 3] (crop pixels to pixels of the displayed
    frame), pts_us int64 [n], track int64 [n], score float32 [n], frame_size int64 [2] (width, height),
    crop_size int64 []. Equal scans give equal files. Raises Unavailable (OUTPUT_FAILED).
    """
    evidence = result.evidence
    if evidence is None:
        raise ValueError("a scan without evidence has no patch maps")
    scored = evidence.is_scored
    logit = evidence.logit[scored].astype(np.float64)
    columns = {
        "patches": evidence.patches[scored],
        "to_frame": evidence.to_frame[scored],
        "pts_us": evidence.pts_us[scored],
        "track": evidence.track[scored],
        "score": sigmoid(logit).astype(np.float32),
        "frame_size": np.array([evidence.frame_width, evidence.frame_height], np.int64),
        "crop_size": np.array(evidence.crop_size, np.int64),
    }
    write_whole(path, _pack(columns))


def _pack(columns: dict[str, np.ndarray]) -> bytes:
    """Return an ``.npz``. NumPy's own writer puts the clock's time in, and no two files would be equal."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, column in columns.items():
            body = io.BytesIO()
            np.lib.format.write_array(body, np.ascontiguousarray(column).reshape(column.shape))
            packed.writestr(zipfile.ZipInfo(f"{name}.npy"), body.getvalue(), zipfile.ZIP_DEFLATED)
    return archive.getvalue()
