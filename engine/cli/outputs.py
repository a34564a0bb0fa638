"""The files that a scan leaves in its folder: document, patch maps, overlay and report of each input."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.bundle import ModelBundle
from engine.cli.display import InputWatcher
from engine.errors import Unavailable
from engine.limits import Limits
from engine.output.document import build_document, dump_document
from engine.output.files import remove_stale, write_whole
from engine.output.patches import write_patches
from engine.output.report import IndexEntry, describe_entry, write_index, write_report
from engine.results import RejectReason
from engine.scan_result import ScanResult
from engine.screen import ScanTools

INDEX_NAME = "index.html"
OVERLAY_KINDS = ("mp4", "jpg")


def _say_nothing(path: Path) -> str:
    del path
    return ""


@dataclass(frozen=True)
class OutputPlan:
    """What is to be written where; ``stems`` has one entry for each input."""

    folder: Path
    stems: tuple[str, ...]
    limits: Limits
    inputs: frozenset[str] = frozenset()  # real paths of the inputs, which are never written over
    with_overlay: bool = False
    with_report: bool = False
    headline: str = ""  # above the index
    describe_input: Callable[[Path], str] = _say_nothing  # above the report of one input

    def write(self, result: ScanResult, tools: ScanTools, watcher: InputWatcher, number: int) -> IndexEntry:
        """Write the files of input ``number`` and return its line for the index.

        Raises MediaRejected if the input can no longer be read, Unavailable if a file cannot be written.
        """
        stem, note = self.stems[number], self.describe_input(result.path)
        self._write_data(result, stem)
        overlay = self._write_overlay(result, tools, watcher, stem) if self.with_overlay else None
        report = f"{stem}.report.html" if self.with_report else None
        if report is not None:
            self._spare_input(self.folder / report)
            watcher.on_report()
            write_report(
                result,
                tools.bundle,
                self.folder / report,
                tools.sandbox,
                self.limits,
                overlay=overlay,
                note=note,
            )
        return describe_entry(result, report=report, overlay=overlay, note=note)

    def write_index(self, entries: Sequence[IndexEntry], bundle: ModelBundle) -> None:
        """Write the page that leads to all reports. Raises Unavailable if it cannot be written."""
        self._spare_input(self.folder / INDEX_NAME)
        write_index(entries, bundle, self.folder / INDEX_NAME, note=self.headline)

    def _write_data(self, result: ScanResult, stem: str) -> None:
        document = dump_document(build_document(result), indent=1)
        place, maps = self.folder / f"{stem}.json", self.folder / f"{stem}.npz"
        self._spare_input(place)
        write_whole(place, f"{document}\n".encode())
        if result.evidence is not None and result.evidence.is_scored.any():
            self._spare_input(maps)
            write_patches(result, maps)
        else:
            self._remove_stale(maps)

    def _write_overlay(
        self, result: ScanResult, tools: ScanTools, watcher: InputWatcher, stem: str
    ) -> str | None:
        for kind in OVERLAY_KINDS:
            self._remove_stale(self.folder / f"{stem}.overlay.{kind}")
        if result.score is None:
            return None
        # Lazy: brings the video encoder, 45 ms that a scan without an overlay does not need.
        from engine.output.overlay import overlay_name, write_overlay

        name = overlay_name(result, stem)
        self._spare_input(self.folder / name)
        write_overlay(result, self.folder / name, tools.sandbox, self.limits, watcher.on_overlay)
        return name

    def _remove_stale(self, place: Path) -> None:
        """Remove what an earlier run left: it would pass for this one's."""
        if not self._is_input(place):
            remove_stale(place)

    def _is_input(self, place: Path) -> bool:
        return os.path.realpath(place) in self.inputs

    def _spare_input(self, place: Path) -> None:
        """Raise Unavailable (OUTPUT_FAILED) rather than write over a file that is to be scanned."""
        if self._is_input(place):
            raise Unavailable(
                RejectReason.OUTPUT_FAILED,
                f"{place} is an input of this scan and was not written over",
                "give another folder with --out",
            )
