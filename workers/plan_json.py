"""Probes and shard plans as JSON, for the job's and the shard's rows, and back.

A fan-out writes them, every shard of the video reads them, perhaps by a worker of the next release: the form
has a version, and what does not read raises PlanInvalid rather than giving a plan that is a little different.
"""

import base64
import zlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, cast

import numpy as np

from engine.arrays import I64
from engine.container import Container, MediaKind
from engine.probe import Probe
from engine.results import MediaWarning
from engine.sampling import SampleTarget, ShardPlan

PROBE_VERSION = 1
PLAN_VERSION = 1
_TIMES_MAX = 4_000_000  # twice the most frames that a video may have by the default limits

JsonObject = dict[str, Any]


class PlanInvalid(ValueError):
    """A row that holds no probe or plan of this version."""


def probe_to_json(probe: Probe) -> JsonObject:
    """Return a probe as JSON; frame times are packed, as differences they take less than a byte each."""
    form = {name: getattr(probe, name) for name in _PROBE_FIELDS}
    form |= {
        "kind": probe.kind.value,
        "container": probe.container.value,
        "warnings": [warning.value for warning in probe.warnings],
        "keyframes_us": _pack_times(np.asarray(probe.keyframes_us, np.int64)),
        "frames_us": _pack_times(probe.frames_us),
    }
    for name in _PAIRS:
        form[name] = list(form[name])
    return {"v": PROBE_VERSION, **form}


_PAIRS = ("sample_aspect_ratio", "time_base", "rate")
_PROBE_FIELDS = {field.name for field in fields(Probe)} - {"stamp"}  # which is of one machine's file


def probe_from_json(form: Mapping[str, Any]) -> Probe:
    """Read a probe. Raises PlanInvalid."""
    values = _open(form, PROBE_VERSION, _PROBE_FIELDS)
    try:
        values |= {
            "kind": MediaKind(values["kind"]),
            "container": Container(values["container"]),
            "warnings": tuple(MediaWarning(warning) for warning in values["warnings"]),
            "keyframes_us": tuple(cast("list[int]", _unpack_times(values["keyframes_us"]).tolist())),
            "frames_us": _unpack_times(values["frames_us"]),
        }
        for name in _PAIRS:
            first, second = values[name]
            values[name] = (int(first), int(second))
        return Probe(**values)
    except (KeyError, TypeError, ValueError, OverflowError, zlib.error) as fault:
        raise PlanInvalid(f"no probe: {fault}") from fault


def plan_to_json(plan: ShardPlan) -> JsonObject:
    """Return a shard plan as JSON."""
    form = asdict(plan)
    form["targets"] = [[target.pts_us, target.seek_us] for target in plan.targets]
    return {"v": PLAN_VERSION, **form}


def plan_from_json(form: Mapping[str, Any]) -> ShardPlan:
    """Read a shard plan. Raises PlanInvalid."""
    values = _open(form, PLAN_VERSION, {field.name for field in fields(ShardPlan)})
    try:
        targets = tuple(SampleTarget(_integer(pts), _integer(seek)) for pts, seek in values["targets"])
        index, start_us, end_us = (_integer(values[name]) for name in ("index", "start_us", "end_us"))
        return ShardPlan(index, start_us, end_us, targets)
    except (TypeError, ValueError) as fault:
        raise PlanInvalid(f"no plan of a shard: {fault}") from fault


def _open(form: Mapping[str, Any], version: int, names: set[str]) -> JsonObject:
    if form.get("v") != version:
        raise PlanInvalid(f"version {form.get('v')!r}, this program reads {version}")
    if set(form) != names | {"v"}:
        raise PlanInvalid(f"fields {sorted(set(form) ^ names - {'v'})} are missing or unknown")
    return {name: form[name] for name in names}


def _integer(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no integer")
    return value


def _pack_times(times: I64) -> JsonObject:
    """Pack increasing times: zlib over differences of differences, which are 0 at an even rate."""
    steps = np.diff(times, prepend=0)
    changes = np.diff(steps, prepend=0).astype("<i8")
    return {"n": len(times), "z": base64.b64encode(zlib.compress(changes.tobytes(), 6)).decode("ascii")}


def _unpack_times(form: Mapping[str, Any]) -> I64:
    count = _integer(form["n"])
    if not 0 <= count <= _TIMES_MAX:
        raise ValueError(f"{count} times")
    stream = zlib.decompressobj()
    raw = stream.decompress(base64.b64decode(form["z"], validate=True), 8 * count + 1)
    if len(raw) != 8 * count or not stream.eof:
        raise ValueError(f"the packed times are not {count}")
    changes = np.frombuffer(raw, "<i8").astype(np.int64)
    return np.cumsum(np.cumsum(changes))
