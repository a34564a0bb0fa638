"""When a request to a store is tried again, and when a store that is down is left alone.

One request is tried a few times with growing, random pauses. All requests of a process share a circuit:
after some failures in a row it opens, and until its pause is over requests fail at once instead of adding
to the load of a store that is down. Then one request is let through to look.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from fakesieve.errors import Unavailable
from fakesieve.object_stores.faults import VENDOR_ERRORS, Remedy, StoreFault, explain_fault
from fakesieve.reasons import Reason

PROGRESS_BYTES = 8 << 20
CHECK_S = 0.5
"""How often whoever waits for a store that is down is asked whether to wait on."""

T = TypeVar("T")


class Pauses(Protocol):
    """Time and chance as the retries use them; tests step them instead of waiting."""

    def monotonic_s(self) -> float:
        """Return seconds from an arbitrary start."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        ...

    def draw(self) -> float:
        """Return a random number in 0 to 1."""
        ...


class SystemPauses:
    """Real time and real chance."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def draw(self) -> float:
        return random.random()  # noqa: S311 - spreads load, guards nothing


@dataclass(frozen=True)
class RetryRule:
    """How often and how long a request is tried.

    A store's failure: at most ``tries`` requests of which the last starts within ``within_s`` seconds; the
    n-th pause is drawn from 0.5 to 1 times ``first_pause_s * 2**n``. An object that is not there: once more
    after each of ``missing_pauses_s``, because some stores show a new object late.
    """

    tries: int = 5
    within_s: float = 120.0
    first_pause_s: float = 1.0
    pause_max_s: float = 30.0
    missing_pauses_s: tuple[float, ...] = (2.0, 8.0, 20.0)

    def __post_init__(self) -> None:
        if self.tries < 1:
            raise ValueError(f"tries must be at least 1, is {self.tries}")
        if min(self.within_s, self.first_pause_s, self.pause_max_s, *self.missing_pauses_s) < 0:
            raise ValueError("times of a retry rule must not be negative")

    def find_pause_s(self, n_failed: int, draw: float) -> float:
        """Return the pause after the ``n_failed``-th failure, ``draw`` being in 0 to 1."""
        return min(self.pause_max_s, self.first_pause_s * 2.0 ** (n_failed - 1)) * (0.5 + draw / 2)


@dataclass(frozen=True)
class CircuitRule:
    """The circuit opens after ``failures`` in a row, for ``pause_s``, doubled up to ``pause_max_s``."""

    failures: int = 8
    pause_s: float = 5.0
    pause_max_s: float = 30.0

    def __post_init__(self) -> None:
        if self.failures < 1 or not 0 < self.pause_s <= self.pause_max_s:
            raise ValueError("a circuit needs a failure at least and a pause that is not above its largest")


class Circuit:
    """Shared by all requests to one store; safe between threads."""

    def __init__(self, rule: CircuitRule, pauses: Pauses) -> None:
        self._rule = rule
        self._pauses = pauses
        self._lock = threading.Lock()
        self._n_failed = 0
        self._n_opened = 0
        self._generation: int = 0
        self._open_until_s: float | None = None

    def admit(self) -> int:
        """Let a request pass, or raise ``Unavailable`` while the circuit is open.

        Returns the circuit's generation, for :meth:`fail` to tell late news from new ones.
        """
        with self._lock:
            if self._open_until_s is not None:
                left_s = self._open_until_s - self._pauses.monotonic_s()
                if left_s > 0:
                    raise Unavailable(
                        Reason.OBJECT_STORE_UNAVAILABLE,
                        f"the object store failed {self._n_failed} times in a row and is left alone"
                        f" for {left_s:.0f} s more",
                    )
                # This request looks whether the store is back; the others wait for what it finds.
                self._open_until_s = self._pauses.monotonic_s() + self._find_pause_s()
            return self._generation

    def succeed(self) -> None:
        """Note an answer, be it a refusal: the store is there."""
        with self._lock:
            self._n_failed, self._n_opened, self._open_until_s = 0, 0, None

    def fail(self, generation: int) -> None:
        """Note a failure of the store by a request of that generation."""
        with self._lock:
            if generation != self._generation:
                return  # it was sent before the circuit opened and says nothing new
            self._n_failed += 1
            if self._n_failed >= self._rule.failures:
                self._generation += 1
                self._open_until_s = self._pauses.monotonic_s() + self._find_pause_s()
                self._n_opened += 1

    def _find_pause_s(self) -> float:
        return min(self._rule.pause_max_s, self._rule.pause_s * 2.0**self._n_opened)


class Retrier:
    """Sends requests to one store under one rule and one circuit."""

    def __init__(
        self,
        rule: RetryRule | None = None,
        circuit: CircuitRule | None = None,
        pauses: Pauses | None = None,
    ) -> None:
        self._rule = rule or RetryRule()
        self._pauses = pauses or SystemPauses()
        self._circuit = Circuit(circuit or CircuitRule(), self._pauses)

    def run(
        self,
        request: Callable[[], T],
        place: str,
        *,
        progress: Callable[[], int] | None = None,
        check: Callable[[], None] | None = None,
    ) -> T:
        """Return what the request returns, trying again where that may help.

        ``progress`` counts what earlier tries have brought; a failure after new progress of
        ``PROGRESS_BYTES`` starts the count of tries anew, so that a long transfer may break often.
        ``check`` is called every ``CHECK_S`` of a pause and after it, and may raise.
        """
        tries = _Tries(self._rule, self._pauses, check)
        while True:
            generation = self._circuit.admit()
            before = progress() if progress else 0
            try:
                answer = request()
            except VENDOR_ERRORS as fault:
                found = explain_fault(fault, place)
                if found.remedy is Remedy.RETRY_STORE:
                    self._circuit.fail(generation)
                else:
                    self._circuit.succeed()
                if progress and progress() - before >= PROGRESS_BYTES:
                    tries = _Tries(self._rule, self._pauses, check)
                tries.pause_or_raise(found, fault)
            else:
                self._circuit.succeed()
                return answer


class _Tries:
    """The failures of one request so far."""

    def __init__(self, rule: RetryRule, pauses: Pauses, check: Callable[[], None] | None) -> None:
        self._rule = rule
        self._pauses = pauses
        self._check = check
        self._start_s = pauses.monotonic_s()
        self._n_failed = 0
        self._n_missing = 0

    def pause_or_raise(self, found: StoreFault, cause: Exception) -> None:
        """Wait before the next try, or raise the fault's error where none is left."""
        pause_s = self._find_pause_s(found.remedy)
        if pause_s is None:
            raise found.error from cause
        if self._check is None:
            self._pauses.sleep(pause_s)
            return
        while pause_s > 0:
            self._check()
            self._pauses.sleep(min(pause_s, CHECK_S))
            pause_s -= CHECK_S
        self._check()

    def _find_pause_s(self, remedy: Remedy) -> float | None:
        if remedy is Remedy.NONE:
            return None
        if remedy is Remedy.WAIT_FOR_OBJECT:
            self._n_missing += 1
            pauses_s = self._rule.missing_pauses_s
            return pauses_s[self._n_missing - 1] if self._n_missing <= len(pauses_s) else None
        self._n_failed += 1
        pause_s = self._rule.find_pause_s(self._n_failed, self._pauses.draw())
        spent_s = self._pauses.monotonic_s() - self._start_s + pause_s
        return pause_s if self._n_failed < self._rule.tries and spent_s <= self._rule.within_s else None
