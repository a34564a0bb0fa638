"""Write the OpenAPI document of the API, or fail where the one that is checked in differs.

Usage: python tools/openapi.py [--check]
"""

import difflib
import json
import sys
from pathlib import Path

from api.app import create_app
from fakesieve.settings import Settings

PLACE = Path(__file__).parent.parent / "docs" / "reference" / "openapi.json"
_LINES_SHOWN = 40


def render() -> str:
    """Return the document as it is checked in. Nothing is connected to."""
    settings = Settings.model_validate(
        {"database_url": "postgresql://127.0.0.1/none", "broker_url": "redis://127.0.0.1/0", "bucket": "none"}
    )
    return json.dumps(create_app(settings).openapi(), indent=1, ensure_ascii=True) + "\n"


def main(arguments: list[str]) -> int:
    """Write, or compare and return 1 for a difference."""
    now = render()
    if "--check" not in arguments:
        PLACE.write_text(now, encoding="ascii")
        return 0
    before = PLACE.read_text(encoding="ascii") if PLACE.exists() else ""
    if before == now:
        print(f"{PLACE.name} is what the API says: {len(json.loads(now)['paths'])} paths")
        return 0
    lines = difflib.unified_diff(
        before.splitlines(), now.splitlines(), "checked in", "the API", lineterm="", n=1
    )
    print("\n".join(list(lines)[:_LINES_SHOWN]), file=sys.stderr)
    print("hint: look at the difference, then: python tools/openapi.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
