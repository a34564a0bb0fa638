"""Downloads shared by the slots of a host: one transfer, room, and nothing left behind."""

import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.errors import FleetError, SourceRefused, Unavailable
from fakesieve.object_stores.folder import FolderObjects
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.object_stores.s3_client import S3Options
from fakesieve.objects import Downloaded, VideoRef
from fakesieve.reasons import Reason
from tests.waiting import PATIENCE_S, wait_until
from workers.retry import MAX_ATTEMPTS, Action, decide_retry
from workers.scratch import FOLDER_PREFIX, Scratch


class CountingObjects(FolderObjects):
    """A folder store that counts downloads, and can make them wait or fail."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.n_downloads = 0
        self.gate = threading.Event()
        self.gate.set()
        self.error: FleetError | None = None

    def download(
        self, ref: VideoRef, target: Path, *, limit_bytes: int | None = None, check: Callable = lambda: None
    ) -> Downloaded:
        self.n_downloads += 1
        while not self.gate.wait(0.01):
            check()
        if self.error:
            raise self.error
        return super().download(ref, target, limit_bytes=limit_bytes, check=check)


@dataclass
class Host:
    """A store with a bucket `b`, and a scratch folder's parent."""

    store: CountingObjects
    parent: Path

    def put(self, key: str, body: bytes = b"x" * 1000) -> VideoRef:
        source = self.parent.parent / "source"
        source.write_bytes(body)
        return self.store.upload(source, "b", key).ref

    def open(self, limit_bytes: int | None = None, free_bytes_min: int = 0) -> Scratch:
        return Scratch(self.parent, self.store, limit_bytes=limit_bytes, free_bytes_min=free_bytes_min)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    store = CountingObjects(tmp_path / "objects")
    store.make_bucket("b")
    yield Host(store, tmp_path / "scratch")
    assert list((tmp_path / "scratch").glob("*")) == [], "something was left behind"


def test_slots_that_ask_at_once_share_one_download(host: Host) -> None:
    ref = host.put("a.mp4")
    host.store.gate.clear()
    with host.open() as scratch, ThreadPoolExecutor(4) as pool:

        def read() -> tuple[Path, bytes]:
            with scratch.hold(ref) as here:
                return here.path, here.path.read_bytes()

        waiting = [pool.submit(read) for _ in range(4)]
        host.store.gate.set()
        results = [future.result(PATIENCE_S) for future in waiting]
    assert host.store.n_downloads == 1
    assert {body for _, body in results} == {b"x" * 1000}
    assert len({path for path, _ in results}) == 1


def test_a_later_shard_finds_the_copy(host: Host) -> None:
    ref = host.put("a.mp4")
    with host.open() as scratch:
        for _ in range(3):
            with scratch.hold(ref) as here:
                assert here.path.suffix == ".mp4"
        assert scratch.size_bytes == 1000
    assert host.store.n_downloads == 1


def test_with_a_wrong_secret_an_object_that_nobody_has_looked_at_is_given_back(
    s3: SeaweedServer, tmp_path: Path
) -> None:
    right, wrong = (S3Objects(S3Options(s3.endpoint, s3.access_key, key)) for key in (s3.secret_key, "wrong"))
    bucket = f"scratch-{uuid.uuid4().hex[:12]}"
    right.make_bucket(bucket)
    (tmp_path / "source").write_bytes(b"x")
    right.upload(tmp_path / "source", bucket, "a.mp4")
    with (
        Scratch(tmp_path / "scratch", wrong, free_bytes_min=0) as scratch,
        pytest.raises(FleetError) as caught,
        scratch.hold(VideoRef(bucket, "a.mp4")),
    ):
        pass
    decision = decide_retry(caught.value, MAX_ATTEMPTS)
    assert (decision.action, decision.refund) == (Action.GIVE_BACK, True)
    assert decision.reason is Reason.OBJECT_STORE_UNAVAILABLE


def test_a_replaced_object_is_another_object(host: Host) -> None:
    loose = VideoRef("b", "a.mp4")
    with host.open() as scratch:
        host.put("a.mp4", b"first")
        with scratch.hold(loose) as here:
            assert here.path.read_bytes() == b"first"
        pinned = here.ref
        host.put("a.mp4", b"second")
        with scratch.hold(loose) as here:
            assert here.path.read_bytes() == b"second"
        with scratch.hold(pinned) as here:
            assert here.path.read_bytes() == b"first"


def test_what_is_unused_longest_makes_room(host: Host) -> None:
    a, b, c = (host.put(key) for key in "abc")
    with host.open(limit_bytes=2500) as scratch:
        for ref in (a, b, a, c):
            with scratch.hold(ref):
                assert scratch.size_bytes <= 2500
        assert host.store.n_downloads == 3
        with scratch.hold(a):
            assert host.store.n_downloads == 3, "a was used after b, so b went"
        with scratch.hold(b):
            assert host.store.n_downloads == 4


def test_what_is_held_is_never_removed(host: Host) -> None:
    a, b = host.put("a"), host.put("b")
    with host.open(limit_bytes=1500) as scratch:
        with scratch.hold(a) as here:
            with pytest.raises(Unavailable) as caught, scratch.hold(b):
                pass
            assert caught.value.reason is Reason.NO_SPACE
            assert here.path.exists()
        with scratch.hold(b):
            assert not here.path.exists()


class Stopped(Exception):
    """What work was told to end with."""


def stop_when(is_over: threading.Event) -> Callable[[], None]:
    def check() -> None:
        if is_over.is_set():
            raise Stopped

    return check


def test_who_is_told_to_end_stops_its_download_and_others_go_on(host: Host) -> None:
    ref, is_over = host.put("a"), threading.Event()
    host.store.gate.clear()
    with host.open() as scratch, ThreadPoolExecutor(2) as pool:

        def read(check: Callable[[], None]) -> bytes:
            with scratch.hold(ref, check=check) as here:
                return here.path.read_bytes()

        first = pool.submit(read, stop_when(is_over))
        wait_until(lambda: host.store.n_downloads == 1)
        second = pool.submit(read, lambda: None)
        wait_until(lambda: [entry.n_holders for entry in scratch._entries.values()] == [2])
        is_over.set()
        assert isinstance(first.exception(PATIENCE_S), Stopped)
        wait_until(lambda: host.store.n_downloads == 2)
        host.store.gate.set()
        assert second.result(PATIENCE_S) == b"x" * 1000


def test_who_waits_for_anothers_download_may_be_told_to_end(host: Host) -> None:
    ref, is_over = host.put("a"), threading.Event()
    host.store.gate.clear()
    with host.open() as scratch, ThreadPoolExecutor(2) as pool:

        def read(check: Callable[[], None]) -> int:
            with scratch.hold(ref, check=check) as here:
                return here.size_bytes

        first = pool.submit(read, lambda: None)
        wait_until(lambda: host.store.n_downloads == 1)
        second = pool.submit(read, stop_when(is_over))
        wait_until(lambda: [entry.n_holders for entry in scratch._entries.values()] == [2])
        is_over.set()
        assert isinstance(second.exception(PATIENCE_S), Stopped)
        host.store.gate.set()
        assert first.result(PATIENCE_S) == 1000


def test_an_object_larger_than_the_folder_is_refused_before_it_is_read(host: Host) -> None:
    ref = host.put("a")
    with (
        host.open(limit_bytes=999) as scratch,
        pytest.raises(Unavailable, match="NO_SPACE"),
        scratch.hold(ref),
    ):
        pass
    assert host.store.n_downloads == 0


def test_an_object_over_the_limit_is_refused_for_its_size_and_moves_nothing(host: Host) -> None:
    with host.open() as scratch:
        with scratch.hold(host.put("small")) as copy:
            pass
        huge = VideoRef("b", "huge", etag="e", size_bytes=1 << 60)
        with pytest.raises(SourceRefused) as caught, scratch.hold(huge, limit_bytes=1 << 32):
            pass
        assert caught.value.reason is Reason.SOURCE_TOO_LARGE
        assert copy.path.exists()
        assert scratch.has_room()


def test_a_copy_that_has_gone_bad_is_fetched_again(host: Host) -> None:
    ref = host.put("a")

    def lose(scratch: Scratch) -> None:
        with scratch.hold(ref) as copy:
            copy.path.unlink()
            raise OSError("no such file")

    with host.open() as scratch:
        with pytest.raises(OSError, match="no such file"):
            lose(scratch)
        with scratch.hold(ref) as copy:
            assert copy.path.read_bytes() == b"x" * 1000
    assert host.store.n_downloads == 2


def test_a_scratch_folder_that_somebody_removed_is_made_again(host: Host) -> None:
    ref = host.put("a")
    with host.open() as scratch:
        with scratch.hold(ref) as copy:
            pass
        shutil.rmtree(copy.path.parent)
        assert scratch.has_room()
        with scratch.hold(ref) as copy:
            assert copy.path.exists()


def test_those_who_wait_get_the_error_and_the_next_begins_anew(host: Host) -> None:
    ref = host.put("a")
    host.store.gate.clear()
    host.store.error = SourceRefused(Reason.SOURCE_CHANGED, "made up")
    with host.open() as scratch, ThreadPoolExecutor(3) as pool:

        def read() -> Reason | None:
            try:
                with scratch.hold(ref):
                    return None
            except SourceRefused as fault:
                return fault.reason

        waiting = [pool.submit(read) for _ in range(3)]
        wait_until(lambda: [entry.n_holders for entry in scratch._entries.values()] == [3])
        host.store.gate.set()
        assert {future.result(PATIENCE_S) for future in waiting} == {Reason.SOURCE_CHANGED}
        assert host.store.n_downloads == 1
        host.store.error = None
        assert read() is None
        assert scratch.size_bytes == 1000


def test_a_limit_on_the_size_is_passed_on(host: Host) -> None:
    ref = host.put("a")
    with (
        host.open() as scratch,
        pytest.raises(SourceRefused, match="SOURCE_TOO_LARGE"),
        scratch.hold(ref, limit_bytes=10),
    ):
        pass


class Disk(NamedTuple):
    total: int
    used: int
    free: int


def test_a_host_that_was_full_waits_for_a_tenth_of_the_disk(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 10_000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(100_000, 0, free))
    with host.open(free_bytes_min=5000) as scratch:
        assert scratch.has_room()
        free = 4000
        assert not scratch.has_room()
        free = 9000
        assert not scratch.has_room(), "more than it must keep, but not yet a tenth"
        free = 10_000
        assert scratch.has_room()
        free = 9000
        assert scratch.has_room()


def test_a_full_disk_while_it_downloads_stops_new_work(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = host.put("a")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(1_000_000, 0, 50_000))
    host.store.error = Unavailable(Reason.NO_SPACE, "made up")
    with host.open() as scratch:
        assert scratch.has_room()
        with pytest.raises(Unavailable), scratch.hold(ref):
            pass
        assert not scratch.has_room()


def test_copies_that_nobody_holds_go_before_work_is_refused(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = host.put("a")
    with host.open(free_bytes_min=5000) as scratch:
        with scratch.hold(ref) as here:
            pass
        monkeypatch.setattr(
            shutil, "disk_usage", lambda _: Disk(100_000, 0, 4500 if here.path.exists() else 5500)
        )
        assert scratch.has_room()
        assert not here.path.exists()


def test_the_folder_of_a_dead_process_is_removed_and_that_of_a_live_one_stays(host: Host) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from workers.scratch import Scratch\n"
        "scratch = Scratch(Path(sys.argv[1]), None, free_bytes_min=0, owner='hst_1').__enter__()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(host.parent)], check=False)
    assert done.returncode == -9
    (left,) = host.parent.glob(f"{FOLDER_PREFIX}*")
    with host.open() as scratch:
        assert not left.exists()
        assert scratch.dead_owners == ("hst_1",)
        with host.open() as next_one:
            assert next_one.dead_owners == ()
            assert len(list(host.parent.glob(f"{FOLDER_PREFIX}*"))) == 2, "the living keep theirs"


def test_a_parent_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    scratch = Scratch(tmp_path / "file", FolderObjects(tmp_path), free_bytes_min=0)
    with pytest.raises(Unavailable, match="NO_SPACE"), scratch:
        pass
