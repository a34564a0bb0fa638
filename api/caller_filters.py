"""What a request asks of results, held against what its key may read."""

from api.masks import Mask
from api.problems import Problem
from fakesieve.filters.check import Filter, read_filter
from fakesieve.filters.shape import find_fields
from fakesieve.reasons import Reason
from fakesieve.records.tenants import Caller
from fakesieve.scopes import Scope


def read_caller_filter(text: str | None, caller: Caller) -> Filter:
    """Return the filter. What people said of results is read with ``review:read``, by a filter too.

    Raises FilterInvalid, and ``Problem`` (MISSING_SCOPE).
    """
    wanted = read_filter(text)
    if asks_for_words(wanted):
        check_may_read_words(caller)
    return wanted


def asks_for_words(wanted: Filter) -> bool:
    """Whether a filter chooses by what people said."""
    return "disposition" in find_fields(wanted)


def reads_words(mask: Mask | None, caller: Caller) -> bool:
    """Whether an answer has what people said: where it is asked for, or all is and the key may read it.

    Raises ``Problem`` (MISSING_SCOPE).
    """
    if mask is None:
        return may_read_words(caller)
    if "disposition" in mask:
        check_may_read_words(caller)
    return "disposition" in mask


def may_read_words(caller: Caller) -> bool:
    """Whether a key may read what people said of results."""
    return Scope.REVIEW_READ in caller.scopes


def check_may_read_words(caller: Caller) -> None:
    """Raise ``Problem`` (MISSING_SCOPE) where a key may not read what people said."""
    if not may_read_words(caller):
        raise Problem(
            Reason.MISSING_SCOPE, f"this key lacks the scope {Scope.REVIEW_READ}, which disposition needs"
        )
