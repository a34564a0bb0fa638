"""Make the README's pictures from what ``fakesieve demo`` wrote: an overlay frame and a timeline.

Usage: python tools/make_images.py [DEMO_FOLDER] [PICTURE_FOLDER]
"""

import json
import re
import sys
from pathlib import Path

import av
import cv2
import numpy as np

STEM = "WolfgangLanger_forged"
JPEG_QUALITY = 90
_TIMELINE = re.compile(r'<svg viewBox="(?P<box>[^"]+)".*?</svg>', re.DOTALL)
_STYLE = "text { font: 13px system-ui, sans-serif; fill: #1b1f24; } .dim { fill: #57606a; }"


def write_overlay_frame(demo: Path, picture: Path) -> None:
    """Write the overlay's frame with the highest face score as JPEG; the patch map is drawn there."""
    document = json.loads((demo / f"{STEM}.json").read_text(encoding="utf-8"))
    peak_us = document["tracks"][0]["peak_pts_us"][0]
    with av.open(str(demo / f"{STEM}.overlay.mp4")) as overlay:
        frames = overlay.decode(video=0)
        shown = next(f for f in frames if f.time is not None and round(f.time * 1e6) >= peak_us)
    bgr = np.asarray(shown.to_ndarray(format="bgr24"), np.uint8)
    if not cv2.imwrite(str(picture), bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
        raise OSError(f"{picture} cannot be written")


def write_timeline(demo: Path, picture: Path) -> None:
    """Take the timeline out of the report and make a picture of its own of it, on white."""
    page = (demo / f"{STEM}.report.html").read_text(encoding="utf-8")
    found = next(m for m in _TIMELINE.finditer(page) if "over time" in m[0])
    _, body = found[0].split(">", 1)
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{found["box"]}">'
    ground = '<rect width="100%" height="100%" fill="#ffffff"></rect>'
    picture.write_text(f"{opening}\n<style>{_STYLE}</style>\n{ground}{body}\n", encoding="utf-8")


def main(demo: Path, folder: Path) -> None:
    """Write both pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    write_overlay_frame(demo, folder / "overlay.jpg")
    write_timeline(demo, folder / "timeline.svg")


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    main(*given, *(Path("demo-out"), Path("docs/images"))[len(given) :])
