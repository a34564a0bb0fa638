"""Downloaded objects on the disk of a host, shared by the slots that work on the same video."""

import fcntl
import hashlib
import os
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Collection, Generator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from fakesieve.errors import FleetError, SourceRefused, Unavailable
from fakesieve.objects import Downloaded, ObjectStore, VideoRef
from fakesieve.reasons import Reason

FOLDER_PREFIX = "fakesieve-scratch-"
LOCK_NAME = "owner.lock"
SHARE_FREE_AGAIN = 0.1
CHECK_S = 0.5

_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,8}\Z")


@dataclass
class _Entry:
    """One object, on its way or there. It may be removed when nobody holds it."""

    ref: VideoRef
    path: Path
    size_bytes: int
    n_holders: int = 0
    was_stopped: bool = False  # whoever fetched it was told to end, which says nothing of the object
    arrived: Future[Downloaded] = field(default_factory=Future[Downloaded])

    @property
    def arrived_bytes(self) -> int:
        """What the complete copy has, -1 without one."""
        is_there = self.arrived.done() and self.arrived.exception() is None
        return self.arrived.result().size_bytes if is_there else -1


def _go_on() -> None:
    """Never end."""


class Scratch:
    """A cache of whole objects; use it as a context. Safe between threads.

    It keeps to a folder of its own under ``parent``, of at most ``limit_bytes`` (absent is as much as the
    disk has), and leaves ``free_bytes_min`` of the disk free. What nobody holds is removed when room is
    needed, longest unused first. The folder of a process that died is removed by the next that starts here,
    which then knows by ``dead_owners`` whose they were: an ``owner`` is noted in the folder.
    """

    def __init__(
        self,
        parent: Path,
        store: ObjectStore,
        *,
        free_bytes_min: int,
        limit_bytes: int | None = None,
        owner: str = "",
    ) -> None:
        if free_bytes_min < 0 or (limit_bytes is not None and limit_bytes < 1):
            raise ValueError("a scratch folder needs room, and a free share that is not negative")
        self._parent = parent
        self._store = store
        self._limit_bytes = limit_bytes
        self._free_bytes_min = free_bytes_min
        self._name = owner
        self.dead_owners: tuple[str, ...] = ()
        self._folder = parent / f"{FOLDER_PREFIX}{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()
        self._was_full = False

    def __enter__(self) -> Self:
        try:
            self._parent.mkdir(parents=True, exist_ok=True)
            with _locked(self._parent):
                self.dead_owners = tuple(sorted(_remove_abandoned(self._parent)))
                self._make_folder()
        except OSError as fault:
            seen = f"{self._parent}: cannot keep downloads there: {fault.strerror}"
            raise Unavailable(Reason.NO_SPACE, seen) from fault
        return self

    def _make_folder(self) -> None:
        self._folder.mkdir(mode=0o700)
        self._owner = (self._folder / LOCK_NAME).open("xb")
        fcntl.flock(self._owner, fcntl.LOCK_EX)
        self._owner.write(self._name.encode())
        self._owner.flush()

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._owner.close()

    @property
    def size_bytes(self) -> int:
        """What the objects take, those on their way with their whole length."""
        with self._lock:
            return self._count_bytes()

    def has_room(self) -> bool:
        """Whether new work should be taken.

        It is not while the disk has less free than it must keep; after it was full, not until a tenth of it
        is free again, so that a host does not take and give back the same shard over and over.
        """
        with self._lock:
            if not self._folder.is_dir() and not self._begin_anew():
                return False
            disk = shutil.disk_usage(self._folder)
            wanted = max(self._free_bytes_min, int(disk.total * SHARE_FREE_AGAIN) if self._was_full else 0)
            while disk.free < wanted and self._evict_one():
                disk = shutil.disk_usage(self._folder)
            self._was_full = disk.free < wanted
            return not self._was_full

    @contextmanager
    def hold(
        self, ref: VideoRef, *, limit_bytes: int | None = None, check: Callable[[], None] = _go_on
    ) -> Generator[Downloaded]:
        """Give the object as a local file that stays for the length of the context.

        A loose reference is pinned first, so that only the same bytes are shared. Who asks while another
        thread downloads waits for that download, and gets its error where it fails. Raises what the store
        raises, ``Unavailable`` with the reason ``NO_SPACE`` where there is no room, and what ``check``
        raises, which is asked again and again while the object is on its way.
        """
        if ref.etag is None or ref.size_bytes is None:
            ref = self._store.head(ref, check=check).ref
        if limit_bytes is not None and (ref.size_bytes or 0) > limit_bytes:
            seen = f"{ref.uri}: {ref.size_bytes} bytes, at most {limit_bytes} are allowed"
            raise SourceRefused(Reason.SOURCE_TOO_LARGE, seen)
        entry = self._get(ref, limit_bytes, check)
        try:
            yield entry.arrived.result()
        except BaseException:
            self._look_at(entry)
            raise
        finally:
            self._leave(entry)

    def _get(self, ref: VideoRef, limit_bytes: int | None, check: Callable[[], None]) -> _Entry:
        """Return the object's entry, held, once it is there. It must be left."""
        while True:
            entry, is_first = self._enter(ref)
            try:
                if is_first:
                    self._fetch(entry, limit_bytes, check)
                _await(entry.arrived, check)
            except BaseException:
                self._look_at(entry)
                self._leave(entry)
                if is_first or not entry.was_stopped:
                    raise
                check()  # what told the other one to end may have told this one, too
            else:
                return entry

    def forget(self, refs: Collection[VideoRef]) -> bool:
        """Remove copies of what lies at these places, whichever bytes; false while somebody holds one."""
        places = {(ref.bucket, ref.key) for ref in refs}
        with self._lock:
            there = [n for n, entry in self._entries.items() if (entry.ref.bucket, entry.ref.key) in places]
            free = [name for name in there if self._entries[name].n_holders == 0]
            for name in free:
                self._entries.pop(name).path.unlink(missing_ok=True)
        return len(free) == len(there)

    def _enter(self, ref: VideoRef) -> tuple[_Entry, bool]:
        """Return the object's entry, held, and whether it was made just now."""
        name = _name_file(ref)
        with self._lock:
            entry = self._entries.pop(name, None)
            is_first = entry is None
            if entry is None:
                self._make_room(ref)
                entry = _Entry(ref, self._folder / name, ref.size_bytes or 0)
            self._entries[name] = entry  # at the end: the order is that of last use
            entry.n_holders += 1
            return entry, is_first

    def _fetch(self, entry: _Entry, limit_bytes: int | None, check: Callable[[], None]) -> None:
        def ask() -> None:
            try:
                check()
            except BaseException:
                entry.was_stopped = True
                raise

        try:
            entry.arrived.set_result(
                self._store.download(entry.ref, entry.path, limit_bytes=limit_bytes, check=ask)
            )
        except BaseException as fault:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            with self._lock:
                # The next who asks begins anew; those who wait get this error.
                self._entries.pop(entry.path.name, None)
                self._was_full |= isinstance(fault, FleetError) and fault.reason is Reason.NO_SPACE
            entry.arrived.set_exception(fault)

    def _look_at(self, entry: _Entry) -> None:
        """Forget a copy with which work has failed if it is not what was fetched: the next asks again."""
        try:
            is_whole = entry.path.stat().st_size == entry.arrived_bytes
        except OSError:
            is_whole = False
        with self._lock:
            if not is_whole and self._entries.get(entry.path.name) is entry:
                del self._entries[entry.path.name]

    def _leave(self, entry: _Entry) -> None:
        with self._lock:
            entry.n_holders -= 1
            if entry.n_holders == 0 and entry.path.name not in self._entries:
                entry.path.unlink(missing_ok=True)

    def _begin_anew(self) -> bool:
        """Make the folder again after somebody has removed it, as what cleans /tmp does. The lock is held."""
        try:
            self._owner.close()
            self._parent.mkdir(parents=True, exist_ok=True)
            self._make_folder()
        except OSError:
            return False
        self._entries = {name: entry for name, entry in self._entries.items() if not entry.arrived.done()}
        return True

    def _make_room(self, ref: VideoRef) -> None:
        """Remove what nobody holds until the object fits, or raise. The lock is held."""
        needed = ref.size_bytes or 0
        while not self._fits(needed):
            if not self._evict_one():
                self._was_full = True
                seen = f"{ref.uri}: no room for {needed} bytes beside {self._count_bytes()} that are in use"
                raise Unavailable(Reason.NO_SPACE, seen)

    def _fits(self, needed: int) -> bool:
        # What is on its way will take what it has not taken yet; counting it whole errs on the safe side.
        on_way = sum(entry.size_bytes for entry in self._entries.values() if not entry.arrived.done())
        free = shutil.disk_usage(self._folder).free - on_way
        is_within = self._limit_bytes is None or self._count_bytes() + needed <= self._limit_bytes
        return is_within and free - needed >= self._free_bytes_min

    def _evict_one(self) -> bool:
        """Remove the longest unused object that nobody holds; false where there is none."""
        for name, entry in self._entries.items():
            if entry.n_holders == 0:
                entry.path.unlink(missing_ok=True)
                del self._entries[name]
                return True
        return False

    def _count_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self._entries.values())


def _await(arrived: "Future[Downloaded]", check: Callable[[], None]) -> None:
    """Wait for another one's download. Raises its error, or what ``check`` raises meanwhile."""
    while not arrived.done():
        wait([arrived], CHECK_S)
        check()
    arrived.result()


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    """Keep other processes from the same folder, so that none takes a beginning one for dead."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_abandoned(parent: Path) -> set[str]:
    """Remove the scratch folders under ``parent`` whose process has ended; return who they were."""
    dead = set[str]()
    for folder in parent.glob(f"{FOLDER_PREFIX}*"):
        try:
            with (folder / LOCK_NAME).open("rb") as owner:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                dead.add(owner.read().decode("ascii", "replace"))
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # its process lives, or it belongs to another user
    return dead - {""}


def _name_file(ref: VideoRef) -> str:
    """Return one name for the same bytes at the same place, with the extension of the key.

    A probe compares the extension with what is in the file, here as on a local file.
    """
    identity = "\0".join((ref.bucket, ref.key, ref.version_id or "", ref.etag or ""))
    extension = _EXTENSION.search(ref.key)
    return hashlib.sha256(identity.encode()).hexdigest() + (extension[0] if extension else "")
