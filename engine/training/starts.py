"""What each start of a training run was told and ran on, kept beside its weights to repeat it by."""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch

from engine.bundle import file_sha256
from engine.fingerprint import Json, code_digest, describe_package, to_json
from engine.output.files import unwritable
from engine.training.loop import RunSettings
from engine.training.pairs import PairRecipe
from engine.training.precision import has_bf16

STARTS_NAME = "starts.jsonl"
_CODE = ("network/*.py", "training/*.py", "faces/*.py", "cli/train.py")
_PACKAGES = ("torch", "numpy", "opencv-python-headless", "av")
# Places: the files that lie there are named by their hashes.
_PLACES = ("directory", "face_space", "redrawer")


def note_start(run: RunSettings, recipe: PairRecipe, step: int, files: Mapping[str, Path | None]) -> None:
    """Add a line to ``starts.jsonl`` of the run's folder.

    ``step`` is the one from which the run goes on, by which the seed of its pairs moves. ``files`` are what
    it was given, by the word that the line uses. Raises Unavailable if the line cannot be written.
    """
    given = {**files, "face_space": recipe.face_space, "redrawer": recipe.redrawer}
    line: dict[str, Json] = {
        "step": step,
        "settings": _values(asdict(run)),
        "recipe": _values(asdict(recipe)),
        "files": {word: None if path is None else file_sha256(path) for word, path in given.items()},
        "code": code_digest(patterns=_CODE),
        "versions": {"python": platform.python_version()}
        | {name: describe_package(name)["version"] for name in _PACKAGES},
        "arithmetic": f"{'bf16' if has_bf16() else 'f32'} on {torch.backends.cpu.get_cpu_capability()}",
    }
    place = run.directory / STARTS_NAME
    try:
        with place.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
    except OSError as fault:
        raise unwritable(place, fault.strerror or str(fault)) from fault


def _values(fields: Mapping[str, object]) -> Json:
    return to_json({name: value for name, value in fields.items() if name not in _PLACES})
