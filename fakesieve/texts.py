"""Text that every store can keep: no NUL, which Postgres refuses, and nothing that UTF-8 cannot write."""

import re

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def is_storable(text: str) -> bool:
    """Whether a text can be kept as it is."""
    return _UNSTORABLE.search(text) is None


def make_storable(text: str) -> str:
    """Return the text with a replacement character for each letter that cannot be kept.

    For what was seen in a file or said by another program: it must never keep its own report from being
    written.
    """
    return _UNSTORABLE.sub("\ufffd", text)


def escape_line(text: str) -> str:
    """Return text on one line, with everything that could steer a terminal written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
