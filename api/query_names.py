"""The names that a query may have: those that its route knows, and no others.

A filter under a misspelt name would be no filter: the answer would hold more than was asked for, or more
would be deleted than was meant. So it is refused, as a field of a body is that nobody knows.
"""

from collections.abc import Sequence
from difflib import get_close_matches

from fastapi import Request
from fastapi.dependencies.models import Dependant

from api.problems import Problem
from api.schemas.problems import FieldFault
from fakesieve.reasons import Reason

_SHOWN_MAX = 3
_LETTERS_MAX = 100
_PASSED_OVER = frozenset({"tenant_id"})
"""Known to no route, and no misspelling either: whoever names a tenant is shown what their key may see."""


def list_names(dependant: Dependant) -> tuple[str, ...]:
    """Return the names of all query parameters that a route and what it depends on read, sorted."""
    names = {field.alias for field in dependant.query_params}
    return tuple(sorted(names.union(*map(list_names, dependant.dependencies))))


def check_names(request: Request, known: Sequence[str]) -> None:
    """Raise ``Problem`` (INVALID_REQUEST) for names in the query that its route does not know."""
    unknown = sorted(set(request.query_params) - set(known) - _PASSED_OVER)
    if not unknown:
        return
    faults = [_describe(name) for name in unknown[:_SHOWN_MAX]]
    detail = f"{faults[0].pointer}: {faults[0].detail}"
    if len(unknown) > 1:
        detail += f"; and {len(unknown) - 1} more"
    raise Problem(Reason.INVALID_REQUEST, detail, hint=_hint(unknown[0], known), errors=faults)


def _describe(name: str) -> FieldFault:
    return FieldFault(
        pointer=f"query:{name[:_LETTERS_MAX]}",
        code="unknown_parameter",
        detail="there is no such parameter at this address",
    )


def _hint(name: str, known: Sequence[str]) -> str:
    if not known:
        return "leave it out; this address has no parameters"
    near = get_close_matches(name[:_LETTERS_MAX], known, n=_SHOWN_MAX)
    return f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
