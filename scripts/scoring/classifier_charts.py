"""A classifier's charts as PNG: its training's curves, and its confusion matrix."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scripts.scoring.charts import COLORS
from scripts.support.files import replacing

if TYPE_CHECKING:
    from scripts.classify.figures import Figures
    from scripts.classify.training import Epoch

_TRAIN, _VAL = COLORS[3], COLORS[1]


def draw_curves(path: Path, history: Sequence["Epoch"], best: "Epoch | None") -> None:
    """Draw accuracy and loss of train and val over the epochs, with the epoch that was kept."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    epochs = [one.epoch for one in history]
    lines = (
        ("accuracy", [one.accuracy for one in history], [one.val_accuracy for one in history]),
        ("loss", [one.loss for one in history], [one.val_loss for one in history]),
    )
    fine_tuning = next((one.epoch for one in history if one.fine_tuning), None)
    for axes, (what, train, val) in zip(figure.subplots(1, 2), lines, strict=True):
        axes.plot(epochs, train, color=_TRAIN, marker=".", label="train (augmented, with dropout)")
        axes.plot(epochs, val, color=_VAL, marker=".", label="val")
        if best is not None:
            axes.axvline(best.epoch, color="0.5", linewidth=1, linestyle=":", label="kept: best macro F1 on val")
        if fine_tuning is not None:
            axes.axvline(fine_tuning - 0.5, color="0.5", linewidth=1, label="fine-tuning begins")
        axes.set(xlabel="epoch", ylabel=what, xlim=(0.5, max(epochs, default=1) + 0.5))
        axes.set_ylim(bottom=0)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylim(0, 1.02)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False, fontsize=9)
    _save(figure, path)


def draw_confusion(path: Path, figures: "Figures", title: str) -> None:
    """Draw the confusion matrix: counts, coloured by the share of the true class."""
    from matplotlib.figure import Figure

    counts = np.array(figures.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [one.name for one in figures.classes]
    figure = Figure(figsize=(1.6 + 1.3 * len(names), 1.2 + 1.1 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Greens", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if shares[row, column] > 0.6 else "black"
        axes.annotate(f"{count}\n{shares[row, column]:.0%}", (column, row), ha="center", va="center", color=color)
    axes.set_xticks(range(len(names)), names, rotation=20, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="classified as", ylabel="truth", title=title)
    _save(figure, path)


def _save(figure, path: Path) -> None:  # type: ignore[no-untyped-def]
    with replacing(path) as beside:
        # Without the name of the library's version the same figures give the same bytes.
        figure.savefig(beside, format="png", dpi=120, metadata={"Software": None})
