"""From the text of a filter to its tree: a subset of AIP-160, read by recursive descent.

    filter     = [ expression ]
    expression = term { "AND" term } | term { "OR" term }
    term       = [ "NOT" ] ( "(" expression ")" | restriction )
    restriction = path sign value | path ":" "(" expression ")"
    path       = name { "." name }
    sign       = "=" | "!=" | "<" | "<=" | ">" | ">=" | ":"
    value      = quoted text | number | word | "null" | "*"

AND beside OR needs parentheses: AIP-160 lets OR bind tighter and SQL lets AND, so either reading would
surprise somebody.
"""

import re

from fakesieve.filters.lexer import Token, TokenKind, cut_tokens
from fakesieve.filters.tree import And, Comparison, FilterInvalid, Not, Operator, Or, Tree, Value, Within

DEPTH_MAX = 20
COMPARISONS_MAX = 60
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_KEYWORDS = ("AND", "OR", "NOT")


def parse_filter(text: str) -> Tree | None:
    """Return the tree of a filter; None for an empty one, which all fits.

    Raises FilterInvalid with the place and a hint, also for more than 4,000 letters, 60 comparisons or
    parentheses 20 deep.
    """
    return _Parser(list(cut_tokens(text))).parse()


class _Parser:
    """One pass over the tokens of one filter."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens, self._next, self._comparisons = tokens, 0, 0

    @property
    def _seen(self) -> Token:
        return self._tokens[self._next]

    def parse(self) -> Tree | None:
        if self._is_at_end():
            return None
        tree = self._read_expression(0)
        if not self._is_at_end():
            raise self._refuse_rest()
        return tree

    def _read_expression(self, depth: int) -> Tree:
        if depth > DEPTH_MAX:
            raise FilterInvalid(
                f"parentheses are more than {DEPTH_MAX} deep", "write it flatter", self._seen.position
            )
        parts, word = [self._read_term(depth)], ""
        while self._is_word("AND") or self._is_word("OR"):
            joined = self._take()
            if word and joined.text != word:
                raise FilterInvalid(
                    "AND stands beside OR", "say with parentheses which of them comes first", joined.position
                )
            word = joined.text
            parts.append(self._read_term(depth))
        if not word:
            return parts[0]
        return And(tuple(parts)) if word == "AND" else Or(tuple(parts))

    def _read_term(self, depth: int) -> Tree:
        if self._is_word("NOT"):
            self._take()
            return Not(self._read_simple(depth))
        return self._read_simple(depth)

    def _read_simple(self, depth: int) -> Tree:
        if self._seen.kind is TokenKind.OPEN:
            return self._read_group(depth)
        return self._read_restriction(depth)

    def _read_group(self, depth: int) -> Tree:
        opened = self._take()
        tree = self._read_expression(depth + 1)
        if self._seen.kind is not TokenKind.CLOSE:
            if self._seen.kind is TokenKind.END:
                raise FilterInvalid("a parenthesis is not closed", "add a )", opened.position)
            raise self._refuse_rest()
        self._take()
        return tree

    def _read_restriction(self, depth: int) -> Tree:
        at = self._seen.position
        path = self._read_path()
        operator = self._read_operator(path)
        self._comparisons += 1
        if self._comparisons > COMPARISONS_MAX:
            raise FilterInvalid(f"more than {COMPARISONS_MAX} comparisons", "ask for less at once", at)
        if operator is Operator.HAS and self._seen.kind is TokenKind.OPEN:
            return Within(path, self._read_group(depth), at)
        return Comparison(path, operator, self._read_value(path), at)

    def _read_path(self) -> tuple[str, ...]:
        token = self._seen
        hint = "a comparison begins with a field, as in: score.raw > 0.9"
        if token.kind is not TokenKind.WORD or token.text in _KEYWORDS:
            found = {TokenKind.END: "the filter ends", TokenKind.TEXT: "a text"}.get(token.kind, token.text)
            raise FilterInvalid(f"a field is missing, there is {found}", hint, token.position)
        parts = tuple(token.text.split("."))
        if not all(_NAME.fullmatch(part) for part in parts):
            raise FilterInvalid(f"{token.text} is no name of a field", hint, token.position)
        self._take()
        return parts

    def _read_operator(self, path: tuple[str, ...]) -> Operator:
        token = self._seen
        if token.kind is not TokenKind.SIGN:
            name = ".".join(path)
            raise FilterInvalid(
                f"a comparison is missing after {name}", f"write {name} and one of = != < <= > >= :",
                token.position,
            )  # fmt: skip
        return Operator(self._take().text)

    def _read_value(self, path: tuple[str, ...]) -> Value:
        token = self._seen
        if token.kind is TokenKind.TEXT:
            self._take()
            return Value(token.text, is_quoted=True, is_prefix=token.is_prefix, position=token.position)
        if token.kind is TokenKind.WORD and token.text not in _KEYWORDS:
            self._take()
            if "*" in token.text and token.text != "*":
                raise FilterInvalid(
                    f"{token.text} has a star",
                    'a beginning stands in quotes: field = "begins*"',
                    token.position,
                )
            return Value(token.text, is_quoted=False, position=token.position)
        raise FilterInvalid(
            f"a value is missing for {'.'.join(path)}", "numbers stand bare, texts in quotes", token.position
        )

    def _refuse_rest(self) -> FilterInvalid:
        token = self._seen
        if token.kind is TokenKind.CLOSE:
            return FilterInvalid("a ) closes nothing", "remove it, or add a ( before", token.position)
        if token.text.upper() in _KEYWORDS and token.text not in _KEYWORDS:
            return FilterInvalid(
                f"{token.text} is no word here", f"write {token.text.upper()}", token.position
            )
        return FilterInvalid(
            f"{token.text[:40]!r} stands where nothing was awaited", "join comparisons by AND or OR",
            token.position,
        )  # fmt: skip

    def _is_at_end(self) -> bool:
        return self._seen.kind is TokenKind.END

    def _is_word(self, word: str) -> bool:
        return self._seen.kind is TokenKind.WORD and self._seen.text == word

    def _take(self) -> Token:
        token = self._seen
        self._next += 1
        return token
