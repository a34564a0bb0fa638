"""Who looks where he should not: a web server that counts, and a watch on files that must stay unread."""

import ctypes
import os
import struct
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

_IN_ACCESS, _IN_OPEN = 0x1, 0x20
_EVENT = struct.Struct("iIII")

_DEEDS = {
    "open",
    "socket.connect",
    "socket.getaddrinfo",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
}
INSTALLATION = tuple(
    os.path.realpath(folder) for folder in (sys.prefix, sys.base_prefix, Path(__file__).parents[2] / "engine")
)
"""Where modules, templates, fonts and zone files of what is installed lie; they are loaded at first use."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class HitCounter:
    """A web server on this machine that keeps the paths it was asked for and answers 404."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        paths = self.paths

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                paths.append(self.path)
                self.send_error(404)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class ReadWatch:
    """Tells which of some files were opened or read by anyone since it began (Linux: inotify)."""

    def __init__(self, paths: list[Path]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify is not to be had")
        self._paths = {self._watch(path): path for path in paths}

    def _watch(self, path: Path) -> int:
        number = self._libc.inotify_add_watch(self._descriptor, os.fsencode(path), _IN_ACCESS | _IN_OPEN)
        if number < 0:
            raise OSError(ctypes.get_errno(), f"cannot watch {path}")
        return int(number)

    def touched(self) -> set[str]:
        """Return the names of the files that were opened or read since the last call."""
        names: set[str] = set()
        while True:
            try:
                events = os.read(self._descriptor, 1 << 16)
            except BlockingIOError:
                return names
            place = 0
            while place < len(events):
                number, _, _, length = _EVENT.unpack_from(events, place)
                names.add(self._paths[number].name)
                place += _EVENT.size + length

    def close(self) -> None:
        os.close(self._descriptor)


class DeedsOfThisProcess:
    """Files opened, connections made and programs started by Python code of this process while watched.

    What threads do that ran before is their own business: servers and keepers of other tests live as long as
    the process.
    """

    def __init__(self) -> None:
        self._is_on = False
        self._others: set[int | None] = set()
        self._seen: set[tuple[str, str]] = set()
        self._written: set[str] = set()
        sys.addaudithook(self._note)  # for good: a hook cannot be taken back

    def _note(self, event: str, arguments: tuple) -> None:
        # A number is a descriptor of what was opened before.
        if not self._is_on or event not in _DEEDS or isinstance(arguments[0], int):
            return
        if threading.get_native_id() in self._others:
            return
        if event != "open":
            self._seen.add((event, str(arguments[0])))
            return
        path, _, flags = arguments
        self._seen.add((event, os.fsdecode(path)))
        if flags & _WRITES:
            self._written.add(os.fsdecode(path))

    @contextmanager
    def watch(self) -> Generator[set[tuple[str, str]]]:
        """Yield what is done inside of the block, but for reading the installation.

        Nor is told what the interpreter itself writes there, the bytecode of modules; other writes are. Nor
        ``/dev/null``: a child is given it while the sandbox tries its own doors.
        """
        self._others = {each.native_id for each in threading.enumerate()} - {threading.get_native_id()}
        seen, written = self._seen, self._written = set[tuple[str, str]](), set[str]()
        self._is_on = True
        try:
            yield seen
        finally:
            self._is_on = False
            seen -= {deed for deed in seen if deed[0] == "open" and _is_harmless(deed[1], written)}


def _is_harmless(path: str, written: set[str]) -> bool:
    if path == os.devnull:
        return True
    place = Path(os.path.realpath(path))
    is_installed = str(place).startswith(tuple(f"{folder}/" for folder in INSTALLATION))
    # Bytecode is written under a name with a number behind it, and then renamed.
    is_bytecode = place.parent.name == "__pycache__" and ".pyc" in place.suffixes
    return is_installed and (path not in written or is_bytecode)
