"""Charts of a classifier's training: accuracy and loss over the epochs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from facemask.core.charts import NEUTRAL, Line, Panel
from facemask.core.colours import chart_colour

if TYPE_CHECKING:
    from facemask.classifier.classifier_training import Epoch


def history_panels(history: Sequence["Epoch"], best: "Epoch | None") -> list[Panel]:
    """The panels for accuracy and loss on train, and on val if it has faces.

    They mark the epoch that is kept and the start of fine-tuning.

    Example:
        >>> charts.panels_png(history_panels(outcome.history, outcome.best))
    """
    epochs = np.array([one.epoch for one in history], float)
    has_val = all(one.val_loss is not None for one in history)
    kept = "kept: best macro F1 on val" if has_val else "kept: the last"
    marks = [] if best is None else [(float(best.epoch), kept)]
    fine_tuning = next((one.epoch for one in history if one.fine_tuning), None)
    if fine_tuning is not None:
        marks.append((fine_tuning - 0.5, "fine-tuning begins"))

    def panel(title: str, train: list[float], val: list[float | None], top: float | None) -> Panel:
        lines = [Line("train (augmented, with dropout)", epochs, np.array(train), NEUTRAL)]
        if has_val:
            lines.append(Line("val", epochs, np.array(val, float), chart_colour(1)))
        return Panel(title, tuple(lines), x_label="epoch", marks=tuple(marks), top=top)

    return [
        panel("accuracy", [one.accuracy for one in history], [one.val_accuracy for one in history], 1.02),
        panel("loss", [one.loss for one in history], [one.val_loss for one in history], None),
    ]
