"""Style and modules of the pages, at addresses that change with their content: browsers may keep them."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from fastapi import APIRouter, Request, Response

from api.problems import not_found

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_YEAR_S = 31_536_000
_IMPORT = re.compile(r'^import .* from "\./([a-z]+\.js)";$', re.MULTILINE)


@dataclass(frozen=True)
class StaticFiles:
    """All files by name. ``digest`` is of all of them: modules name each other beside them."""

    digest: str
    contents: Mapping[str, bytes]

    def name_address(self, name: str) -> str:
        """Return where a browser finds a file. Raises KeyError for one that is not there."""
        if name not in self.contents:
            raise KeyError(name)
        return f"/static/{self.digest}/{name}"

    def list_imports(self, name: str) -> list[str]:
        """Return the modules that a module needs, by name, those that others of them need too."""
        found, new = set[str](), {name}
        while new:
            found |= new
            new = {each for one in new for each in _IMPORT.findall(self.contents[one].decode())} - found
        return sorted(found - {name})


def read_files(folder: Path = _FOLDER) -> StaticFiles:
    """Read the files that go to browsers."""
    contents = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in _TYPES}
    digest = hashlib.sha256()
    for name, content in contents.items():
        digest.update(f"{name} {len(content)} ".encode() + content)
    return StaticFiles(digest.hexdigest()[:16], MappingProxyType(contents))


FILES = read_files()

router = APIRouter(include_in_schema=False)


@router.get("/static/{digest}/{name}")
def send_file(digest: str, name: str, request: Request) -> Response:
    """Send one file; under the digest of another release there is none."""
    content = FILES.contents.get(name)
    if content is None or digest != FILES.digest:
        raise not_found("file", request.url.path)
    headers = {
        "Cache-Control": f"public, max-age={_YEAR_S}, immutable",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'",
    }
    return Response(content, headers=headers, media_type=_TYPES[Path(name).suffix])
