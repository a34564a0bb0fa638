"""What a page of a refused act gives back: the way to the form it came from, and what was typed into that."""

import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, urlencode, urlsplit

from fastapi import Request

from api.pages.forms import get_sent
from api.pages.held import FIELD, read_held

# Fields that no form of ours shows: what they hold nobody has typed.
_HIDDEN = frozenset(
    {
        "form_token",
        "once",
        "item",
        "active",
        "after",
        "alias",
        "batch",
        "due",
        "expected",
        FIELD,
        "next",
        "page",
        "queue",
    }
)
_SECRET = ("password", "secret", "token")
# The name and the password in an address, as in https://name:password@host/.
_USERINFO = re.compile(r"((?:https?:|//)[/\\]*)[^\s/?#\\]*@", re.IGNORECASE)
_NOTICE = frozenset({"done", "proof"})


def find_form_page(request: Request) -> str | None:
    """Return the path and query of the page of ours that a form was sent from; None where it is not told.

    What that page said of an earlier act is left out: it is not said again.
    """
    try:
        told = urlsplit(request.headers.get("referer", ""))
    except ValueError:  # no address at all, such as "http://["
        return None
    if (told.scheme, told.netloc) != (request.url.scheme, request.url.netloc):
        return None
    # One slash at its beginning: two would name another host, and browsers read a backslash as one.
    path = "/" + told.path.lstrip("/\\")
    kept = [pair for pair in parse_qsl(told.query, keep_blank_values=True) if pair[0] not in _NOTICE]
    return path + (f"?{urlencode(kept)}" if kept else "")


def list_typed(request: Request) -> Sequence[tuple[str, str]]:
    """Return all fields of a refused form by name, without secrets and what no form shows.

    Addresses come without the name and the password that they may hold.
    A field that is typed into one form and handed on by another is there: a filter, and the name of a tag.

    A form that did not come from a page of ours has none: what it holds nobody has typed here.
    """
    form = get_sent(request)
    typed = [
        (name.replace("_", " "), _USERINFO.sub(r"\1", ", ".join(value for value in values if value.strip())))
        for name, values in form.fields.items()
        if name not in _HIDDEN and not any(word in name for word in _SECRET)
    ]
    return [*read_held(form), *((name, text) for name, text in typed if text)]
