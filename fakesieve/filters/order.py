"""The order of a list: ``score desc, create_time`` and what stands behind it."""

from dataclasses import dataclass

from fakesieve.filters.fields import ORDERS
from fakesieve.filters.tree import FilterInvalid

TERMS_MAX = 3
LETTERS_MAX = 200


@dataclass(frozen=True)
class Term:
    """One key of an order. Absent values stand below all others."""

    name: str
    is_descending: bool = False


@dataclass(frozen=True)
class Order:
    """The keys of an order, most important first; ids break ties, in the direction of the last key."""

    terms: tuple[Term, ...] = (Term("create_time", is_descending=True),)

    @property
    def text(self) -> str:
        """The one text of this order."""
        return ", ".join(f"{term.name} desc" if term.is_descending else term.name for term in self.terms)

    @property
    def is_one_way(self) -> bool:
        """Whether all keys run in the same direction, so that an index gives the rows in order."""
        return len({term.is_descending for term in self.terms}) == 1


NEWEST_FIRST = Order()


def read_order(text: str | None) -> Order:
    """Return the order that a text says; newest first without one. Raises FilterInvalid."""
    if text is None or not text.strip():
        return NEWEST_FIRST
    if len(text) > LETTERS_MAX:
        raise FilterInvalid("order_by is too long", f"it has at most {LETTERS_MAX} letters")
    terms = tuple(_read_term(part) for part in text.split(","))
    names = [term.name for term in terms]
    if len(terms) > TERMS_MAX or len(set(names)) < len(names):
        raise FilterInvalid(
            f"order_by {text!r} repeats itself or is too long", f"name {TERMS_MAX} fields at most"
        )
    return Order(terms)


def _read_term(part: str) -> Term:
    name, *rest = part.split() or [""]
    if name not in ORDERS:
        raise FilterInvalid(
            f"there is no order by {name[:40]!r}", f"results are ordered by {', '.join(ORDERS)}"
        )
    if rest not in ([], ["asc"], ["desc"]):
        raise FilterInvalid(f"{' '.join(rest)[:40]!r} is no direction", "write asc or desc after the field")
    return Term(name, rest == ["desc"])
