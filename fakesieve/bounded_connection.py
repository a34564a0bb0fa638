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


class BoundedConnection(psycopg.Connection[Any]):
    """Closes itself and raises OperationalError when the server has said nothing for ``silence_s``.

    Time in which nobody could have heard it, as of a machine that was suspended, is no silence.
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
        silent_s, looked_s = 0.0, time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                now_s = time.monotonic()
                silent_s = silent_s + min(now_s - looked_s, _LOOK_MAX_S) if ready == Ready.NONE else 0.0
                looked_s = now_s
                if silent_s > self.silence_s:
                    self._give_up()
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value

    def _give_up(self) -> NoReturn:
        self.close()  # so that whoever pools connections sees that this one is of no use
        raise psycopg.OperationalError(f"the database said nothing for {self.silence_s:g} s")
