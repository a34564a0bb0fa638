"""Passwords that are made once and kept in a file that only its owner can read."""

import json
import os
import secrets
from pathlib import Path
from typing import cast

_LETTERS = 24


def keep_secrets(path: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Return a secret by name from the file, which gains those that it lacks."""
    known: dict[str, str] = {}
    if path.exists():
        known = cast("dict[str, str]", json.loads(path.read_text(encoding="ascii")))
    missing = [name for name in names if name not in known]
    if missing:
        known |= {name: secrets.token_hex(_LETTERS // 2) for name in missing}
        write_private(path, json.dumps(known, indent=1) + "\n")
    return known


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read; it appears whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
