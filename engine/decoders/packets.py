"""The packets of the screened stream in file order, each with the time at which its frame is shown."""

import os

from av.error import FFmpegError
from av.stream import Discard
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from engine.container import Container
from engine.decoders.inspect import choose_stream, is_hidden
from engine.decoders.job import DecodeJob
from engine.decoders.opening import (
    DECODER_THREADS,
    VideoPacket,
    open_input,
    prepare_decoder,
    translated_errors,
)

# Reading on is cheaper than a seek over less than this; measured on 720p H.264 in MP4 and Matroska.
_SEEK_FROM_US = 5_000_000
_TS_MARGIN_US = 1_000_000  # transport streams are searched by time stamps that only roughly order packets


class Packets:
    """The packets of the screened stream, forward only, with their presentation times and a decoder.

    A time is microseconds from the first presented frame, or that of the packet's ordinal where the file's
    time stamps are unusable.
    """

    def __init__(self, descriptor: int, job: DecodeJob) -> None:
        self._descriptor = descriptor
        self._job = job
        self._base = job.facts.base()
        self._may_seek = not job.facts.is_index_timed
        self._threads_max = DECODER_THREADS
        self._open()

    def _open(self) -> None:
        self._source = open_input(self._descriptor, self._job.container, self._job.limits)
        self.stream: VideoStream = choose_stream(self._source, self._job.limits)
        for other in self._source.streams:
            other.discard = Discard.default if other.index == self.stream.index else Discard.all
        self.decoder = self._new_decoder(self.stream)
        self._iterator = self._source.demux(self.stream)
        self._held: VideoPacket | None = None
        self._shown = -1  # ordinal of the last packet that shows a frame
        self._time_us: int | None = None
        self.position_us = 0

    def _new_decoder(self, stream: VideoStream) -> VideoCodecContext:
        self.decoder_threads = prepare_decoder(stream, self._job.limits, self._threads_max)
        return stream.codec_context

    def restart_on_one_thread(self) -> None:
        """Begin anew at the start of the file, with decoders that are done with a packet when they return."""
        if self.decoder.is_open:
            self.decoder.flush_buffers()  # waits for its threads, which would go on writing to the log
        self._threads_max = 1
        self._open()

    def renew_decoder(self) -> None:
        """Put a decoder that has seen nothing in the place of one that has met damage.

        The picture that FFmpeg's H.264 decoder is given after a damaged one comes out spoilt and unmarked,
        even when it is whole, a keyframe, and the decoder was drained and flushed (libavcodec 62).
        """
        place = os.lseek(self._descriptor, 0, os.SEEK_CUR)  # which both readers share
        self._lender = open_input(self._descriptor, self._job.container, self._job.limits)
        self.decoder = self._new_decoder(choose_stream(self._lender, self._job.limits))
        os.lseek(self._descriptor, place, os.SEEK_SET)

    def next(self) -> VideoPacket | None:
        """The next packet, ``None`` behind the last one or where the file cannot be read on."""
        if self._held is not None:
            packet, self._held = self._held, None
            return packet
        try:
            packet = next((p for p in self._iterator if p.size), None)
        except FFmpegError:
            packet = None
        if packet is not None:
            self._time_us = self._measure(packet)
            self.position_us = max(self.position_us, self._time_us or 0)
        return packet

    def put_back(self, packet: VideoPacket) -> None:
        self._held = packet

    def _measure(self, packet: VideoPacket) -> int | None:
        if not self._job.facts.is_index_timed:
            return None if packet.pts is None else self._base.time_us(packet.pts)
        is_before_first_key = self._shown < 0 and not packet.is_keyframe
        if packet.is_discard or is_before_first_key or is_hidden(self._job.facts.codec, packet):
            return None
        self._shown += 1
        return self._job.facts.rate().time_us(self._shown)

    @property
    def time_us(self) -> int | None:
        """Presentation time of the packet that `next` gave last, ``None`` if it shows nothing."""
        return self._time_us

    def decoding_time_us(self, packet: VideoPacket) -> int | None:
        """No later packet is shown before this time."""
        if self._job.facts.is_index_timed:
            return self._time_us if packet.is_keyframe else None
        if packet.dts is not None:
            return self._base.time_us(packet.dts)
        return self._time_us if packet.is_keyframe else None

    def advance_to(self, key_us: int) -> bool:
        """Go to the keyframe shown at ``key_us``, so that `next` gives it. False if it is not found."""
        if key_us == 0:
            return True  # decoding begins at the start of the file, whatever stands there
        if self._may_seek and key_us - self.position_us > _SEEK_FROM_US:
            self._seek(key_us)
            if self._read_up_to(key_us):
                return True
            self._may_seek = False
            self._open()
        return self._read_up_to(key_us)

    def _seek(self, key_us: int) -> None:
        margin = _TS_MARGIN_US if self._job.container is Container.MPEGTS else 0
        self._held = None
        with translated_errors("seeking", self._job.limits):
            self._source.seek(self._base.ticks(key_us - margin), stream=self.stream)
        self._iterator = self._source.demux(self.stream)

    def _read_up_to(self, key_us: int) -> bool:
        while (packet := self.next()) is not None:
            if packet.is_keyframe and self._time_us is not None and self._time_us >= key_us:
                self.put_back(packet)
                return self._time_us == key_us
        return False
