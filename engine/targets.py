"""What became of each target while a video is decoded, over one child or several."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from engine.decoders.job import DecodeJob, MediaFacts, MissKind
from engine.errors import MediaRejected
from engine.limits import Limits
from engine.probe import Probe
from engine.results import MediaWarning
from engine.sampling import SampleTarget
from engine.sandbox.slabs import SlotShape


class TargetLedger:
    """Keeps for every target what became of it."""

    def __init__(self, probe: Probe, targets: Sequence[SampleTarget]) -> None:
        self.probe = probe
        self.targets = tuple(targets)
        if any(b.pts_us <= a.pts_us for a, b in pairwise(self.targets)):
            raise ValueError("targets are sorted by time and none stands twice")
        self._frame_us = _shown_at(probe, self.targets)
        self.missing: dict[int, str] = {}
        self.kinds: set[MissKind] = set()
        self.decoded: set[int] = set()
        self.failure: MediaRejected | None = None
        self.was_resized = False
        self.last_pts_us = -1
        self.peak_rss_bytes = 0
        self.decode_ms = 0.0
        for number, (before, after) in enumerate(pairwise(self._frame_us), start=1):
            if before == after:
                self.missing[number] = "the frame shown then was already taken for the target before it"

    def open_numbers(self) -> list[int]:
        """Targets of which nothing is known yet, in order of time."""
        known = self.decoded | set(self.missing)
        return [number for number in range(len(self.targets)) if number not in known]

    def job(self, decoder: str, shape: SlotShape, limits: Limits) -> DecodeJob:
        """The request for all open targets."""
        probe = self.probe
        pairs = tuple((self._frame_us[n], self.targets[n].seek_us) for n in self.open_numbers())
        return DecodeJob(
            container=probe.container,
            size_bytes=probe.size_bytes,
            decoder=decoder,
            facts=facts_of(probe),
            targets=pairs,
            tolerance_us=0 if len(probe.frames_us) else probe.frame_us // 2,
            slots=shape.count,
            limits=limits,
        )

    def is_open(self, number: int) -> bool:
        return 0 <= number < len(self.targets) and number not in self.decoded and number not in self.missing

    def note_frame(self, number: int, pts_us: int, *, is_resized: bool) -> None:
        self.decoded.add(number)
        self.was_resized |= is_resized
        self.last_pts_us = pts_us

    def note_missing(self, number: int, kind: MissKind, detail: str) -> None:
        self.missing[number] = detail
        self.kinds.add(kind)

    def note_failure(self, failure: MediaRejected) -> None:
        """The call broke off: all that is open is missing for this reason.

        Where frames came and nothing is open, nothing was lost and there is no failure: the child died behind
        its last answer, before it had said that it was done.
        """
        lost = self.open_numbers()
        if self.decoded and not lost:
            return
        self.failure = failure
        for number in lost:
            self.missing[number] = f"{failure.reason.value}: {failure.seen}"


def _shown_at(probe: Probe, targets: Sequence[SampleTarget]) -> list[int]:
    """For each target the time of the frame that is shown then; the target itself if times are unknown."""
    wanted = np.array([target.pts_us for target in targets], dtype=np.int64)
    if not len(probe.frames_us) or not len(wanted):
        return [int(pts) for pts in wanted]
    places = np.searchsorted(probe.frames_us, wanted, side="right") - 1
    return [int(pts) for pts in probe.frames_us[places]]


def facts_of(probe: Probe) -> MediaFacts:
    """What a decoding child must know of an input that was probed."""
    return MediaFacts(
        codec=probe.codec,
        pixel_format=probe.pixel_format,
        coded_width=probe.coded_width,
        coded_height=probe.coded_height,
        width=probe.width,
        height=probe.height,
        rotation=probe.rotation,
        is_mirrored=probe.is_mirrored,
        sar_numerator=probe.sample_aspect_ratio[0],
        sar_denominator=probe.sample_aspect_ratio[1],
        stream_index=probe.stream_index,
        time_numerator=probe.time_base[0],
        time_denominator=probe.time_base[1],
        origin_ticks=probe.origin_ticks,
        rate_numerator=probe.rate[0],
        rate_denominator=probe.rate[1],
        duration_us=probe.duration_us,
        declared_duration_us=None,
        frame_us=probe.frame_us,
        is_variable_rate=probe.is_variable_rate,
        is_index_timed=probe.is_index_timed,
        has_bad_timestamps=MediaWarning.BAD_TIMESTAMPS in probe.warnings,
        is_hdr=probe.is_hdr,
        is_interlaced=probe.is_interlaced,
        color_matrix=probe.color_matrix,
        color_range=probe.color_range,
        color_transfer=probe.color_transfer,
        has_audio=probe.has_audio,
        stream_count=probe.stream_count,
        video_streams=1,
        attached_pictures=probe.attached_pictures,
        lost_frames=probe.lost_frames,
        bit_rate=probe.bit_rate,
    )
