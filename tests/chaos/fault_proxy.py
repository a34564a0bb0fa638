"""A TCP proxy that delays, slows, cuts or swallows what passes, between the fleet and one of its services.

It runs in a thread of its own. Faults are switched on and off by setting them; connections are known by
nothing but their bytes, except that a COMMIT of Postgres can be picked out.
"""

import asyncio
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

PIECE_BYTES = 1 << 16
COMMIT = b"COMMIT\x00"  # the end of the simple query that psycopg sends
_RESET = struct.pack("ii", 1, 0)  # linger for no time: closing sends RST

Answer = TypeVar("Answer")


@dataclass(eq=False)
class _Pair:
    """One connection of a client and the one to the service behind it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    is_dead: bool = False  # swallows everything for good: half-open
    is_cut: bool = False  # the next reply is kept back and the client is reset
    sent_bytes: int = 0  # by the client since its last COMMIT


@dataclass
class Counts:
    """What has been done to connections so far."""

    refused: int = 0
    swallowed: int = 0
    reset: int = 0
    cut_commits: int = 0
    accepted: int = 0


@dataclass
class FaultProxy:
    """The proxy; use it as a context. ``find_upstream`` is asked for each connection, as services move."""

    name: str
    find_upstream: Callable[[], tuple[str, int]]
    seed: int = 0
    latency_s: float = 0.0
    jitter_s: float = 0.0
    rate: float | None = None  # bytes a second of each direction of each connection
    is_refusing: bool = False
    is_swallowing: bool = False
    counts: Counts = field(default_factory=Counts)
    port: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._pairs: set[_Pair] = set()
        self._cuts: list[int] = []  # for each COMMIT to be cut, how much its transaction must have sent
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{self.name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *exc: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def reset_all(self) -> int:
        """Reset all connections that there are; return how many."""
        return self._do(self._reset_all())

    def cut_commits(self, count: int, least_bytes: int = 0) -> None:
        """Let ``count`` coming COMMITs pass, but reset their client instead of bringing it the reply.

        Only those of transactions count in which the client has sent ``least_bytes``.
        """
        self._cuts += [least_bytes] * count

    @property
    def waiting_cuts(self) -> int:
        """How many COMMITs are still to be cut."""
        return len(self._cuts)

    def heal(self) -> None:
        """End all faults. Half-open connections stay so; who uses them must find out."""
        self.latency_s, self.jitter_s, self.rate = 0.0, 0.0, None
        self.is_refusing = self.is_swallowing = False
        self._cuts.clear()

    # ---- the thread of the loop

    def _do(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _end(self) -> None:
        self._server.close()
        await self._reset_all()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _reset_all(self) -> int:
        pairs = list(self._pairs)
        for pair in pairs:
            _reset(pair.client)
            pair.server.close()
        self.counts.reset += len(pairs)
        return len(pairs)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_refusing:
            self.counts.refused += 1
            _reset(writer)
            return
        try:
            up_reader, up_writer = await asyncio.open_connection(*self.find_upstream())
        except OSError:
            self.counts.refused += 1
            _reset(writer)
            return
        self.counts.accepted += 1
        pair = _Pair(writer, up_writer)
        self._pairs.add(pair)
        try:
            await asyncio.gather(self._send(pair, reader), self._answer(pair, up_reader))
        except asyncio.CancelledError:
            return  # the proxy ends
        finally:
            self._pairs.discard(pair)
            for each in (writer, up_writer):
                each.close()

    async def _send(self, pair: _Pair, reader: asyncio.StreamReader) -> None:
        """From the client to the service."""
        with suppress(OSError):
            while piece := await reader.read(PIECE_BYTES):
                if await self._is_lost(pair, piece):
                    continue
                pair.sent_bytes += len(piece)
                if piece.endswith(COMMIT):
                    pair.is_cut = self._take_cut(pair.sent_bytes)
                    pair.sent_bytes = 0
                pair.server.write(piece)
                await pair.server.drain()
            pair.server.write_eof()

    async def _answer(self, pair: _Pair, reader: asyncio.StreamReader) -> None:
        """From the service to the client."""
        with suppress(OSError):
            while piece := await reader.read(PIECE_BYTES):
                if pair.is_cut:
                    self.counts.cut_commits += 1
                    _reset(pair.client)
                    pair.server.close()
                    return
                if not await self._is_lost(pair, piece):
                    pair.client.write(piece)
                    await pair.client.drain()
        if not pair.is_dead:
            pair.client.close()

    async def _is_lost(self, pair: _Pair, piece: bytes) -> bool:
        """Keep a piece back as long as the faults want; say whether it is swallowed."""
        pair.is_dead |= self.is_swallowing
        if pair.is_dead:
            self.counts.swallowed += 1
            return True
        pause_s = self.latency_s + self.jitter_s * self._random.random()
        if self.rate is not None:
            pause_s += len(piece) / self.rate
        until_s = time.monotonic() + pause_s
        while time.monotonic() < until_s and (self.rate is not None or self.latency_s or self.jitter_s):
            await asyncio.sleep(min(0.1, pause_s))  # a fault that ends lets go of what it holds
        return False

    def _take_cut(self, sent_bytes: int) -> bool:
        fitting = next((each for each in self._cuts if sent_bytes >= each), None)
        if fitting is None:
            return False
        self._cuts.remove(fitting)
        return True


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that its other end sees a reset."""
    raw: socket.socket | None = writer.get_extra_info("socket")
    if raw is not None:
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
