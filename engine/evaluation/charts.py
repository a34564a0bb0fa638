"""The curves of the report as SVG: receiver operating characteristic, reliability, distribution of scores.

Colours are blue for real and orange for manipulated (Okabe and Ito), and never carry a meaning alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from engine.arrays import F64, I64
from engine.calibrate import clopper_pearson_upper
from engine.evaluation.metrics import Roc

REAL_COLOUR, FORGED_COLOUR, LINE_COLOUR = "#0072b2", "#d55e00", "#222"
SIDE, LEFT, TOP, RIGHT, BOTTOM = 260, 56, 10, 12, 40
RELIABILITY_BINS = 10
LEAST_PER_BIN = 8
HISTOGRAM_BINS = 20
NICE_TOPS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Ends of the histogram's y axis whose quarters are short numbers."""


def shape(tag: str, content: str = "", /, **attributes: str | float) -> str:
    """Return one SVG element; ``class_`` and ``stroke_width`` become ``class`` and ``stroke-width``."""
    parts = [f' {name.strip("_").replace("_", "-")}="{escape(value)}"' for name, value in attributes.items()]
    return f"<{tag}{''.join(parts)}>{escape(content)}</{tag}>"


@dataclass(frozen=True)
class Axes:
    """A square plot whose x axis runs from 0 to 1, its y axis from 0 to ``y_most``."""

    x_label: str
    y_label: str
    title: str  # read aloud in place of the picture
    y_most: float = 1.0

    def x(self, value: float) -> float:
        """Return where a value lies across, in units of the picture."""
        return round(LEFT + SIDE * value, 2)

    def y(self, value: float) -> float:
        """Return where a value lies from the top."""
        return round(TOP + SIDE * (1 - value / self.y_most), 2)

    def line(self, start: tuple[float, float], end: tuple[float, float], **style: str | float) -> str:
        """Return a line between two points given as values."""
        ends = {"x1": self.x(start[0]), "y1": self.y(start[1]), "x2": self.x(end[0]), "y2": self.y(end[1])}
        return shape("line", **ends, **style)

    def curve(self, xs: Iterable[float], ys: Iterable[float], **style: str | float) -> str:
        """Return the line through points given as values."""
        pairs = zip(xs, ys, strict=True)
        points = " ".join(f"{self.x(float(a))},{self.y(float(b))}" for a, b in pairs)
        return shape("polyline", points=points, **({"fill": "none"} | style))

    def draw(self, body: Sequence[str]) -> Markup:
        """Return the finished picture around the drawn shapes."""
        width, height = LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM
        parts = [shape("rect", x=LEFT, y=TOP, width=SIDE, height=SIDE, class_="frame")]
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            value = share * self.y_most
            parts += [
                self.line((share, 0), (share, self.y_most), class_="grid"),
                self.line((0, value), (1, value), class_="grid"),
                shape("text", f"{share:g}", x=self.x(share), y=TOP + SIDE + 15, class_="tick middle"),
                shape("text", f"{value:.3g}", x=LEFT - 6, y=self.y(value) + 4, class_="tick end"),
            ]
        turned = f"translate(12 {TOP + SIDE / 2}) rotate(-90)"
        parts += [
            *body,
            shape("text", self.x_label, x=LEFT + SIDE / 2, y=height - 6, class_="axis middle"),
            shape("text", self.y_label, transform=turned, class_="axis middle"),
        ]
        opening = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(self.title)}">'
        return Markup(opening + "".join(parts) + "</svg>")  # noqa: S704 - numbers and escaped labels


def draw_roc(curve: Roc, auc_text: str) -> Markup:
    """Draw the curve with the diagonal of guessing."""
    axes = Axes("false positive rate", "true positive rate", f"ROC curve, area {auc_text}")
    return axes.draw(
        [
            axes.line((0, 0), (1, 1), class_="guess"),
            axes.curve(curve.false_positive, curve.true_positive, stroke=LINE_COLOUR, stroke_width=2),
            shape("text", f"AUC {auc_text}", x=axes.x(0.97), y=axes.y(0.05), class_="note end"),
        ]
    )


def draw_reliability(score: F64, label: I64) -> Markup:
    """Draw the share of manipulated videos over the score, in bins of equal mass with 90 % intervals."""
    axes = Axes("score", "share found manipulated", "Reliability: share of manipulated videos by score")
    count = max(1, min(RELIABILITY_BINS, len(score) // LEAST_PER_BIN))
    body = [axes.line((0, 0), (1, 1), class_="guess")]
    means: list[float] = []
    shares: list[float] = []
    for part in np.array_split(np.argsort(score, kind="stable"), count):
        hits = int(label[part].sum())
        mean, share = float(score[part].mean()), hits / len(part)
        low, high = (
            1 - clopper_pearson_upper(len(part) - hits, len(part)),
            clopper_pearson_upper(hits, len(part)),
        )
        means.append(mean)
        shares.append(share)
        body.append(axes.line((mean, low), (mean, high), stroke=LINE_COLOUR))
        body.append(shape("circle", cx=axes.x(mean), cy=axes.y(share), r=3.5, fill=LINE_COLOUR))
    return axes.draw([*body, axes.curve(means, shares, stroke=LINE_COLOUR)])


def draw_histogram(score: F64, label: I64) -> Markup:
    """Draw how the scores of both kinds are spread: the share of each kind by score."""
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    counts = [np.histogram(score[label == kind], edges)[0] for kind in (0, 1)]
    shares = [held / max(1, held.sum()) for held in counts]
    highest = float(max(part.max() for part in shares))
    most = next(top for top in NICE_TOPS if highest <= top)
    axes = Axes("score", "share of the kind", "Scores of real and of manipulated files", y_most=most)
    body: list[str] = []
    looks = ((REAL_COLOUR, "", "real"), (FORGED_COLOUR, "6 3", "manipulated"))
    for row, (part, (colour, dash, name)) in enumerate(zip(shares, looks, strict=True)):
        xs, ys = np.repeat(edges, 2), np.concatenate([[0.0], np.repeat(part, 2), [0.0]])
        style: dict[str, str | float] = {"stroke": colour, "stroke_width": 2, "stroke_dasharray": dash}
        y = most * (0.94 - 0.06 * row)
        body += [
            axes.curve(xs, ys, fill=colour, fill_opacity=0.18, **style),
            axes.line((0.36, y), (0.46, y), **style),
            shape("text", name, x=axes.x(0.49), y=axes.y(y) + 4, class_="note"),
        ]
    return axes.draw(body)
