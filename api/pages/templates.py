"""Templates: escaped throughout, strict about names, with the words that the pages share."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from api.pages.files import FILES
from api.pages.headers import write_policy
from api.pages.people import Person, sign_form
from api.pages.rules import format_exact
from engine.output import words
from fakesieve.values.people import UserRole


@dataclass(frozen=True)
class Place:
    """A page that the navigation names, for those who may see it.

    Pages below its address belong to it, and those at and below ``others``.
    """

    address: str
    title: str
    role: UserRole = UserRole.VIEWER
    others: tuple[str, ...] = ()

    def holds(self, path: str) -> bool:
        """Whether a page belongs to it."""
        return any(path == each or path.startswith(f"{each}/") for each in (self.address, *self.others))


# What is built; a page that is not built is not named.
PLACES: tuple[Place, ...] = (
    Place("/queue", "Queues", others=("/decisions", "/known")),
    Place("/results", "Results"),
    Place("/jobs", "Jobs", others=("/batches",)),
    Place("/policies", "Policies"),
    Place("/models", "Models"),
    Place("/upload", "Upload", UserRole.REVIEWER),
    Place("/videos", "Videos", UserRole.ADMIN),
    Place("/webhooks", "Webhooks", UserRole.ADMIN),
    Place("/keys", "Keys", UserRole.ADMIN),
    Place("/people", "People", UserRole.ADMIN),
    Place("/audit", "Audit", UserRole.ADMIN),
    Place("/status", "Health"),
)


def render(
    request: Request,
    template: str,
    *,
    status: int = 200,
    policy: str | None = None,
    token: str | None = None,
    **values: object,
) -> HTMLResponse:
    """Return a page.

    Args:
        request: what is answered; who looks is taken from it.
        template: name of a file of ``templates``.
        status: status of HTTP.
        policy: content security policy, where the page needs another than all have.
        token: what forms are bound to where nobody has signed in.
        values: what the template names.
    """
    person = cast("Person | None", getattr(request.state, "person", None))
    bound = person.token if person is not None else token
    page = _ENVIRONMENT.get_template(template).render(
        person=person,
        places=[place for place in PLACES if person is not None and person.may(place.role)],
        path=request.url.path,
        form_token=sign_form(bound) if bound else "",
        request_id=getattr(request.state, "request_id", None),
        **values,
    )
    return HTMLResponse(page, status, {"Content-Security-Policy": policy or write_policy()})


def format_time(time: datetime | None) -> str:
    """Return a moment in UTC to the minute, a dash where there is none."""
    return "–" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def format_code(text: str) -> str:
    """Return a name of a closed list as words."""
    return str(text).replace("_", " ").lower()


def format_bytes(count: int) -> str:
    """Return a size in the largest unit of 1000 that leaves a digit before the point."""
    units: Sequence[str] = ("B", "kB", "MB", "GB", "TB")
    size, unit = float(count), 0
    while size >= 1000 and unit < len(units) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.0f} {units[unit]}" if unit == 0 else f"{size:.1f} {units[unit]}"


def end_sentence(text: str) -> str:
    """Return a sentence with a full stop where it has no end of its own."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def show_text(text: str) -> str:
    """Return foreign text without what turns a line around or cannot be seen; HTML is escaped later."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _make_environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shared = cast("dict[str, object]", environment.globals)
    shared.update(
        {"static": FILES.name_address, "imports": FILES.list_imports, "words": words, "role": UserRole}
    )
    environment.filters.update(
        time=format_time,
        code=format_code,
        clock=words.format_clock,
        score=words.format_score,
        share=words.format_share,
        exact=format_exact,
        bytes=format_bytes,
        foreign=show_text,
        sentence=end_sentence,
    )
    return environment


_ENVIRONMENT = _make_environment()
