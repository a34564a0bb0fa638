"""Decoding by PyAV: one pass over the packets, of which only those are decoded that a target needs."""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from av.error import FFmpegError
from av.logging import Capture
from av.video.frame import VideoFrame

from engine.container import Container, MediaKind
from engine.decoders.colour import FrameConverter
from engine.decoders.geometry import Orientation
from engine.decoders.job import DecodedFrame, DecodeJob, MissedFrame, MissKind
from engine.decoders.opening import VideoPacket
from engine.decoders.packets import Packets
from engine.decoders.pictures import decode_picture

# Decoders go on after damage inside a picture and give frames that they do not mark. Only in their log they
# tell: of 1,046 frames that flipped bits in HEVC had spoilt unmarked, this finds 191. The rest passes.
_DAMAGE_WORDS = (
    "error while decoding MB", "concealing", "cabac decode of qscale", "left block", "top block",
    "The cu_qp_delta", "CABAC_MAX_BIN", "offset_len", "The slice_qp", "Error constructing the frame RPS",
)  # fmt: skip

_TOO_LARGE = "exceeds specified max pixel count"

_Answers = Iterator[DecodedFrame | MissedFrame]


class PyavSource:
    """The default decoder."""

    name = "pyav"

    def decode(self, descriptor: int, job: DecodeJob) -> _Answers:
        if job.container.kind is MediaKind.PICTURE:
            return decode_picture(descriptor, job)
        return _decode_video(descriptor, job)


def _decode_video(descriptor: int, job: DecodeJob) -> _Answers:
    groups = deque(
        _Group(seek_us, [(number, pts) for number, (pts, _) in members])
        for seek_us, members in groupby(enumerate(job.targets), key=lambda item: item[1][1])
    )
    with Capture(local=False) as words:
        decoder = _GroupDecoder(Packets(descriptor, job), job, words)
        while groups:
            yield from decoder.decode_group(groups.popleft(), groups)


class _Group(NamedTuple):
    """Targets of (number, time), sorted by time, that are decoded from one keyframe."""

    key_us: int
    targets: list[tuple[int, int]]


class _Segment:
    """What has been fed since the decoder was last empty, and from where on it is damaged."""

    def __init__(self, key_us: int, *, is_counted: bool) -> None:
        self.key_us = key_us
        self._is_counted = is_counted  # frames have no times of their own: a lost one shifts all behind it
        self._order: dict[int, int] = {}
        self._fed = 0
        self._damaged_from: int | None = None
        self.frames_out = 0

    def note_fed(self, time_us: int | None) -> None:
        if time_us is not None:
            self._order.setdefault(time_us, self._fed)
        self._fed += 1

    def note_damage(self) -> None:
        """The packet fed last is damaged."""
        self._note(max(0, self._fed - 1))

    def note_damaged_frame(self, time_us: int) -> None:
        self._note(self._order.get(time_us, 0))

    def _note(self, start: int) -> None:
        start = min(start, self.frames_out) if self._is_counted else start
        self._damaged_from = start if self._damaged_from is None else min(start, self._damaged_from)

    @property
    def is_damaged(self) -> bool:
        return self._damaged_from is not None

    def is_sound(self, time_us: int) -> bool:
        """Whether nothing that was fed before the frame shown at ``time_us`` was damaged."""
        return self._damaged_from is None or self._order.get(time_us, 0) < self._damaged_from


class _Damage(NamedTuple):
    """What the decoder, or its log, tells of a packet that it was fed."""

    kind: MissKind
    why: str


class _DamageToldError(Exception):
    """Some packet is damaged, and several threads leave open which."""


class _Shown(NamedTuple):
    """A frame of a target, held back until what the log tells of it must have been read."""

    frame: VideoFrame
    time_us: int
    segment: _Segment
    call: int


class _GroupDecoder:
    """Decodes the targets that share one keyframe, in one pass from it.

    Several threads decode until one tells of damage: of which packet depends on which thread comes first.
    From there on one thread decodes, beginning with the keyframe in front, so that a file is always answered
    alike. What has been answered by then is older than anything that the threads were still at work on.
    """

    def __init__(self, packets: Packets, job: DecodeJob, words: list[tuple[int, str, str]]) -> None:
        self._packets = packets
        self._words = words
        self._job = job
        self._facts = job.facts
        self._orientation = Orientation(job.facts.rotation, job.facts.is_mirrored)
        self._converter = self._new_converter()
        self._coded = (job.facts.coded_width, job.facts.coded_height)
        self._segment = self._new_segment(0)
        self._why: str = ""
        self._kind = MissKind.CORRUPT
        self._calls = 0
        self._shown = deque[_Shown]()

    def _new_segment(self, key_us: int) -> _Segment:
        return _Segment(key_us, is_counted=self._facts.is_index_timed)

    def _new_converter(self) -> FrameConverter:
        return FrameConverter(self._facts.width, self._facts.height, self._orientation)

    def decode_group(self, group: _Group, later: deque[_Group]) -> _Answers:
        """Answers for one group, and for those of ``later`` whose keyframe comes by on the way.

        That happens where pictures that are shown before a keyframe are stored behind it (open groups).
        """
        wanted = _Wanted(group.targets, self._job.tolerance_us)
        try:
            yield from self._decode_from(group.key_us, wanted, later)
        except _DamageToldError:
            self._packets.restart_on_one_thread()
            wanted.restart()
            yield from self._decode_from(group.key_us, wanted, later)
        yield from self._missed(wanted)

    def _decode_from(self, key_us: int, wanted: "_Wanted", later: deque[_Group]) -> _Answers:
        self._segment, self._why, self._kind = self._new_segment(key_us), "", MissKind.CORRUPT
        self._shown.clear()
        self._words.clear()
        if not self._packets.advance_to(key_us):
            return
        while self._is_open(wanted) and (packet := self._packets.next()) is not None:
            if self._is_past(packet, wanted):
                self._packets.put_back(packet)
                break
            if packet.is_keyframe and later and later[0].key_us == self._packets.time_us:
                wanted.extend(later.popleft().targets)
            self._feed(packet, wanted)
            yield from self._answer(wanted)
        self._drain(wanted)
        yield from self._answer(wanted, is_drained=True)

    def _is_open(self, wanted: "_Wanted") -> bool:
        # By index, the packet of a frame is known only when the frame has come out: order of storage and of
        # presentation differ.
        return wanted.is_unanswered if self._facts.is_index_timed else wanted.is_unfed

    def _is_past(self, packet: VideoPacket, wanted: "_Wanted") -> bool:
        earliest = self._packets.decoding_time_us(packet)
        return earliest is not None and earliest > wanted.last_us

    def _feed(self, packet: VideoPacket, wanted: "_Wanted") -> None:
        time_us, segment = self._packets.time_us, self._segment
        if segment.is_damaged:
            if not packet.is_keyframe:
                wanted.note_fed(time_us)
                return
            self._drain(wanted)
            self._segment = self._new_segment(time_us or 0)
            self._packets.put_back(packet)
            return
        is_wanted = wanted.note_fed(time_us)
        # What an edit list cuts off is fed all the same: what it shows is predicted from that.
        if time_us is not None and time_us < segment.key_us and not packet.is_discard:
            self._why = self._why or "it is predicted from frames that are missing"
            return
        segment.note_fed(time_us)
        if packet.is_corrupt and self._job.container is not Container.MPEGTS:
            # In a transport stream a gap in the counter also marks a whole packet, where recordings were
            # joined; there the decoder has to find out. Elsewhere the mark means that data is missing.
            segment.note_damage()
            self._why = "its data is cut off"
            return
        context = self._packets.decoder
        context.skip_frame = "DEFAULT" if is_wanted or self._facts.is_index_timed else "NONREF"
        self._try_decode(packet, wanted)

    def _try_decode(self, packet: VideoPacket | None, wanted: "_Wanted") -> None:
        """Decode a packet, or with none what is left inside. Raises `MemoryError` and `_DamageToldError`."""
        frames: list[VideoFrame] = []
        damage: _Damage | None = None
        self._calls += 1
        try:
            frames = self._packets.decoder.decode(packet)
        except MemoryError:
            raise
        except FFmpegError as error:
            damage = _Damage(MissKind.CORRUPT, str(error.strerror))
        damage = self._read_words() or damage
        if damage is not None:
            if self._packets.decoder_threads > 1:
                raise _DamageToldError
            self._segment.note_damage()
            if self._kind is MissKind.CORRUPT:  # a picture beyond the limit explains all behind it
                self._kind, self._why = damage
        for frame in frames:
            self._take(frame, wanted)

    def _read_words(self) -> _Damage | None:
        """Learn from FFmpeg's log what its answers do not say. Raises `MemoryError`."""
        texts = [text for _, _, text in self._words]
        self._words.clear()  # here and not before decoding: threads also speak between two calls
        if any(_TOO_LARGE in text for text in texts):
            return _Damage(MissKind.RESOLUTION, "the picture grew beyond the limit")
        if any(text.startswith("get_buffer() failed") for text in texts):
            raise MemoryError("no memory for a frame")
        told = next((text for text in texts if text.startswith(_DAMAGE_WORDS)), None)
        return None if told is None else _Damage(MissKind.CORRUPT, told.strip()[:80])

    def _drain(self, wanted: "_Wanted") -> None:
        decoder = self._packets.decoder
        if not decoder.is_open:
            return
        self._try_decode(None, wanted)
        if self._segment.is_damaged:
            self._packets.renew_decoder()
        else:
            decoder.flush_buffers()

    def _time_of(self, frame: VideoFrame) -> int | None:
        if self._facts.is_index_timed:
            rate, segment = self._facts.rate(), self._segment
            first = round(segment.key_us * rate.numerator / (rate.denominator * 1_000_000))
            segment.frames_out += 1
            return rate.time_us(first + segment.frames_out - 1)
        return None if frame.pts is None else self._facts.base().time_us(frame.pts)

    def _take(self, frame: VideoFrame, wanted: "_Wanted") -> None:
        """Note what a frame says that came out, and keep it where it is that of a target."""
        time_us = self._time_of(frame)
        if time_us is None:
            return
        if frame.is_corrupt:
            self._segment.note_damaged_frame(time_us)
            self._why = self._why or "the decoder marked it as damaged"
        if wanted.find(time_us) is not None:
            self._shown.append(_Shown(frame, time_us, self._segment, self._calls))

    def _answer(self, wanted: "_Wanted", *, is_drained: bool = False) -> _Answers:
        """Answer with the frames of which no thread has anything left to tell."""
        threads = self._packets.decoder_threads
        lag = 0 if is_drained or threads == 1 else threads
        while self._shown and self._shown[0].call + lag <= self._calls:
            shown = self._shown.popleft()
            number = wanted.find(shown.time_us)
            if number is not None and shown.segment.is_sound(shown.time_us):
                wanted.answered(number)
                yield self._convert(number, shown.time_us, shown.frame)

    def _convert(self, number: int, time_us: int, frame: VideoFrame) -> DecodedFrame | MissedFrame:
        coded = self._facts.coded_width, self._facts.coded_height
        size = frame.width, frame.height
        if abs(size[0] * coded[1] - size[1] * coded[0]) * 50 > size[1] * coded[0]:
            detail = f"the picture changed from {coded[0]}x{coded[1]} to {size[0]}x{size[1]}"
            return MissedFrame(number, MissKind.RESOLUTION, detail)
        if size != self._coded:
            self._converter, self._coded = self._new_converter(), size
        rgb = self._converter.convert(frame)
        return DecodedFrame(number, time_us, rgb, is_resized=size != coded)

    def _missed(self, wanted: "_Wanted") -> _Answers:
        for number, was_fed in wanted.open_targets():
            if was_fed:
                detail = self._why or "the decoder gave no frame for it"
                yield MissedFrame(number, self._kind, detail)
            else:
                yield MissedFrame(number, MissKind.ABSENT, "the file holds no data for it")


class _Wanted:
    """The targets of one group: which were fed, which were answered."""

    def __init__(self, targets: list[tuple[int, int]], tolerance_us: int) -> None:
        self._numbers: list[int] = []
        self._times: list[int] = []
        self._unfed: set[int] = set()
        self._unanswered: set[int] = set()
        self._tolerance = tolerance_us
        self.extend(targets)

    def extend(self, targets: list[tuple[int, int]]) -> None:
        """Add targets of (number, time) later than those already here."""
        numbers = [number for number, _ in targets]
        self._numbers += numbers
        self._times += [time_us for _, time_us in targets]
        self._unfed.update(numbers)
        self._unanswered.update(numbers)

    def restart(self) -> None:
        """Forget what was fed; what is answered stays answered."""
        self._unfed = set(self._unanswered)

    @property
    def last_us(self) -> int:
        return self._times[-1]

    @property
    def is_unanswered(self) -> bool:
        return bool(self._unanswered)

    @property
    def is_unfed(self) -> bool:
        return bool(self._unfed)

    def find(self, time_us: int) -> int | None:
        """The open target that a frame shown at ``time_us`` answers."""
        place = bisect_left(self._times, time_us - self._tolerance)
        if place == len(self._times) or self._times[place] > time_us + self._tolerance:
            return None
        number = self._numbers[place]
        return number if number in self._unanswered else None

    def note_fed(self, time_us: int | None) -> bool:
        """Remember that the packet of a target went by; whether it was one."""
        number = None if time_us is None else self.find(time_us)
        if number is None:
            return False
        self._unfed.discard(number)
        return True

    def answered(self, number: int) -> None:
        self._unanswered.discard(number)

    def open_targets(self) -> list[tuple[int, bool]]:
        """Unanswered targets in order, each with whether its packet was there."""
        return [(n, n not in self._unfed) for n in self._numbers if n in self._unanswered]
