#!/usr/bin/env python3
"""Draws the curves of a training run: losses, held-out AUC by method, patch IoU.

plot_curves.py RUN_DIR OUT.png        RUN_DIR holds log.jsonl; needs matplotlib (extra `train`)
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

PALETTE = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#000000",
)  # Okabe and Ito, colour-blind safe


def main(run: Path, out: Path) -> None:
    """Read the log of a run and write one picture with three panels."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    losses = [line for line in lines if "class" in line]
    figures = [line for line in lines if "auc" in line]
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    _curves(left, losses, ("class", "patch", "cells"), "training loss (mean of 50 steps)")
    methods = sorted({key for line in figures for key in line if key.startswith("auc_")})
    _curves(middle, figures, ("auc", *methods), "frame AUC, people not in training")
    _curves(right, figures, ("patch_iou", "pair_accuracy"), "patch IoU and pair accuracy")
    figure.savefig(out, dpi=110)


def _curves(axis: plt.Axes, lines: list[dict[str, float]], names: tuple[str, ...], title: str) -> None:
    for name, colour in zip(names, PALETTE[: len(names)], strict=True):
        points = [(line["step"], line[name]) for line in lines if name in line]
        label = name.removeprefix("auc_").replace("_", " ")
        style = "--" if "poisson" in name else "-"
        axis.plot(
            *zip(*points, strict=True),
            style,
            color=colour,
            label=label,
            marker="." if len(points) < 40 else "",
        )
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("step")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
