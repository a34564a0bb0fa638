"""Paths of requests: an id or a name fills one place between two slashes and chooses nothing else."""

from typing import LiteralString
from urllib.parse import quote

from fakesieve.errors import RequestRefused
from fakesieve.reasons import Reason

_PLACE = "{}"


def fill_path(template: LiteralString, *names: str | int) -> str:
    """Return a path with names in the places of its ``{}``, as ``fill_path("/v1/jobs/{}:cancel", job_id)``.

    Raises RequestRefused (NOT_FOUND) for what no id and no name is, before anything is sent: one that is
    empty or a dot segment, which the way to the API takes out of a path, and one with a slash. To quote a
    slash would not do: the API, and many a proxy before it, look for a route after they have unquoted.
    """
    path, *rest = template.split(_PLACE)
    for name, after in zip(names, rest, strict=True):
        text = str(name)
        if text in {"", ".", ".."} or "/" in text:
            hint = "give it as the API or a list shows it, as job_...: it is not empty and has no '/'"
            raise RequestRefused(Reason.NOT_FOUND, f"there is nothing called {text!r} in {path[:-1]}", hint)
        # Half a character, as the name of a file may hold, is quoted like any other byte.
        path += quote(text, safe="@", errors="surrogatepass") + after
    return path
