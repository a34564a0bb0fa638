"""The table of fields as docs/reference/filters.md shows it; a test holds the page to it."""

from fakesieve.filters.fields import FIELDS, NOUNS, Field, FieldKind

_SIGNS = {
    FieldKind.TEXT: "`=` `!=`, a star at the end",
    FieldKind.CHOICE: "`=` `!=`",
    FieldKind.NUMBER: "all",
    FieldKind.INTEGER: "all",
    FieldKind.TIME: "all",
    FieldKind.LIST: "`:`",
    FieldKind.TAGS: "`tags.NAME = ...`, `tags:NAME`",
}


def write_tables() -> str:
    """Return the tables in Markdown: fields of the analysis first, then those of each list."""
    parts = [_write_table([field for field in FIELDS.values() if field.noun is None])]
    for noun, meaning in NOUNS.items():
        fields = [field for field in FIELDS.values() if field.noun == noun]
        parts.append(f"### {noun}: {meaning}\n\n{_write_table(fields)}")
    return "\n".join(parts)


def _write_table(fields: list[Field]) -> str:
    lines = ["| field | is | compare by | meaning |", "|---|---|---|---|"]
    lines += [_write_row(field) for field in fields]
    return "\n".join(lines) + "\n"


def _write_row(field: Field) -> str:
    name = f"`{field.name}`" + (" (order)" if field.is_order else "")
    values = f": {', '.join(field.choices)}" if field.choices else ""
    return f"| {name} | {field.kind.value} | {_SIGNS[field.kind]} | {field.meaning}{values} |"
