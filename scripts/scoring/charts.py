"""The charts of the reports as SVG, to stand inside an HTML page in its own colours, light or dark."""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scripts.scoring.calibration import Calibration
from scripts.scoring.coco import Matches
from scripts.scoring.thresholds import Curve, Operating
from scripts.scoring.training_curves import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ("#0E9F74", "#D9600A", "#B8930A", "#3D8FD1", "#B765A0", "#7C6FD9", "#5B8C2A", "#8A8F98")
"""One colour a class, legible on white and on near black, and told apart with every kind of colour vision.

After Okabe & Ito, Color Universal Design, 2008, https://jfly.uni-koeln.de/color/, darkened where white needs it; the
order is that of the drawn boxes: green is worn, vermilion is not.
"""

AP = "DetectionBoxes_Precision/"
"""What the API calls its COCO figures in TensorBoard."""

# Stand-ins that become CSS: text takes the page's colour, lines its variable.
_INK, _LINE = "#010203", "#040506"
_STYLE = {
    "font.size": 9.5,
    "grid.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
}


def color_of(index: int) -> str:
    """The colour of the class or run at this place, from 0."""
    return COLORS[index % len(COLORS)]


def precision_recall(curves: Sequence[Curve], operating: Sequence[Operating]) -> str:
    """Precision over recall at IoU 0.5, a line a class; the dot is the chosen threshold."""

    def draw(axes: "Axes") -> None:
        for index, (curve, point) in enumerate(zip(curves, operating, strict=True)):
            if curve.recall.size:
                recall = np.concatenate([[0], curve.recall])
                precision = np.concatenate([curve.precision[:1], curve.precision])
                axes.step(recall, precision, where="post", color=color_of(index), label=curve.name, linewidth=1.8)
                if point.precision is not None:
                    axes.plot(point.recall, point.precision, "o", color=color_of(index), markersize=7)
        _unit(axes, "recall", "precision")

    return _svg("precision-recall", draw, legend=any(curve.recall.size for curve in curves))


def f1_over_threshold(curves: Sequence[Curve], boxes: Sequence[int], best: Sequence[Operating | None]) -> str:
    """F1 over the threshold, a line a class; the dot is where it is highest."""

    def draw(axes: "Axes") -> None:
        for index, (curve, count, top) in enumerate(zip(curves, boxes, best, strict=True)):
            if curve.recall.size:
                hits = curve.recall * count
                detected = hits / np.maximum(curve.precision, 1e-12)
                seen = np.where(curve.precision > 0, detected, 0)
                f1 = np.where(hits > 0, 2 * hits / np.maximum(seen + count, 1e-12), 0)
                axes.plot(curve.thresholds, f1, color=color_of(index), label=curve.name, linewidth=1.8)
                if top is not None:
                    axes.plot(top.threshold, top.f1, "o", color=color_of(index), markersize=7)
        _unit(axes, "threshold", "F1")

    return _svg("f1", draw, legend=any(curve.recall.size for curve in curves))


def score_histogram(matches: Matches, index: int, threshold: float) -> str:
    """How many detections of a class have which score, right ones filled and false alarms outlined, on a log axis."""

    def draw(axes: "Axes") -> None:
        counts = ~matches.ignored[0] & (matches.scores >= 0.01)
        right = matches.scores[counts & matches.hits[0]]
        wrong = matches.scores[counts & ~matches.hits[0]]
        bins = np.linspace(0, 1, 26)
        axes.hist(right, bins, color=color_of(index), alpha=0.75, label="right")
        axes.hist(wrong, bins, histtype="step", color=_INK, linewidth=1.3, label="false alarm")
        axes.axvline(threshold, color=_INK, linewidth=1, linestyle=":")
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(bottom=0)
        axes.set_xlim(0, 1)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("score")
        axes.set_ylabel("detections")

    return _svg(f"scores-{index}", draw, size=(4.2, 3), legend=True)


def reliability(calibration: Calibration) -> str:
    """The share of right detections over their score; on the diagonal the scores are honest."""

    def draw(axes: "Axes") -> None:
        bins = [one for one in calibration.bins if one.detections]
        axes.plot([0, 1], [0, 1], color=_INK, linewidth=1, linestyle="--", alpha=0.6)
        width = 0.1 * 0.88
        axes.bar([one.low + 0.05 for one in bins], [one.precision for one in bins], width, color=COLORS[3], alpha=0.45)
        axes.plot([one.score for one in bins], [one.precision for one in bins], "o-", color=COLORS[3], linewidth=1.8)
        for one in bins:
            axes.annotate(f"{one.detections:,}", (one.low + 0.05, 1.04), ha="center", fontsize=7.5, color=_INK)
        _unit(axes, "score", "share of right detections")
        axes.set_ylim(0, 1.1)

    return _svg("reliability", draw)


def by_size(figures: dict[str, Any]) -> str:
    """AP at IoU 0.5 of each class and of all, over the size of the face."""
    groups = [*figures["classes"], {"name": "all classes", "sizes": figures["sizes"]}]

    def draw(axes: "Axes") -> None:
        width = 0.8 / len(groups)
        for place, group in enumerate(groups):
            color = color_of(place) if place < len(groups) - 1 else COLORS[-1]
            for at, size in enumerate(group["sizes"]):
                x = at + (place - (len(groups) - 1) / 2) * width
                label = group["name"] if at == 0 else None
                axes.bar(x, size["ap50"] or 0, width * 0.9, color=color, alpha=0.85, label=label)
                text = "no\nfaces" if size["ap50"] is None else f"{size['ap50']:.2f}"
                axes.annotate(text, (x, (size["ap50"] or 0) + 0.015), ha="center", fontsize=7.5, color=_INK)
        sizes = figures["sizes"]
        limits = ("under 32\N{MULTIPLICATION SIGN}32 px", "to 96\N{MULTIPLICATION SIGN}96 px", "larger")
        axes.set_xticks(
            range(len(sizes)),
            [f"{size['size']}: {limit}\n{size['boxes']} faces" for size, limit in zip(sizes, limits, strict=True)],
        )
        axes.set_ylim(0, 1.12)
        axes.set_ylabel("AP@.5")
        axes.grid(axis="x", visible=False)

    return _svg("sizes", draw, legend=True)


def class_balance(names: Sequence[str], boxes: Sequence[int]) -> str:
    """Faces of each class."""

    def draw(axes: "Axes") -> None:
        places = range(len(names))
        axes.barh(places, boxes, color=[color_of(index) for index in places], alpha=0.85, height=0.62)
        total = max(sum(boxes), 1)
        for place, count in zip(places, boxes, strict=True):
            text = f"{count:,} ({100 * count / total:.0f}%)"
            offset = {"xytext": (5, 0), "textcoords": "offset points"}
            axes.annotate(text, (count, place), va="center", fontsize=9, color=_INK, **offset)
        axes.set_yticks(places, names)
        axes.invert_yaxis()
        axes.set_xlim(0, max(1, *boxes) * 1.3)
        axes.set_xlabel("faces")
        axes.grid(axis="y", visible=False)

    return _svg("balance", draw, size=(5.2, 0.8 + 0.5 * len(names)))


@dataclass(frozen=True)
class Panel:
    """One chart of a training run: its title, what draws it, and the number of its lines."""

    title: str
    draw: "Callable[[Axes], None]"
    lines: int


def training_panels(series: dict[str, Series]) -> list[Panel]:
    """What TensorBoard was told during training: losses, learning rate and validation, each where there is any."""
    groups = (
        ("Loss", lambda tag: tag.startswith("Loss/"), "Loss/"),
        ("Learning rate", lambda tag: tag == "learning_rate", ""),
        (
            "Validation",
            lambda tag: tag.startswith(AP) and "(" not in tag,
            AP,
        ),
    )
    panels = []
    for title, belongs, prefix in groups:
        lines = [one for tag, one in series.items() if belongs(tag) and np.isfinite(one.values).any()]
        if not lines:
            continue

        def draw(axes: "Axes", lines: list[Series] = lines, prefix: str = prefix, title: str = title) -> None:
            for index, line in enumerate(lines):
                label = line.tag.removeprefix(prefix).replace("_", " ")
                color = color_of((3, 0, 1, 4, 5)[index % 5])
                marker = "o" if len(line.steps) < 15 else None
                smooth = _smoothed(line.values) if title == "Loss" else line.values
                if title == "Loss":
                    axes.plot(line.steps, line.values, color=color, linewidth=0.7, alpha=0.3)
                axes.plot(line.steps, smooth, color=color, linewidth=1.8, label=label, marker=marker, markersize=3)
            axes.set_xlabel("step")
            axes.set_ylim(bottom=0)
            axes.set_xlim(left=0)

        panels.append(Panel(title, draw, len(lines)))
    return panels


def training(series: dict[str, Series]) -> list[tuple[str, str]]:
    """The panels of a training run, each with its title, as SVG."""
    return [
        (panel.title, _svg(f"training-{panel.title}", panel.draw, size=(5.4, 3.2), legend=panel.lines > 1))
        for panel in training_panels(series)
    ]


def training_png(series: dict[str, Series], title: str) -> bytes:
    """The panels of a training run beside each other, as a PNG file on white."""
    import matplotlib
    from matplotlib.figure import Figure

    panels = training_panels(series)
    with matplotlib.rc_context(_STYLE | {"text.color": "black", "axes.edgecolor": "#999999", "grid.color": "#DDDDDD"}):
        figure = Figure(figsize=(5.0 * len(panels), 3.8), layout="constrained", facecolor="white")
        figure.suptitle(title, fontsize=11)
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            panel.draw(axes)
            axes.set_title(panel.title, fontsize=10)
            if panel.lines > 1:
                axes.legend(frameon=False, fontsize=8)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()


def intervals(rows: Sequence[tuple[str, Any, str]], label: str, zero: bool = False) -> str:
    """Dots with their confidence intervals, one a row: (name, bootstrap.Interval, colour).

    Args:
        rows: From top to bottom; one that could not be measured stays empty.
        label: Of the axis.
        zero: Draw the line of no difference.
    """

    def draw(axes: "Axes") -> None:
        if zero:
            axes.axvline(0, color=_INK, linewidth=1)
        for place, (_, interval, color) in enumerate(rows):
            if interval is None or interval.estimate is None:
                axes.annotate("nothing to measure", (0, place), va="center", fontsize=8.5, color=_INK)
                continue
            axes.plot([interval.low, interval.high], [place, place], color=color, linewidth=2.6, solid_capstyle="round")
            axes.plot(interval.estimate, place, "o", color=color, markersize=8)
            sign = "+" if zero else ""
            text = f"{interval.estimate:{sign}.3f}"
            axes.annotate(text, (interval.estimate, place - 0.22), ha="center", fontsize=8.5, color=_INK)
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        if not zero:
            axes.set_xlim(0, 1)
        axes.set_xlabel(label)
        axes.grid(axis="y", visible=False)

    return _svg(f"intervals-{label}-{len(rows)}", draw, size=(5.4, 1.0 + 0.5 * len(rows)))


def overlaid(name: str, curves: Sequence[tuple[str, Curve]]) -> str:
    """Precision over recall of one class, a line a detector."""

    def draw(axes: "Axes") -> None:
        for index, (system, curve) in enumerate(curves):
            if curve.recall.size:
                recall = np.concatenate([[0], curve.recall])
                precision = np.concatenate([curve.precision[:1], curve.precision])
                axes.step(recall, precision, where="post", color=color_of(index), label=system, linewidth=1.8)
        _unit(axes, "recall", "precision")

    return _svg(f"overlaid-{name}", draw, size=(4.6, 3.8), legend=any(curve.recall.size for _, curve in curves))


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Running mean over a thirtieth of the run, centred, so that it does not lag behind."""
    window = np.ones(2 * (len(values) // 60) + 1)
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


def _unit(axes: "Axes", x: str, y: str) -> None:
    axes.set(xlim=(0, 1.005), ylim=(0, 1.02), xlabel=x, ylabel=y)


def _svg(
    name: str, draw: Callable[["Axes"], None], size: tuple[float, float] = (5.4, 4.2), legend: bool = False
) -> str:
    """Draw on new axes and give the `<svg>`, its text as text, its ids its own among the page's charts."""
    import matplotlib
    from matplotlib.figure import Figure

    style = _STYLE | {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "axes.edgecolor": _LINE,
        "grid.color": _LINE,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        if legend:
            figure.legend(loc="outside upper left", ncols=4, frameon=False, fontsize=8.5, handlelength=1.4)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # Of the ids only those stay that something in the chart points to; the others would stand in every chart.
    text = re.sub(r' id="[A-Za-z][A-Za-z0-9.]*_[0-9]+"', "", text)
    text = text.replace("'DejaVu Sans', ", "").replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)
    return text.replace(_INK, "currentColor").replace(_LINE, "var(--line)")
