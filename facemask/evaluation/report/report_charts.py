"""The charts of an evaluation and of a comparison. `facemask.core.charts` draws them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from facemask.core import charts
from facemask.core.charts import BarGroup, Line
from facemask.core.colours import CLASS_COLOURS, chart_colour
from facemask.evaluation.bootstrap import ConfidenceInterval
from facemask.evaluation.calibration import Calibration
from facemask.evaluation.coco import Matches
from facemask.evaluation.thresholds import OperatingPoint, PrecisionRecallCurve

_MIN_SCORE = 0.01
"""Detections with lower scores are left out of the histogram: an SSD reports about a hundred such per image."""


def precision_recall_chart(curves: Sequence[PrecisionRecallCurve], operating: Sequence[OperatingPoint]) -> str:
    """Precision over recall at IoU 0.5, a line for each class. The dot marks the chosen threshold."""
    lines = []
    for index, (curve, point) in enumerate(zip(curves, operating, strict=True)):
        marked = None if point.precision is None or point.recall is None else (point.recall, point.precision)
        lines.append(_precision_recall_line(curve, curve.name, index, marked))
    return charts.line_chart("precision-recall", lines, x_label="recall", y_label="precision", stepped=True)


def class_precision_recall_chart(class_name: str, curves: Sequence[tuple[str, PrecisionRecallCurve]]) -> str:
    """Precision over recall of one class, a line for each detector. `curves` are (name of the detector, its curve)."""
    lines = [_precision_recall_line(curve, system, index) for index, (system, curve) in enumerate(curves)]
    name = f"precision-recall of {class_name}"
    return charts.line_chart(name, lines, x_label="recall", y_label="precision", stepped=True, size=(4.6, 3.8))


def f1_chart(curves: Sequence[PrecisionRecallCurve], best: Sequence[OperatingPoint | None]) -> str:
    """F1 over the threshold, a line for each class. The dot marks the highest F1.

    Args:
        curves: One for each class.
        best: The operating point with the highest F1 of each class.
    """
    lines = []
    for index, (curve, top) in enumerate(zip(curves, best, strict=True)):
        # Without a hit both are 0, and so is F1.
        f1 = 2 * curve.precision * curve.recall / np.maximum(curve.precision + curve.recall, 1e-12)
        marked = None if top is None or top.f1 is None else (top.threshold, top.f1)
        lines.append(Line(curve.name, curve.thresholds, f1, chart_colour(index), marked))
    return charts.line_chart("F1 over the threshold", lines, x_label="threshold", y_label="F1")


def class_score_histogram(matches: Matches, index: int, threshold: float) -> str:
    """A histogram of the scores of one class; `index` is its number, from 0, which selects the colour."""
    counted = ~matches.ignored[0] & (matches.scores >= _MIN_SCORE)
    right = matches.scores[counted & matches.hits[0]]
    wrong = matches.scores[counted & ~matches.hits[0]]
    return charts.score_histogram(f"scores of {matches.name}", right, wrong, threshold, chart_colour(index))


def calibration_chart(calibration: Calibration) -> str:
    """The share of right detections over the score."""
    bins = [one for one in calibration.bins if one.score is not None and one.precision is not None]
    return charts.reliability_chart(
        "reliability",
        [one.low for one in bins],
        [one.score or 0 for one in bins],
        [one.precision or 0 for one in bins],
        [one.detections for one in bins],
    )


def face_size_chart(coco_metrics: dict[str, Any]) -> str:
    """AP at IoU 0.5 of each class and of all, over the size of the face, from the `figures` of a metrics.json."""
    groups = [
        BarGroup(one["name"], [size["ap50"] for size in one["sizes"]], chart_colour(index))
        for index, one in enumerate(coco_metrics["classes"])
    ]
    sizes = coco_metrics["sizes"]
    groups.append(BarGroup("all classes", [size["ap50"] for size in sizes], CLASS_COLOURS[-1].chart))
    limits = ("under 32\N{MULTIPLICATION SIGN}32 px", "to 96\N{MULTIPLICATION SIGN}96 px", "larger")
    ticks = [f"{size['size']}: {limit}\n{size['boxes']} faces" for size, limit in zip(sizes, limits, strict=True)]
    return charts.grouped_bars(
        "AP by face size", groups, ticks, y_label="AP@.5", value="{:.2f}".format, missing="no\nfaces", top=1.12
    )


def intervals_chart(name: str, rows: Sequence[tuple[str, ConfidenceInterval | None]], *, first_colour: int = 0) -> str:
    """The intervals of systems, or, with `first_colour` 1, of their differences from the first system.

    Args:
        name: The name of the x axis.
        rows: (name of the system, its interval).
        first_colour: The number of the first row's colour. A system has the same colour on the whole page.
    """
    drawn = []
    for index, (system, interval) in enumerate(rows, start=first_colour):
        ends = None
        if interval is not None and None not in (interval.low, interval.estimate, interval.high):
            ends = (float(interval.low or 0), float(interval.estimate or 0), float(interval.high or 0))
        drawn.append((system, ends, chart_colour(index)))
    return charts.interval_chart(name, drawn, name, is_difference=first_colour > 0)


def _precision_recall_line(
    curve: PrecisionRecallCurve, label: str, index: int, marked: tuple[float, float] | None = None
) -> Line:
    # From recall 0 on, at the first detection's precision.
    recall = np.concatenate([np.zeros(min(1, curve.recall.size)), curve.recall])
    precision = np.concatenate([curve.precision[:1], curve.precision])
    return Line(label, recall, precision, chart_colour(index), marked)
