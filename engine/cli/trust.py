"""Which models the commands of a machine accept: by environment, so that no command can forget it."""

import os
from pathlib import Path

from engine.bundle import ModelBundle, load_bundle

MODEL_KEYS = "FAKESIEVE_MODEL_KEYS"


def open_bundle(name_or_dir: str) -> ModelBundle:
    """Load a bundle as ``load_bundle`` does, signed by a key of FAKESIEVE_MODEL_KEYS where that is set."""
    keys = os.environ.get(MODEL_KEYS)
    return load_bundle(name_or_dir, Path(keys) if keys else None)
