"""``fakesieve schema``: the JSON Schema of what ``scan`` prints, and of the results of jobs."""

import json
import sys
from collections.abc import Mapping
from typing import Annotated

import typer

from engine.output.schema import build_schema


def schema(
    *,
    job: Annotated[
        bool, typer.Option("--job", help="Of 'results show --json' instead: with the job beside the result.")
    ] = False,
) -> None:
    """Print the JSON Schema (draft 2020-12) of one document."""
    form: Mapping[str, object] = build_schema()
    if job:
        # Lazy: brings the records, which the schema of a scan does without.
        from fakesieve.documents import extend_schema

        form = extend_schema(form)
    json.dump(form, sys.stdout, indent=2)
    sys.stdout.write("\n")
