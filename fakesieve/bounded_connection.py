"""A connection to Postgres that does not wait for an answer for ever.

The server's own limits, such as ``statement_timeout``, need a server that runs, and the limits of TCP a peer
whose kernel is silent. A frozen server is neither: its kernel takes every byte and nothing ever comes back.
"""

import select
import time
from collections.abc import Generator
from typing import Any, NoReturn, TypeVar

import psycopg
from psycopg.waiting import Ready, Wait

Answer = TypeVar("Answer")

# The driver looks ten times a second. What passes beyond this between two looks is time in which this
# process, or the whole machine, stood still: an answer may lie there or be on its way.
_LOOK_MAX_S = 1.0
# A process that is starved looks every few seconds, and would find a dead server after as many silences. So
# the time that has really passed counts as well, but for the longest gap between two looks.
_REAL_SHARE = 2.0


class Silence:
    """How long nothing has come, with as little as can be of the time in which nobody could have heard it.

    ``begin_s`` and all other times are readings of one clock, in seconds.
    """

    def __init__(self, begin_s: float) -> None:
        self._begin_s = self._looked_s = begin_s
        self._heard_s = self._gap_s = 0.0

    def note(self, now_s: float) -> None:
        """Note a look that found nothing."""
        gap_s = now_s - self._looked_s
        self._heard_s += min(gap_s, _LOOK_MAX_S)
        self._gap_s = max(self._gap_s, gap_s)
        self._looked_s = now_s

    def exceeds(self, limit_s: float) -> bool:
        """Return whether it is longer than a server that lives would make it.

        One standstill of the machine, however long, does not count. Where looks come every ``n`` seconds, at
        most twice the limit and ``2 * n`` have passed.
        """
        real_s = self._looked_s - self._begin_s - self._gap_s
        return self._heard_s > limit_s or real_s >= _REAL_SHARE * limit_s


class BoundedConnection(psycopg.Connection[Any]):
    """Closes itself and raises OperationalError when the server has said nothing for ``silence_s``.

    Time in which nobody could have heard it, as of a machine that was suspended, is no silence. One that
    stands still again and again may give up a server that lives, rather than take a dead one for alive.
    """

    silence_s = 60.0

    @property
    def has_news(self) -> bool:
        """Whether the server has said something that nobody asked for, such as that it ends.

        A server that restarted has closed the connection, which is news too. It costs a call of the system
        and no question to the server.
        """
        if self.closed:
            return True
        watched = select.poll()
        watched.register(self.fileno(), select.POLLIN | select.POLLPRI)
        return bool(watched.poll(0))

    def wait(self, gen: Generator[Any, Any, Answer], *options: Any, **named: Any) -> Answer:
        """Wait as the driver does, but no longer than the silence lasts.

        Everything that is sent to a server that took the connection passes here, commits included.
        """
        return super().wait(self._bound(gen), *options, **named)

    def _bound(self, gen: Generator[Wait, Ready | int, Answer]) -> Generator[Wait, Ready | int, Answer]:
        silence = Silence(time.monotonic())
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready == Ready.NONE:
                    silence.note(time.monotonic())
                    if silence.exceeds(self.silence_s):
                        self._give_up()
                else:
                    silence = Silence(time.monotonic())
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value

    def _give_up(self) -> NoReturn:
        self.close()  # so that whoever pools connections sees that this one is of no use
        raise psycopg.OperationalError(f"the database said nothing for {self.silence_s:g} s")
