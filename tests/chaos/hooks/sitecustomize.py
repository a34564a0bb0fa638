"""Python loads this module by itself at the start of each process of the fleet under test.

The folder of this file stands in PYTHONPATH of those processes alone. It puts *points* into the product's
modules as they are imported, without a line of the product being changed: at a point a process looks for a
file that the test has armed, takes it by renaming it, so that one process meets it once, and does what the
file says: ``kill`` and ``stop`` its process group, or ``hold`` until the test removes the file.

A *mode* is a file that counts as long as it is there. ``saw`` keeps what cannot be seen in the database.
"""

import contextlib
import importlib.abc
import importlib.machinery
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = Path(os.environ.get("CHAOS_FOLDER", "/nonexistent"))
PREFIX = os.environ.get("CHAOS_PREFIX", "")  # before all points of this process, to meet no other one's
_HOLD_MAX_S = 120.0


def reach(point: str, job_id: str = "") -> None:
    """Do what is armed for this point and job, or for this point and whoever comes first."""
    for name in (f"{PREFIX}{point}@{job_id}", f"{PREFIX}{point}"):
        met = FOLDER / "met" / f"{name}.{os.getpid()}.{time.monotonic_ns()}"
        with contextlib.suppress(OSError):
            (FOLDER / "armed" / name).rename(met)
            _act(met)


def _act(met: Path) -> None:
    action = met.read_text()
    if action == "kill":
        os.killpg(0, signal.SIGKILL)
    elif action == "stop":
        os.killpg(0, signal.SIGSTOP)
        time.sleep(0.05)  # the other threads stop a moment later than the call returns
    elif action == "hold":
        until = time.monotonic() + _HOLD_MAX_S
        while met.exists() and time.monotonic() < until:
            time.sleep(0.02)


def is_on(mode: str) -> bool:
    """Whether a mode holds now."""
    return (FOLDER / "modes" / mode).exists()


def saw(what: str) -> None:
    """Note that something was seen."""
    with contextlib.suppress(OSError):
        (FOLDER / "saw" / what).touch()


def around(
    owner: Any,
    name: str,
    job_of: Callable[..., str],
    *,
    before: str = "",
    after: str = "",
    on_result: Callable[[str, Any], None] | None = None,
) -> None:
    """Put points before and after a function; ``job_of`` finds the job in its arguments."""
    inner = getattr(owner, name)

    def outer(*args: Any, **options: Any) -> Any:
        job_id = job_of(*args)
        if before:
            reach(before, job_id)
        result = inner(*args, **options)
        if on_result is not None:
            on_result(job_id, result)
        if after:
            reach(after, job_id)
        return result

    setattr(owner, name, outer)


# What ONNX Runtime says where a GPU has no memory left.
_NO_MEMORY = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node."
    " Name:'/stem/Conv' Status Message: bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal("
    "size_t, bool, onnxruntime::Stream*) Failed to allocate memory for requested buffer of size 1073741824"
)


# ---- what is put into which module


def _patch_kombu(module: ModuleType) -> None:
    def job_of(_: Any, message: Any, *__: Any) -> str:
        return str(message.payload[1]["job"])

    around(module.QoS, "append", job_of, before="popped")


def _patch_work(module: ModuleType) -> None:
    around(module, "answer_doorbell", lambda _, key: key.job_id, before="delivered")
    around(module, "run_claim", lambda _, claim: claim.key.job_id, before="claimed")


def _patch_leases(module: ModuleType) -> None:
    around(module.HeldClaim, "on_samples", lambda held, *_: held.claim.key.job_id, after="decoding")


def _patch_shard(module: ModuleType) -> None:
    def note(job_id: str, result: Any) -> None:
        if result.outcome == "stale":
            saw(f"stale_fence@{job_id}")
        if result.outcome == "last":
            reach("counted_last", job_id)

    job_of = lambda _, claim, *__: claim.key.job_id  # noqa: E731 - one line says it
    around(module, "finish_shard", job_of, before="finishing", after="finished", on_result=note)


def _patch_verdict(module: ModuleType) -> None:
    def note(job_id: str, is_ours: bool) -> None:
        if not is_ours:
            saw(f"stale_fence@{job_id}")

    # Of an only shard this is the end of the screening and of the scoring.
    job_of = lambda _, claim, __: claim.key.job_id  # noqa: E731 - one line says it
    around(module, "finish_only_shard", job_of, before="scoring", after="scored")
    around(module, "finish_only_shard", job_of, before="finishing", after="finished", on_result=note)
    around(module, "finish_job", lambda _, job_id, *__: job_id, before="scoring", after="scored")


def _patch_store(module: ModuleType) -> None:
    transaction = module.SqlJobTransaction

    def note_mark(_: str, result: Any) -> None:
        if result[0] == "repeated":
            saw("repeated_commit")

    around(transaction, "find_same", lambda _, job, *__: job.id, after="looked_up")
    around(transaction, "open_shards", lambda _, job_id, *__: job_id, after="shards_written")
    around(transaction, "insert_shards", lambda _, drafts: drafts[0].key.job_id, after="shards_written")
    job_of = lambda _, keys, *__: keys[0].job_id if keys else ""  # noqa: E731 - one line says it
    around(transaction, "insert_doorbells", job_of, after="doorbells_written")
    for name in ("run", "run_alone"):
        around(module.SqlJobStore, name, lambda *_: "", after="committed")
    for name in ("mark_and_lock", "mark_and_count"):
        around(transaction, name, lambda _, key, *__: key.job_id, on_result=note_mark)


def _patch_doorbell(module: ModuleType) -> None:
    around(module.CeleryDoorbell, "ring", lambda _, key, __: key.job_id, before="ringing", after="rung")


def _patch_deliver(module: ModuleType) -> None:
    around(module, "post_message", lambda *_: "", after="posted")


def _patch_app(module: ModuleType) -> None:
    inner = module._transport_options

    def options() -> dict[str, object]:
        wanted = os.environ.get("CHAOS_VISIBILITY_S")
        return inner() | ({"visibility_timeout": float(wanted)} if wanted else {})

    module._transport_options = options


def _patch_onnx(module: ModuleType) -> None:
    """A GPU without memory for batches above two, a network that answers with NaN, a point within a batch."""
    backend, errors = module.OnnxBackend, module._errors
    infer, run = backend.infer, backend._run

    def infer_counted(self: Any, crops: Any) -> Any:
        reach("predicting")
        self.chaos_batch = len(crops)
        return infer(self, crops)

    def run_spoilt(self: Any, crop: Any) -> Any:
        if is_on("gpu_memory") and getattr(self, "chaos_batch", 1) > 2:
            saw("gpu_memory")
            raise errors.RuntimeException(_NO_MEMORY)
        answers = run(self, crop)
        if is_on("nan"):
            saw("nan")
            answers = [answer * float("nan") for answer in answers]
        return answers

    backend.infer, backend._run = infer_counted, run_spoilt


PATCHES: dict[str, Callable[[ModuleType], None]] = {
    "kombu.transport.redis": _patch_kombu,
    "workers.work": _patch_work,
    "workers.leases": _patch_leases,
    "workers.shard": _patch_shard,
    "workers.verdict": _patch_verdict,
    "workers.doorbell": _patch_doorbell,
    "workers.deliver": _patch_deliver,
    "workers.app": _patch_app,
    "fakesieve.jobs.sql.store": _patch_store,
    "engine.backends.onnx": _patch_onnx,
}


class _PatchingLoader(importlib.abc.Loader):
    def __init__(self, inner: importlib.abc.Loader, patch: Callable[[ModuleType], None]) -> None:
        self._inner, self._patch = inner, patch

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._inner.exec_module(module)
        self._patch(module)


class _PatchingFinder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name not in PATCHES:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _PatchingLoader(spec.loader, PATCHES[name])
                return spec
        return None


def _skew_clock(by_s: float) -> None:
    """Let this process live in another time, for everything that reads seconds since 1970."""
    real_time, real_ns = time.time, time.time_ns
    time.time = lambda: real_time() + by_s
    time.time_ns = lambda: real_ns() + int(by_s * 1e9)


def _watch_disk() -> None:
    inner = shutil.disk_usage

    def disk_usage(path: Any) -> Any:
        usage = inner(path)
        return usage._replace(free=0) if is_on("disk_full") else usage

    shutil.disk_usage = disk_usage


if FOLDER.is_dir():
    sys.meta_path.insert(0, _PatchingFinder())
    _watch_disk()
    if skew := os.environ.get("CHAOS_CLOCK_SKEW_S"):
        _skew_clock(float(skew))
