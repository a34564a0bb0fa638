"""Write the tables of docs/reference/filters.md anew from the allow-list.

Usage: python tools/filter_reference.py
"""

from pathlib import Path

from fakesieve.filters.reference import write_tables

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "filters.md"
MARK = "## Fields\n\n"


def render(page: str) -> str:
    """Return the page with the tables as they are now."""
    return page.partition(MARK)[0] + MARK + write_tables()


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text()))
