"""What the database does for a statement: time, pages, and which large tables it reads from end to end."""

import json
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session

LARGE_ROWS = 20_000  # a table below this is read from end to end for good reason
_PAGE_BYTES = 8192
_EXPLAINED = ("SELECT", "WITH", "UPDATE", "DELETE", "INSERT")


@dataclass(frozen=True)
class Statement:
    """One statement as the driver was given it."""

    text: str
    parameters: Any  # a mapping or a sequence, as the driver takes it

    @property
    def is_explained(self) -> bool:
        """Whether it can be asked about: it reads or writes tables."""
        return self.text.lstrip().upper().startswith(_EXPLAINED) and not self.is_setting

    @property
    def is_setting(self) -> bool:
        """Whether it says how the statements behind it are planned and bounded."""
        return "set_config" in self.text


@dataclass(frozen=True)
class Plan:
    """One run of one statement. ``scans`` are large tables that were read whole, with the rows looked at."""

    text: str
    planning_ms: float
    execution_ms: float
    hit_bytes: int
    read_bytes: int
    scans: tuple[tuple[str, int], ...]
    nodes: tuple[str, ...]


@contextmanager
def note_statements(connection: Connection) -> Generator[list[Statement]]:
    """Give the list of all statements that go through a connection during the block."""
    noted = list[Statement]()

    def note(
        _connection: object, _cursor: object, text: str, parameters: Any, _context: object, *many: bool
    ) -> None:
        first = parameters[0] if any(many) and parameters else parameters
        noted.append(Statement(text, first))

    event.listen(connection, "before_cursor_execute", note)
    try:
        yield noted
    finally:
        event.remove(connection, "before_cursor_execute", note)


def explain(session: Session, statement: Statement, rows: Mapping[str, int]) -> Plan:
    """Run a statement under EXPLAIN; ``rows`` says how large the tables are. What it writes stays written."""
    command = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement.text}"
    answer = session.connection().exec_driver_sql(command, statement.parameters).scalar_one()
    (found,) = answer if isinstance(answer, list) else json.loads(answer)
    return read_plan(statement.text, found, rows)


def read_plan(text: str, found: Mapping[str, Any], rows: Mapping[str, int]) -> Plan:
    """Read what EXPLAIN has answered."""
    top = found["Plan"]
    nodes = list(walk(top))
    scans = tuple(
        (node["Relation Name"], round(node["Actual Rows"] + node.get("Rows Removed by Filter", 0)))
        for node in nodes
        if node["Node Type"] == "Seq Scan"
        and node["Actual Loops"] > 0
        and rows.get(node["Relation Name"], 0) > LARGE_ROWS
    )
    return Plan(
        text=text,
        planning_ms=found["Planning Time"],
        execution_ms=found["Execution Time"],
        hit_bytes=_PAGE_BYTES * top["Shared Hit Blocks"],
        read_bytes=_PAGE_BYTES * top["Shared Read Blocks"],
        scans=scans,
        nodes=tuple(describe_node(node) for node in nodes),
    )


def walk(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a node of a plan and all below it."""
    yield node
    for child in node.get("Plans", ()):
        yield from walk(child)


def describe_node(node: Mapping[str, Any]) -> str:
    """Say in a few words what a node does."""
    by = node.get("Index Name") or node.get("Relation Name")
    name = node["Node Type"] + (f" {by}" if by else "")
    return (
        f"{name}: {node['Actual Rows']:g} rows x {node['Actual Loops']} in {node['Actual Total Time']:.2f} ms"
    )
