"""Where a server that may not run as root keeps its data, and as whom it runs."""

import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path

from fakesieve.embedded.program import Owner
from fakesieve.errors import Unavailable
from fakesieve.reasons import Reason

_USERS = ("postgres", "nobody")
# Kept over a restart of the machine, unlike /tmp, and every user may enter it.
_SHARED = Path("/var/lib")


def choose_owner() -> Owner | None:
    """Return the system user that stands in for root, None where this process is not root."""
    if os.geteuid() != 0:
        return None
    for name in _USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Owner(name, entry.pw_uid, entry.pw_gid)
    raise Unavailable(
        Reason.INTERNAL,
        f"Postgres does not run as root, and this machine has none of the users {', '.join(_USERS)}",
        "run it as another user than root, or add the user: useradd --system postgres",
    )


def choose_place(folder: Path, owner: Owner | None) -> Path:
    """Return ``folder``, or the place that stands in for it where the owner cannot enter it.

    Then ``folder/place`` is a link to a folder under /var/lib: what is closed, such as /root, stays closed.
    Raises Unavailable where that was removed.
    """
    link = folder / "place"
    if link.is_symlink():
        if not link.is_dir():
            raise Unavailable(
                Reason.DATABASE_UNAVAILABLE,
                f"the data of {folder} lay in {link.readlink()}, which is gone",
                f"bring it back, or remove {folder} to start with an empty database",
            )
        return link.resolve()
    if may_enter(folder, owner):
        return folder
    place = Path(tempfile.mkdtemp(prefix="fakesieve-", dir=_SHARED))
    place.chmod(0o755)
    link.symlink_to(place)
    return place


def may_enter(folder: Path, owner: Owner | None) -> bool:
    """Return whether the owner can reach the folder, by the modes of all folders above it."""
    if owner is None:
        return True
    return all(_has_right(each, owner, stat.S_IXOTH) for each in (folder, *folder.parents))


def may_read(program: Path, owner: Owner | None) -> bool:
    """Return whether the owner can reach and run a program."""
    if owner is None:
        return True
    return may_enter(program.parent, owner) and _has_right(program, owner, stat.S_IXOTH | stat.S_IROTH)


def copy_software(wheel: Path, place: Path) -> Path:
    """Copy a server's files and the libraries beside them to where their user can read them.

    A wheel may lie where only root can enter, and whose modes are not ours to change.
    """
    target = place / "software"
    package = wheel.parent
    if not target.exists():
        draft = Path(tempfile.mkdtemp(prefix=".software-", dir=place))
        for source in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(source, draft / source.name)
        for path in (draft, *draft.rglob("*")):
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if path.is_dir() or mode & stat.S_IXUSR else 0o444))
        draft.rename(target)
    return target / package.name / wheel.name


def _has_right(path: Path, owner: Owner, needed: int) -> bool:
    """Compare as the kernel does: the owner's bits, else the group's, else those of all others."""
    found = path.stat()
    if found.st_uid == owner.user:
        needed <<= 6
    elif found.st_gid == owner.group:
        needed <<= 3
    return found.st_mode & needed == needed
