"""Scans many inputs, some at a time, and hands the results on in the order of the inputs."""

import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from engine.cli.display import InputWatcher, RunDisplay, RunStopped
from engine.cli.inputs import Input
from engine.errors import BackendMissing, BundleInvalid, EngineError
from engine.output.report import IndexEntry
from engine.results import RejectReason
from engine.sandbox.handle import Sandbox
from engine.scan_result import ScanResult
from engine.screen import ScanSettings, ScanTools, fail_scan, scan_video

MACHINE_REASONS = frozenset(
    {
        RejectReason.SANDBOX_UNAVAILABLE,
        RejectReason.ENGINE_UNAVAILABLE,
        RejectReason.MODEL_INVALID,
        RejectReason.OUTPUT_FAILED,
        RejectReason.INTERNAL,
    }
)
"""Faults of this machine or program: they end in exit code 1, an input's own faults in 3."""


@dataclass(frozen=True)
class Finished:
    """One input with everything that belongs to it written."""

    result: ScanResult
    entry: IndexEntry | None
    output_fault: EngineError | None = None  # why an overlay or report is missing
    breaks: tuple[EngineError, ...] = ()  # why parts of it could not be decoded, although the rest was scored


Write = Callable[[ScanResult, ScanTools, InputWatcher, int], IndexEntry | None]
"""Writes the files of one input, whose number comes last; runs in the thread that scanned it."""


class BatchScanner:
    """Runs scans in ``jobs`` threads, each with its own network and detector, all with one sandbox.

    Decoding runs in child processes and both networks outside of the interpreter's lock, so threads are
    enough. An input's result does not depend on the others or on the number of jobs.
    """

    def __init__(
        self,
        make_tools: Callable[[], ScanTools],
        settings: ScanSettings,
        sandbox: Sandbox,
        *,
        jobs: int,
        write: Write,
    ) -> None:
        self._make_tools, self._settings, self._sandbox = make_tools, settings, sandbox
        self._jobs, self._write = jobs, write
        self._own = threading.local()

    def run(self, inputs: Sequence[Input], display: RunDisplay) -> Iterator[Finished]:
        """Yield one result for each input, in order. Raises what ends the whole run."""
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="scan") as pool:
            waiting = self._submit(pool, inputs, display)
            try:
                for done, future in enumerate(waiting, start=1):
                    yield future.result()
                    display.finish_input(done)
            except BaseException:
                # Interrupted or broken: what waits is dropped, what is at work ends when its child is gone.
                display.stopped.set()
                self._sandbox.close()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _submit(
        self, pool: ThreadPoolExecutor, inputs: Sequence[Input], display: RunDisplay
    ) -> Iterator[Future[Finished]]:
        """Keep a few inputs ahead of the one that is waited for: results hold maps, and must not pile up."""
        ahead: list[Future[Finished]] = []
        for number, found in enumerate(inputs):
            ahead.append(pool.submit(self._process, number, found, display))
            if len(ahead) > 2 * self._jobs:
                yield ahead.pop(0)
        yield from ahead

    def _tools(self) -> ScanTools:
        tools: ScanTools | None = getattr(self._own, "tools", None)
        if tools is None:
            tools = self._own.tools = self._make_tools()
        return tools

    def _process(self, number: int, found: Input, display: RunDisplay) -> Finished:
        if display.stopped.is_set():
            raise RunStopped
        tools = self._tools()
        with display.follow(found.path) as watcher:
            result = self._scan(found, tools, watcher)
            try:
                entry = self._write(result, tools, watcher, number)
                return Finished(result, entry, breaks=tuple(watcher.breaks))
            except EngineError as fault:
                return Finished(result, None, fault, tuple(watcher.breaks))
            except RunStopped:
                raise
            except Exception as fault:  # the edge of one input's files: whatever it is, the others go on
                if watcher.is_stopped:
                    raise RunStopped from fault
                traceback.print_exc()
                return Finished(result, None, _internal(found.path, fault), tuple(watcher.breaks))

    def _scan(self, found: Input, tools: ScanTools, watcher: InputWatcher) -> ScanResult:
        if found.fault is not None:
            return fail_scan(found.path, tools, self._settings, found.fault)
        try:
            return scan_video(found.path, tools, self._settings, watcher)
        except (RunStopped, BackendMissing, BundleInvalid):  # the last two: no input can be scanned
            raise
        except Exception as fault:  # the edge of one input: whatever it is, the others go on
            if watcher.is_stopped:
                raise RunStopped from fault
            traceback.print_exc()
            return fail_scan(found.path, tools, self._settings, _internal(found.path, fault))


def _internal(path: Path, fault: Exception) -> EngineError:
    return EngineError(
        RejectReason.INTERNAL,
        f"{type(fault).__name__} in {path}: {fault}",
        "this is a fault of fakesieve: please report it with the lines above",
    )
