"""The numbers of an evaluation for programs: ``metrics.json`` and ``scores.csv``."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from engine.evaluation.fits import Fits
from engine.evaluation.measures import Evaluation, ItemResult, Measures
from engine.evaluation.metrics import Estimate
from engine.output.files import write_whole
from engine.output.names import defuse_cell

SCHEMA_VERSION = 1
METRICS_NAME, SCORES_NAME = "metrics.json", "scores.csv"
COLUMNS = (
    "path",
    "label",
    "method",
    "subset",
    "compression",
    "video_id",
    "pair_id",
    "kind",
    "outcome",
    "score_raw",
    "score_calibrated",
    "interval_low",
    "interval_high",
    "verdict",
    "reasons",
    "frames_scored",
    "patch_iou",
    "wall_ms",
)


@dataclass(frozen=True)
class RunFacts:
    """What made the scores."""

    model: str
    weights_sha256: str
    engine: str
    precision: str
    fingerprint: str
    policy: str
    is_calibrated: bool
    card: Mapping[str, str]
    source: str
    max_samples: int
    created: str  # ISO 8601, UTC


def write_metrics(path: Path, evaluation: Evaluation, facts: RunFacts, fits: Fits) -> None:
    """Write all measures with their intervals as JSON; measures that do not exist are null."""
    form = {
        "schema_version": SCHEMA_VERSION,
        "run": {**asdict(facts), "card": dict(facts.card)},
        "counts": [
            {"label": label, "outcome": outcome.value, "files": count}
            for (label, outcome), count in sorted(evaluation.outcomes.items())
        ],
        "overall": measures_form(evaluation.overall),
        "groups": [
            {"by": group.by, "name": group.name, **measures_form(group.measures)}
            for group in evaluation.groups
        ],
        "operating_points": [asdict(point) for point in evaluation.points],
        "fits": fits_form(fits),
        "real_tails": asdict(evaluation.tails),
        "unscored": [
            {
                "path": result.item.name,
                "label": result.item.label,
                "outcome": result.outcome.value,
                "reasons": list(result.reasons),
            }
            for result in evaluation.unscored
        ],
        "unused_masks": [
            {"path": result.item.name, "error": result.mask_error}
            for result in evaluation.results
            if result.mask_error is not None
        ],
    }
    write_whole(path, (json.dumps(form, indent=2, allow_nan=False) + "\n").encode())


def fits_form(fits: Fits) -> dict[str, object]:
    """Return calibration and thresholds in the forms that a bundle's manifest takes."""
    return {
        "calibration": None if fits.calibration is None else fits.calibration.to_json(),
        "thresholds": [threshold.to_json() for threshold in fits.thresholds],
        "refusals": list(fits.refusals),
    }


def measures_form(measures: Measures) -> dict[str, object]:
    """Return the measures as they stand in ``metrics.json``."""
    form: dict[str, object] = {"real": measures.real, "manipulated": measures.manipulated}
    return form | {name: asdict(estimate) for name, estimate in named_estimates(measures).items()}


def named_estimates(measures: Measures) -> dict[str, Estimate]:
    """Return the estimates by name, in their order."""
    values = {field.name: getattr(measures, field.name) for field in fields(measures)}
    return {name: value for name, value in values.items() if isinstance(value, Estimate)}


def write_scores(path: Path, evaluation: Evaluation) -> None:
    """Write one line for every file, those without a score included."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_row(result) for result in evaluation.results)
    write_whole(path, stream.getvalue().encode())


def _row(result: ItemResult) -> list[str]:
    item, overlaps = result.item, result.overlaps
    low, high = result.interval or (None, None)
    values = (
        defuse_cell(item.name),
        item.label,
        defuse_cell(item.method),
        defuse_cell(item.subset),
        defuse_cell(item.compression),
        defuse_cell(item.video_id),
        defuse_cell(item.pair_id),
        None if result.kind is None else result.kind.value,
        result.outcome.value,
        result.raw,
        result.calibrated,
        low,
        high,
        None if result.verdict is None else result.verdict.value,
        " ".join(result.reasons),
        len(result.frame_scores),
        sum(overlaps) / len(overlaps) if overlaps else None,
        round(result.wall_ms),
    )
    return [
        "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
        for value in values
    ]
