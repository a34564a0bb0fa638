"""``fields=id,score.raw``: a part of an answer. Names are those of the answer's shape and nothing else."""

from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue

from api.problems import Problem
from fakesieve.reasons import Reason

PATHS_MAX = 60
LETTERS_MAX = 2000
Mask = dict[str, "Mask"]
"""Names to keep, each with what to keep of it; empty is all of it."""


def read_mask(text: str | None, shape: type[BaseModel]) -> Mask | None:
    """Return the mask that a text says; None without one. Raises ``Problem`` for names that are not there."""
    if text is None:
        return None
    paths = [path.strip() for path in text.split(",")]
    if len(text) > LETTERS_MAX or len(paths) > PATHS_MAX:
        raise Problem(Reason.INVALID_REQUEST, f"fields names more than {PATHS_MAX} things")
    mask: Mask = {}
    for path in paths:
        _add(mask, path.split("."), shape, path)
    return mask


def check_has(mask: Mask | None, absent: Sequence[str], hint: str) -> None:
    """Raise ``Problem`` for names of what an answer does not look at: null would say that there is none."""
    named = [each for each in absent if mask is not None and each in mask]
    if named:
        raise Problem(
            Reason.INVALID_REQUEST, f"fields: {', '.join(named)} is not looked at for this answer", hint=hint
        )


def _add(mask: Mask, names: list[str], shape: type[BaseModel] | None, path: str) -> None:
    head, *rest = names
    if shape is None or head not in shape.model_fields:
        known = "" if shape is None else f"; there are {', '.join(shape.model_fields)}"
        raise Problem(
            Reason.INVALID_REQUEST, f"fields: there is no {path[:80]!r}", hint=f"correct the name{known}"
        )
    is_whole = head in mask and not mask[head]
    if not rest:
        mask[head] = {}
    elif not is_whole:
        _add(mask.setdefault(head, {}), rest, _find_shape(shape.model_fields[head].annotation), path)


def _find_shape(kind: Any) -> type[BaseModel] | None:
    """Return the shape within a type such as ``list[TrackOut] | None``."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    if get_origin(kind) in (Union, UnionType, list):
        found = [_find_shape(part) for part in get_args(kind)]
        return next((each for each in found if each is not None), None)
    return None


def apply_mask(document: Mapping[str, JsonValue], mask: Mask) -> dict[str, JsonValue]:
    """Return what a mask keeps of a document, in the document's order."""
    return {name: _keep(value, mask[name]) for name, value in document.items() if name in mask}


def _keep(value: JsonValue, mask: Mask) -> JsonValue:
    if not mask:
        return value
    if isinstance(value, list):
        return [_keep(each, mask) for each in value]
    return apply_mask(value, mask) if isinstance(value, dict) else value
