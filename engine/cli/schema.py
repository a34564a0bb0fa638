"""``fakesieve schema``: the JSON Schema of what ``scan`` prints."""

import json
import sys

from engine.output.schema import build_schema


def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of one document."""
    json.dump(build_schema(), sys.stdout, indent=2)
    sys.stdout.write("\n")
