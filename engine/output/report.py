"""A self-contained HTML page for one scanned input, for people who have to judge it.

The page loads nothing and runs nothing: its content security policy allows its own style and inline pictures
only. The verdict is always in words with its score, thresholds and coverage, never a bare percentage.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.bundle import ModelBundle
from engine.container import MediaKind
from engine.limits import Limits, format_size
from engine.output import words
from engine.output.charts import ScoreScale, TimeChart, build_chart, build_scale, describe_span, hex_colour
from engine.output.document import find_warnings
from engine.output.files import write_whole
from engine.output.names import escape_controls, to_text
from engine.output.timeline import Timeline, build_timeline
from engine.results import TrackScore, VerdictValue
from engine.sandbox.handle import Sandbox
from engine.scan_result import ScanResult

if TYPE_CHECKING:  # types only, see write_report
    from engine.output.stills import Still

_TEMPLATES = Path(__file__).parent / "templates"
BASE_RATES = (0.01, 0.001, 0.0001)
FALSE_ALARMS = (0.01, 0.001, 0.0001)
FOUND = 0.8
"""Share of forgeries that is found, assumed for the table of base rates."""


@dataclass(frozen=True)
class BaseRateRow:
    """What share of flagged videos is really forged, at one share of forged among all."""

    forged: str
    flagged: tuple[str, ...]


@dataclass(frozen=True)
class IndexEntry:
    """One line of the index: what it says and the files beside it that belong to it."""

    name: str
    headline: str
    score: str
    scored: str
    note: str
    report: str | None
    overlay: str | None


def write_report(
    result: ScanResult,
    bundle: ModelBundle,
    path: Path,
    sandbox: Sandbox,
    limits: Limits,
    *,
    overlay: str | None = None,
    note: str = "",
) -> None:
    """Write the report of a scan, also of one that failed.

    ``overlay`` is the file name of its overlay beside it, ``note`` a sentence that stands above all. Raises
    MediaRejected if the input can no longer be read and Unavailable if the page cannot be written.
    """
    # Lazy: brings the video encoder, 45 ms that a scan without a report does not need.
    from engine.output.stills import make_stills

    stills = () if result.score is None else make_stills(result, sandbox, limits)
    write_whole(path, render_report(result, bundle, stills, overlay=overlay, note=note).encode())


def render_report(
    result: ScanResult,
    bundle: ModelBundle,
    stills: "tuple[Still, ...]",
    *,
    overlay: str | None = None,
    note: str = "",
) -> str:
    """Return the page's HTML; equal scans give equal pages."""
    timeline = _timeline(result)
    chart: TimeChart | None = None if timeline is None else build_chart(timeline)
    scale: ScoreScale | None = build_scale(result)
    return _render(
        "report.html",
        result=result,
        bundle=bundle,
        title=describe_name(result.path),
        verdict=describe_headline(result),
        fault=_describe_fault(result),
        tone=_tone(result),
        scale=scale,
        timeline=timeline,
        chart=chart,
        stills=stills,
        overlay=overlay,
        note=note,
        media=describe_media(result),
        model=[*describe_model(bundle), *_describe_run(result)],
        spans=_describe_spans(result),
        base_rates=base_rate_table(),
        words=words,
        hex_colour=hex_colour,
        track_reasons=_track_reasons,
        missing=describe_missing(result),
    )


def describe_entry(
    result: ScanResult, *, report: str | None, overlay: str | None, note: str = ""
) -> IndexEntry:
    """Return the line of one input for the index, without what makes a result large."""
    score, verdict = result.score, result.verdict
    return IndexEntry(
        name=describe_name(result.path),
        headline=describe_headline(result),
        score=words.format_score(None if verdict is None else verdict.score_used),
        scored="–" if score is None else words.format_share(score.coverage.ratio),
        note=note if result.fault is None else _describe_fault(result),
        report=report,
        overlay=overlay,
    )


def write_index(entries: Sequence[IndexEntry], bundle: ModelBundle, path: Path, *, note: str = "") -> None:
    """Write a page that lists the inputs of a run with their verdicts and links to their pages.

    It says of the model what each report says: who reads verdicts here may never open one.
    """
    page = _render(
        "index.html",
        entries=entries,
        note=note,
        model=describe_model(bundle),
        base_rates=base_rate_table(),
    )
    write_whole(path, page.encode())


def _render(template: str, **values: object) -> str:
    # Lazy: 25 ms that a scan without a report does not need.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    # The style is this program's own file; everything else is escaped.
    page = environment.get_template(template)
    return page.render(style=Markup(style), policy=policy, **values)  # noqa: S704 - our own file


def describe_name(path: Path) -> str:
    """Return the file's name for a page: no control characters, no marks that turn the line around."""
    return escape_controls(to_text(path.name))


def describe_headline(result: ScanResult) -> str:
    """Return the verdict in words, or why there is none."""
    if result.verdict is None or result.verdict.value is None:
        return f"no verdict: {words.OUTCOMES[result.outcome]}"
    return words.VERDICTS[result.verdict.value]


def _describe_fault(result: ScanResult) -> str:
    fault = result.fault
    return "" if fault is None else f"{fault.reason}: {escape_controls(to_text(fault.message))}"


def _tone(result: ScanResult) -> str:
    value = None if result.verdict is None else result.verdict.value
    tones = {
        VerdictValue.LIKELY_MANIPULATED: "high",
        VerdictValue.INCONCLUSIVE: "middle",
        VerdictValue.NO_MANIPULATION_FOUND: "low",
    }
    return "none" if value is None else tones[value]


def _timeline(result: ScanResult) -> Timeline | None:
    if result.score is None or result.probe is None or result.probe.kind is MediaKind.PICTURE:
        return None
    return build_timeline(result)


def _describe_spans(result: ScanResult) -> list[tuple[str, str]]:
    """Return who and what of every span, as the drawing shows them."""
    timeline = _timeline(result)
    if timeline is None:
        return []
    rows = [("whole picture", describe_span(span)) for span in timeline.excluded]
    for lane in timeline.lanes:
        spans = sorted((*lane.suspicious, *lane.excluded), key=lambda span: span.start_us)
        rows += [(f"face {lane.ordinal}", describe_span(span)) for span in spans]
    return [*rows, *(("whole picture", f"{words.format_clock(cut)} cut") for cut in timeline.cuts_us)]


def _track_reasons(track: TrackScore) -> str:
    return ", ".join(words.EVIDENCE[reason] for reason in track.reasons)


def describe_missing(result: ScanResult) -> list[str]:
    """Return in words why planned frames are missing, one line for each cause."""
    groups = () if result.score is None else result.score.coverage.missing or ()
    return [words.say_missing(group) for group in groups]


def describe_media(result: ScanResult) -> list[tuple[str, str]]:
    """Return the facts of the file as pairs of words."""
    facts = [("file", describe_name(result.path)), ("SHA-256", result.source.sha256 or "not read")]
    if result.source.size_bytes is not None:
        facts.append(("size", format_size(result.source.size_bytes)))
    probe = result.probe
    if probe is None:
        return facts
    turn = probe.rotation
    facts += [
        ("kind", probe.kind.value),
        ("container, codec", f"{probe.container.value}, {probe.codec} ({probe.pixel_format})"),
        ("picture", f"{probe.width} x {probe.height}" + (f", rotated by {turn} degrees" if turn else "")),
    ]
    if probe.kind is MediaKind.VIDEO:
        length = f"{words.format_clock(probe.duration_us)}, {probe.frame_count} frames"
        facts += [("length", length), ("bit rate", f"{probe.bit_rate / 1000:.0f} kbit/s")]
        facts.append(("sound", "yes, not looked at" if probe.has_audio else "no"))
    facts.append(("colour", f"{probe.color_matrix}, {probe.color_range}, {probe.color_transfer}"))
    return [*facts, *(("note", words.WARNINGS[warning]) for warning in find_warnings(result))]


def describe_model(bundle: ModelBundle) -> list[tuple[str, str]]:
    """Return the facts of the model as pairs of words: its card, and what that leaves open."""
    calibration = bundle.calibration
    facts = [
        ("name", bundle.name),
        ("network", f"{bundle.network}, {bundle.input_size} px crops, {bundle.grid} x {bundle.grid} patches"),
        ("weights, SHA-256", bundle.weights_sha256),
    ]
    if calibration is None:
        facts.append(("calibration", "none: scores are no probabilities"))
    else:
        fitted = f"{calibration.method.value} at a prior of {calibration.prior:.1%}"
        facts.append(("calibration", f"{fitted} on {calibration.count:,} inputs: {calibration.fitted_on}"))
    facts += [
        (
            f"false alarms 1 in {round(1 / each.fpr_target)}",
            f"from score {each.threshold:.2f}, on {each.count:,} real inputs"
            + (" (a guess: fewer than 10 reach it)" if each.extrapolated else ""),
        )
        for each in bundle.thresholds
    ]
    card = [(subject.replace("_", " "), text) for subject, text in bundle.card.items()]
    silent = [(subject, words.CARD_SILENCE) for subject in words.find_silent(bundle.card)]
    return [*facts, *card, *silent]


def _describe_run(result: ScanResult) -> list[tuple[str, str]]:
    """Return what made this score of the model's output, as pairs of words."""
    return [
        ("run by", f"{result.model.engine}, {result.model.precision}"),
        ("policy", f"{result.policy.name}, version {result.policy.version}"),
        ("pipeline fingerprint", result.fingerprint),
    ]


def base_rate_table() -> list[BaseRateRow]:
    """Return the share of flagged videos that is forged, by Bayes' rule with ``FOUND``."""
    return [
        BaseRateRow(
            f"1 in {round(1 / forged):,}",
            tuple(_share(FOUND * forged, alarms * (1 - forged)) for alarms in FALSE_ALARMS),
        )
        for forged in BASE_RATES
    ]


def _share(right: float, wrong: float) -> str:
    return f"{100 * right / (right + wrong):.0f} %"
