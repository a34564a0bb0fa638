"""Looking names up within a time. The system's own look-up may take half a minute and cannot be ended."""

from collections.abc import Sequence
from concurrent.futures import Future
from threading import Lock, Thread

from fakesieve.webhooks.addresses import Resolver, look_up

WAIT_S = 5.0
PENDING_MAX = 64


class NameService:
    """A resolver that gives up on a name after ``wait_s``. Safe between threads.

    What was given up goes on in a thread of its own until the system answers. A name has one such thread
    however often it is asked for, so slow names of one receiver cost as many threads as it has names.
    """

    def __init__(
        self, ask: Resolver = look_up, *, wait_s: float = WAIT_S, pending_max: int = PENDING_MAX
    ) -> None:
        self._ask, self._wait_s, self._pending_max = ask, wait_s, pending_max
        self._lock = Lock()
        self._asked: dict[tuple[str, int], Future[Sequence[str]]] = {}

    def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a name. Raises OSError, or TimeoutError for one that takes too long."""
        return self._join(host, port).result(self._wait_s)

    def _join(self, host: str, port: int) -> Future[Sequence[str]]:
        """Return the answer that is on its way, which somebody else may have asked for."""
        with self._lock:
            found = self._asked.get((host, port))
            if found is not None:
                return found
            if len(self._asked) >= self._pending_max:
                raise TimeoutError(f"{len(self._asked)} names are being looked up already")
            found = self._asked[host, port] = Future()
        Thread(target=self._find, args=(host, port, found), name="names", daemon=True).start()
        return found

    def _find(self, host: str, port: int, answer: Future[Sequence[str]]) -> None:
        try:
            found = self._ask_system(host, port)
        except (OSError, ValueError) as fault:  # of which UnicodeError is one
            answer.set_exception(fault)
        else:
            answer.set_result(found)

    def _ask_system(self, host: str, port: int) -> Sequence[str]:
        """Look a name up, and make its place free for another one before anybody hears the answer."""
        try:
            return self._ask(host, port)
        finally:
            with self._lock:
                del self._asked[host, port]
