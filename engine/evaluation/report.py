"""The report of an evaluation for people: one HTML page that needs nothing beside itself."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from engine.errors import EngineError
from engine.evaluation.charts import draw_histogram, draw_reliability, draw_roc
from engine.evaluation.files import RunFacts, named_estimates
from engine.evaluation.manifest import MANIPULATED, REAL
from engine.evaluation.measures import Evaluation, ItemResult, Measures, PeakFace, join_pictures
from engine.evaluation.metrics import Estimate
from engine.output.files import write_whole
from engine.output.names import escape_controls, to_text
from engine.output.words import EVIDENCE, OUTCOMES, VERDICTS, format_clock, format_score
from engine.results import EvidenceReason, Outcome

REPORT_NAME = "report.html"
WORST = 6
TEMPLATES = Path(__file__).parent / "templates"
PREVALENCES = (0.01, 0.001, 0.0001)

DrawPeak = Callable[[Path, PeakFace], tuple[bytes, bytes]]
"""Gives a file's highest scoring face as two JPEGs, plain and with its patch map. May raise EngineError."""

MEASURE_NAMES = {
    "video_auc": "video AUC",
    "frame_auc": "frame AUC",
    "tpr_at_fpr_10": "found at 10\u00a0% false alarms",
    "tpr_at_fpr_1": "found at 1\u00a0% false alarms",
    "eer": "equal error rate",
    "ece": "calibration error",
    "pair_accuracy": "pair accuracy",
    "patch_iou": "patch IoU",
}


@dataclass(frozen=True)
class MeasureRow:
    """One row of the table of measures."""

    name: str
    real: int
    manipulated: int
    cells: tuple[tuple[str, str], ...]  # value and interval of each measure


@dataclass(frozen=True)
class ErrorCard:
    """One of the worst errors."""

    name: str
    detail: str
    score: str
    plain: str  # data URI, empty where the frame could not be decoded again
    marked: str


@dataclass(frozen=True)
class BaseRateRow:
    """What a flag is worth when manipulated videos are rare."""

    prevalence: str
    shares: tuple[str, ...]


def write_report(path: Path, evaluation: Evaluation, facts: RunFacts, draw_peak: DrawPeak) -> None:
    """Write the page. Faces that cannot be drawn again are left without a picture."""
    scored = [result for result in evaluation.results if result.raw is not None]
    score = np.array([result.used for result in scored], np.float64)
    label = np.array([result.item.label for result in scored], np.int64)
    videos = join_pictures(scored, score)
    auc = evaluation.overall.video_auc
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("report.html").render(
        facts=facts,
        headline=headline(evaluation),
        counts=_count_rows(evaluation),
        measure_names=list(MEASURE_NAMES.values()),
        rows=[_measure_row("all files", evaluation.overall)]
        + [_measure_row(f"{group.by}: {group.name}", group.measures) for group in evaluation.groups],
        roc=Markup("") if evaluation.roc is None else draw_roc(evaluation.roc, _short(auc)),
        reliability=draw_reliability(videos.score, videos.label) if scored else Markup(""),
        histogram=draw_histogram(score, label) if scored else Markup(""),
        points=evaluation.points,
        base_rates=_base_rates(evaluation.overall),
        alarms=_worst(scored, REAL, draw_peak),
        misses=_worst(scored, MANIPULATED, draw_peak),
        unscored=[_unscored_row(result) for result in evaluation.unscored],
        mask_errors=[result.mask_error for result in evaluation.results if result.mask_error is not None],
    )
    write_whole(
        path, page.encode("utf-8", "backslashreplace")
    )  # folders and masks may have names that are no text


def headline(evaluation: Evaluation) -> str:
    """Return the result in one sentence."""
    overall = evaluation.overall
    files = f"{overall.manipulated} manipulated and {overall.real} real files with a score"
    if overall.video_auc.value is None:
        return f"{files}: both kinds are needed to measure how well the model tells them apart."
    joined = overall.video_auc.count < overall.manipulated + overall.real
    videos = f" ({overall.video_auc.count} videos)" if joined else ""
    text = f"Of {files}{videos}, a manipulated video scores above a real one"
    text += f" in {_short(overall.video_auc)} of cases"
    low, high = overall.video_auc.low, overall.video_auc.high
    return text + (f" (95 % interval {low:.3f} to {high:.3f})." if low is not None else ".")


def _short(estimate: Estimate) -> str:
    return "–" if estimate.value is None else f"{estimate.value:.3f}"


def _measure_row(name: str, measures: Measures) -> MeasureRow:
    estimates = named_estimates(measures)
    cells = tuple(_cell(estimates[key]) for key in MEASURE_NAMES)
    return MeasureRow(name, measures.real, measures.manipulated, cells)


def _cell(estimate: Estimate) -> tuple[str, str]:
    if estimate.low is None or estimate.high is None:
        return _short(estimate), ""
    return _short(estimate), f"{estimate.low:.2f}–{estimate.high:.2f}"


def _count_rows(evaluation: Evaluation) -> list[tuple[str, int, int]]:
    """Return outcome, number of real and number of manipulated files."""
    outcomes = evaluation.outcomes
    rows = [
        (OUTCOMES[each], outcomes.get((REAL, each), 0), outcomes.get((MANIPULATED, each), 0))
        for each in Outcome
    ]
    return [row for row in rows if row[1] or row[2]]


def _base_rates(overall: Measures) -> list[BaseRateRow]:
    """Return which share of flagged videos would be manipulated, at both measured operating points."""
    points = ((overall.tpr_at_fpr_10.value, 0.10), (overall.tpr_at_fpr_1.value, 0.01))
    rows: list[BaseRateRow] = []
    for prevalence in PREVALENCES:
        shares = [_flag_value(tpr, fpr, prevalence) for tpr, fpr in points]
        text = tuple("–" if share is None else f"{100 * share:.2g} %" for share in shares)
        rows.append(BaseRateRow(f"1 in {round(1 / prevalence):,}", text))
    return rows


def _flag_value(tpr: float | None, fpr: float, prevalence: float) -> float | None:
    if not tpr:
        return None
    found = prevalence * tpr
    return found / (found + (1 - prevalence) * fpr)


def _worst(scored: Sequence[ItemResult], label: int, draw_peak: DrawPeak) -> list[ErrorCard]:
    """Return the highest scoring real files or the lowest scoring manipulated ones."""
    mine = [result for result in scored if result.item.label == label]
    sign = -1 if label == REAL else 1
    ranked = sorted(mine, key=lambda result: (sign * (result.used or 0.0), result.item.name))
    return [_error_card(result, draw_peak) for result in ranked[:WORST]]


def _error_card(result: ItemResult, draw_peak: DrawPeak) -> ErrorCard:
    plain = marked = ""
    detail = [text for text in (result.item.method, result.item.subset) if text]
    if result.peak is not None:
        if result.peak.pts_us:
            detail.append(f"face at {format_clock(result.peak.pts_us)}")
        try:
            plain, marked = (_data_uri(data) for data in draw_peak(result.item.path, result.peak))
        except EngineError as error:  # decoded a moment ago; a file may vanish meanwhile
            detail.append(f"no picture: {error.seen}")
    if result.verdict is not None:
        detail.append(VERDICTS[result.verdict])
    return ErrorCard(
        escape_controls(to_text(result.item.name)),
        ", ".join(detail),
        format_score(result.used),
        plain,
        marked,
    )


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


def _unscored_row(result: ItemResult) -> tuple[str, str, str, str]:
    known = {reason.value: text for reason, text in EVIDENCE.items()}
    reasons = ", ".join(known.get(EvidenceReason(r), r) if r in known else r for r in result.reasons)
    kind = "manipulated" if result.item.label == MANIPULATED else "real"
    return escape_controls(to_text(result.item.name)), kind, OUTCOMES[result.outcome], result.error or reasons
