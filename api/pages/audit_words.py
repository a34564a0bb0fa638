"""What the pages of the audit log say: an entry in words with the way to what it is about, and a check."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import cast
from urllib.parse import quote

from fakesieve.ids import IdPrefix
from fakesieve.records.audit import AuditLine, ChainCheck

# Reviews and what was said have the page of their analysis; a policy is named, and not by an id.
_PAGES: Mapping[str, str] = MappingProxyType(
    {
        IdPrefix.ANALYSIS: "/r/{}",
        IdPrefix.API_KEY: "/keys",
        IdPrefix.BATCH: "/batches/{}",
        IdPrefix.JOB: "/jobs/{}",
        IdPrefix.MODEL: "/models/{}",
        IdPrefix.QUEUE: "/queue/{}",
        IdPrefix.USER: "/people",
        IdPrefix.VIDEO: "/videos/{}",
        IdPrefix.WEBHOOK: "/webhooks/{}",
    }
)


@dataclass(frozen=True)
class Names:
    """What the entries of a page are told with.

    ``actors`` are the names of people and keys by id, ``analyses`` those that reviews and what was said
    belong to, by the ids of these. ``kept`` are analyses that the viewer is to judge without the score: of
    them no details are told.
    """

    actors: Mapping[str, str]
    analyses: Mapping[str, str]
    kept: frozenset[str]


@dataclass(frozen=True)
class AuditRow:
    """One entry as the page shows it. ``address`` is None where its subject has no page.

    ``details`` are pairs of a name and a text; None while they are kept from the viewer.
    """

    line: AuditLine
    time: str
    who: str
    address: str | None
    details: Sequence[tuple[str, str]] | None


@dataclass(frozen=True)
class Finding:
    """One sentence on a piece of the log, and whether all is well as far as it goes."""

    text: str
    is_fine: bool = True


def write_row(line: AuditLine, names: Names) -> AuditRow:
    """Return an entry in words."""
    analysis = names.analyses.get(line.subject, line.subject)
    return AuditRow(
        line,
        format_second(line.create_time),
        names.actors.get(line.actor, line.actor),
        _find_address(line, analysis),
        None if analysis in names.kept else tuple(_write_details(line.details)),
    )


def format_second(time: datetime) -> str:
    """Return a moment in UTC to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def say_check(found: ChainCheck, after: int, kept: str) -> list[Finding]:
    """Return what a check of the entries behind ``after`` has found; ``kept`` is its hash as it was noted."""
    beginning = list(_say_beginning(found, after, kept))
    has_none = after > 0 and found.after_sha256 is None and not found.entries
    return beginning if has_none else [*beginning, _say_piece(found, after)]


def _say_beginning(found: ChainCheck, after: int, kept: str) -> Iterator[Finding]:
    entry = f"Entry {after:,}"
    if after and found.after_sha256 is None:
        yield _warn(f"There is no entry {after:,}: the log does not go so far, or it was removed.")
    elif kept and found.after_sha256 == kept:
        yield Finding(f"{entry} has the hash that you have kept.")
    elif kept:
        yield _warn(f"{entry} has another hash than the one that you have kept.")


def _say_piece(found: ChainCheck, after: int) -> Finding:
    if found.broken_at is not None:
        entry = f"Entry {found.broken_at:,}"
        return _warn(f"{entry} does not fit: it was changed, or what came before it was removed.")
    if not found.entries:
        return Finding(f"There is no entry behind {after:,}." if after else "The log has no entry.")
    entries = f"Entries {after + 1:,} to {after + found.entries:,}"
    return Finding(f"{entries} fit: each holds the hash of the one before.")


def _warn(text: str) -> Finding:
    return Finding(text, is_fine=False)


def _find_address(line: AuditLine, analysis: str) -> str | None:
    if line.action.startswith("policy."):
        return "/policies"
    address = _PAGES.get(analysis.partition("_")[0])
    return None if address is None else address.format(quote(analysis, safe=""))


def _write_details(details: Mapping[str, object], within: str = "") -> Iterator[tuple[str, str]]:
    # The database has its own order of names, in which "after" comes before "before".
    for name, value in sorted(details.items(), key=lambda pair: pair[0] == "after"):
        said = f"{within}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            yield from _write_details(cast("Mapping[str, object]", value), f"{said}, ")
        else:
            yield said, _write_value(value)


def _write_value(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_write_value(each) for each in cast("list[object]", value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
