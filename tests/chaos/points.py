"""Points in processes of the product at which a test has something done; see ``hooks/sitecustomize.py``."""

import os
from pathlib import Path

HOOKS = Path(__file__).resolve().parent / "hooks"
CHECKOUT = Path(__file__).resolve().parents[2]


class Points:
    """What is armed, and who has met it, in a folder that the processes of one fleet share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("armed", "met", "modes", "saw"):
            (folder / name).mkdir()

    @property
    def environment(self) -> dict[str, str]:
        """What a process must be told so that it looks for points."""
        # This code, whatever is installed.
        return {"CHAOS_FOLDER": str(self.folder), "PYTHONPATH": f"{HOOKS}{os.pathsep}{CHECKOUT}"}

    def arm(self, point: str, action: str, job_id: str = "") -> None:
        """Have the next process that comes to a point (with this job) do something."""
        name = _name(point, job_id)
        draft = self.folder / f".{name}"
        draft.write_text(action)
        draft.rename(self.folder / "armed" / name)

    def find_met(self, point: str, job_id: str = "") -> list[int]:
        """Process ids that have met what was armed."""
        met = (self.folder / "met").glob(f"{_name(point, job_id)}.*")
        return [int(path.name.rsplit(".", 2)[1]) for path in met]

    def release(self, point: str, job_id: str = "") -> None:
        """Let go of who is held at a point, and disarm it."""
        name = _name(point, job_id)
        for path in ((self.folder / "armed" / name), *(self.folder / "met").glob(f"{name}.*")):
            path.unlink(missing_ok=True)


def _name(point: str, job_id: str) -> str:
    return f"{point}@{job_id}" if job_id else point
