"""How long a retention class keeps videos, as people write and read it; and what it then takes."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from pydantic import TypeAdapter, ValidationError

from api.pages.forms import Form
from api.problems import Problem
from api.schemas.erasure import ClassName, RetentionBody
from fakesieve.erasure.foresight import Count
from fakesieve.reasons import Reason
from fakesieve.values.erasure import KEEP_S_MAX


class Unit(StrEnum):
    """What a time to keep is counted in."""

    DAYS = "days"
    HOURS = "hours"
    MINUTES = "minutes"
    SECONDS = "seconds"


UNITS: Mapping[Unit, int] = MappingProxyType(
    {Unit.DAYS: 86_400, Unit.HOURS: 3_600, Unit.MINUTES: 60, Unit.SECONDS: 1}
)
_NAME: TypeAdapter[str] = TypeAdapter(ClassName)
_DIGITS_MAX = 10


def write_keep(keep_s: int | None) -> str:
    """Return a time to keep in words that say all of it, such as ``1 day 12 hours``."""
    if keep_s is None:
        return "without an end"
    parts, rest = list[str](), keep_s
    for unit, unit_s in UNITS.items():
        count, rest = divmod(rest, unit_s)
        if count:
            parts.append(f"{count:,} {unit.value if count != 1 else unit.value.removesuffix('s')}")
    return " ".join(parts)


def write_videos(count: int) -> str:
    """Return a count of videos in words."""
    return "1 video" if count == 1 else f"{count:,} videos"


def write_count(count: Count) -> str:
    """Return a count in words that say where it stopped."""
    return f"{count.videos:,}" if count.is_whole else f"at least {count.videos:,}"


def split_keep(keep_s: int) -> tuple[int, Unit]:
    """Return a time to keep as a count of the largest unit that divides it."""
    return next((keep_s // unit_s, unit) for unit, unit_s in UNITS.items() if keep_s % unit_s == 0)


def read_class(given: Form) -> tuple[str, int]:
    """Return the name of a class and for how many seconds it keeps. Raises ``Problem``."""
    unit, count = given.read_choice("unit", Unit), given.read("keep")
    try:
        whole = int(count) if count.isascii() and count.isdecimal() and len(count) <= _DIGITS_MAX else 0
        return read_name(given.read("name")), RetentionBody(keep_s=whole * UNITS[unit]).keep_s
    except ValidationError as fault:
        seen = f"a class keeps videos for a whole number of a unit, and {KEEP_S_MAX // 86_400:,} days at most"
        raise Problem(Reason.INVALID_REQUEST, seen) from fault


def read_name(text: str) -> str:
    """Return the name of a class. Raises ``Problem``."""
    try:
        return _NAME.validate_python(text)
    except ValidationError as fault:
        seen = "a class has a name of 1 to 40 of a to z, digits, '_' and '-', with a letter or digit first"
        raise Problem(Reason.INVALID_REQUEST, seen) from fault


def read_said(given: Form) -> int:
    """Return how many videos a page has said are erased at once."""
    said = given.read("due")
    return int(said) if said.isascii() and said.isdecimal() and len(said) <= _DIGITS_MAX else 0


def check_said(given: Form, due: int) -> None:
    """Raise ``Problem`` (STATE_CONFLICT) where more would be erased at once than the page has said."""
    said = read_said(given)
    if due > said:
        seen = f"this would erase {write_videos(due)} at once, and {said:,} were said; nothing has changed"
        raise Problem(Reason.STATE_CONFLICT, seen, hint="load the page again, and look at what it says now")
