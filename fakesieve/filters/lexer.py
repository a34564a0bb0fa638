"""A filter's text cut into words, signs and quoted texts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from fakesieve.filters.tree import FilterInvalid
from fakesieve.texts import is_storable

LETTERS_MAX = 4000


class TokenKind(Enum):
    """What a piece of the text is."""

    WORD = auto()  # a field, a keyword, a number or a bare value
    TEXT = auto()  # in quotes
    SIGN = auto()  # a comparison
    OPEN = auto()
    CLOSE = auto()
    END = auto()


@dataclass(frozen=True)
class Token:
    """One piece. ``is_prefix`` is for quoted texts that end in a star which no backslash stands before."""

    kind: TokenKind
    text: str
    position: int
    is_prefix: bool = False


_SPACE = re.compile(r"[ \t\r\n]+")
_WORD = re.compile(r"[A-Za-z0-9_.+\-@*]+")
_SIGN = re.compile(r"!=|<=|>=|[=<>:]")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"' + r"|'((?:[^'\\]|\\.)*)'", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = frozenset("\\\"'*")


def cut_tokens(text: str) -> Iterator[Token]:
    """Yield the pieces of a filter, an ``END`` last. Raises FilterInvalid where nothing fits."""
    if len(text) > LETTERS_MAX:
        raise FilterInvalid(f"the filter has {len(text)} letters", f"a filter has at most {LETTERS_MAX}")
    if not is_storable(text):
        raise FilterInvalid("the filter has a letter that no text can hold", "leave NUL and half letters out")
    position = 0
    while position < len(text):
        if space := _SPACE.match(text, position):
            position = space.end()
            continue
        token, position = _cut_one(text, position)
        yield token
    yield Token(TokenKind.END, "", len(text))


def _cut_one(text: str, position: int) -> tuple[Token, int]:
    letter = text[position]
    if letter in "()":
        kind = TokenKind.OPEN if letter == "(" else TokenKind.CLOSE
        return Token(kind, letter, position), position + 1
    if sign := _SIGN.match(text, position):
        return Token(TokenKind.SIGN, sign[0], position), sign.end()
    if word := _WORD.match(text, position):
        return Token(TokenKind.WORD, word[0], position), word.end()
    if letter in "\"'":
        quoted = _QUOTED.match(text, position)
        if quoted is None:
            raise FilterInvalid("a quoted text has no end", f"close it with {letter}", position)
        return _unquote(quoted[0][1:-1], position), quoted.end()
    raise FilterInvalid(
        f"{letter!r} has no meaning here", 'put values with such letters in quotes: field = "value"', position
    )


def _unquote(inner: str, position: int) -> Token:
    for escape in _ESCAPE.finditer(inner):
        if escape[1] not in _ESCAPED:
            raise FilterInvalid(
                f"\\{escape[1]} is no escape",
                "there are \\\" \\' \\\\ and \\*",
                position + 1 + escape.start(),
            )
    is_prefix = bool(re.search(r"(?<!\\)(?:\\\\)*\*$", inner))
    kept = inner[:-1] if is_prefix else inner
    return Token(TokenKind.TEXT, _ESCAPE.sub(lambda escape: escape[1], kept), position, is_prefix)
