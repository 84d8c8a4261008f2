"""Draw the charts of all pages and picture files, as SVG for an HTML page or as a PNG file.

An SVG uses the page's text colour (`currentColor`) for text and the page's CSS variable `--line` for lines, so the same
chart fits a light and a dark page. The same numbers give the same bytes.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facemask.core.colours import CLASS_COLOURS, chart_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEUTRAL = CLASS_COLOURS[3].chart
"""The colour of a chart without classes."""

# Placeholder colours of text and lines, which `render_svg` replaces with the page's.
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
_PNG_STYLE = _STYLE | {"axes.edgecolor": "#999999", "grid.color": "#DDDDDD"}
_MANY_POINTS = 15
"""A line with fewer points has a marker at each of them."""


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        label: Its name in the legend; empty for no entry.
        x: (N,) float.
        y: (N,) float.
        colour: `#RRGGBB`.
        marked: The point (x, y) to mark with a dot, or None.
    """

    label: str
    x: np.ndarray
    y: np.ndarray
    colour: str
    marked: tuple[float, float] | None = None


@dataclass(frozen=True)
class BarGroup:
    """One series of a grouped bar chart: `heights` has a height for each tick, or None for no bar."""

    label: str
    heights: Sequence[float | None]
    colour: str


@dataclass(frozen=True)
class Panel:
    """One chart among several of a training run.

    Attributes:
        title: The title above the chart.
        lines: The lines; x is the step or the epoch.
        smoothed: Draw the running mean in front of the values.
        x_label: The name of the x axis.
        marks: (x, label) of vertical lines.
        top: The upper end of the y axis; None for the range of the values.
    """

    title: str
    lines: tuple[Line, ...]
    smoothed: bool = False
    x_label: str = "step"
    marks: tuple[tuple[float, str], ...] = ()
    top: float | None = None


def line_chart(
    name: str,
    lines: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    stepped: bool = False,
    y_limit: float | None = 1.02,
    x_limit: float | None = 1.005,
    mark: tuple[float, str] | None = None,
    size: tuple[float, float] = (5.4, 4.2),
) -> str:
    """Draw lines over a common x axis as SVG.

    Args:
        name: The name of the chart, for screen readers, unique on its page.
        lines: The lines. A line without points is left out.
        x_label: The name of the x axis.
        y_label: The name of the y axis.
        stepped: Draw each value as a horizontal line up to the next x.
        y_limit: The upper end of the y axis, which begins at 0; None for the range of the values.
        x_limit: The right end of the x axis, which then begins at 0; None for the range of the values.
        mark: (x, label) of a vertical line.
        size: Width and height in inches.

    Example:
        >>> line_chart("f1", [Line("face", np.array([0.1, 0.9]), np.array([0.4, 0.8]), "#0E9F74")],
        ...            x_label="threshold", y_label="F1")[:4]
        '<svg'
    """

    def draw(axes: "Axes") -> None:
        for line in lines:
            if not line.x.size:
                continue
            marker = "o" if x_limit is None and len(line.x) < _MANY_POINTS else None
            style = {"color": line.colour, "linewidth": 1.8, "label": escape_math(line.label) or None}
            if stepped:
                axes.step(line.x, line.y, where="post", **style)
            else:
                axes.plot(line.x, line.y, marker=marker, **style)
            if line.marked is not None:
                axes.plot(*line.marked, "o", color=line.colour, markersize=7)
        if mark is not None:
            axes.axvline(mark[0], color=_INK, linewidth=1, linestyle="--", label=mark[1])
        if x_limit is not None:
            axes.set_xlim(0, x_limit)
        axes.set(ylim=(0, y_limit), xlabel=x_label, ylabel=y_label)

    named = any(line.label and line.x.size for line in lines) or mark is not None
    return render_svg(name, draw, size, legend=named)


def score_histogram(name: str, right: np.ndarray, wrong: np.ndarray, threshold: float, colour: str) -> str:
    """Draw a histogram of scores with a logarithmic y axis as SVG: right detections filled, false alarms outlined.

    Args:
        name: The name of the chart, for screen readers, unique on its page.
        right: (N,) scores of the right detections.
        wrong: (M,) scores of the false alarms.
        threshold: The score at which a dotted line is drawn.
        colour: The colour of the right detections.
    """

    def draw(axes: "Axes") -> None:
        bins = np.linspace(0, 1, 26)
        axes.hist(right, bins, color=colour, alpha=0.75, label="right")
        axes.hist(wrong, bins, histtype="step", color=_INK, linewidth=1.3, label="false alarm")
        axes.axvline(threshold, color=_INK, linewidth=1, linestyle=":")
        axes.set_yscale("symlog", linthresh=1)
        axes.set(ylim=(0, None), xlim=(0, 1), xlabel="score", ylabel="detections")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")

    return render_svg(name, draw, (4.2, 3), legend=True)


def stacked_histogram(
    name: str,
    parts: Sequence[tuple[str, Sequence[float], str]],
    bins: Sequence[float],
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    log_y: bool = False,
    mark: tuple[float, str] | None = None,
) -> str:
    """Draw a stacked histogram as SVG.

    Args:
        name: The name of the chart, for screen readers, unique on its page.
        parts: (label, values, colour) of each part. A part with an empty label is not in the legend.
        bins: The edges of the bins, in ascending order.
        x_label: The name of the x axis.
        y_label: The name of the y axis.
        log_x: A logarithmic x axis with ticks at the powers of two.
        log_y: A logarithmic y axis.
        mark: (x, label) of a vertical line.
    """

    from matplotlib.ticker import LogFormatter

    def draw(axes: "Axes") -> None:
        labels = [escape_math(label) for label, _, _ in parts]
        values, colours = [list(part[1]) for part in parts], [part[2] for part in parts]
        axes.hist(values, bins=list(bins), stacked=True, color=colours, label=labels)
        if mark is not None:
            axes.axvline(mark[0], color=_INK, linestyle="--", linewidth=1, label=mark[1])
        if log_x:
            axes.set_xscale("log")
            ticks = [2**power for power in range(1, 12) if bins[0] <= 2**power <= bins[-1]]
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            axes.minorticks_off()
        if log_y:
            axes.set_yscale("log")
            axes.set_ylim(bottom=0.8)
            axes.yaxis.set_major_formatter(LogFormatter())
            axes.yaxis.set_minor_formatter(LogFormatter())
        axes.set(xlabel=x_label, ylabel=y_label)

    return render_svg(name, draw, (6.0, 3.4), legend=any(label for label, _, _ in parts))


def reliability_chart(
    name: str, lows: Sequence[float], scores: Sequence[float], precisions: Sequence[float], counts: Sequence[int]
) -> str:
    """Draw the share of right detections over the score as SVG, in bins of 0.1. Calibrated scores lie on the diagonal.

    Args:
        name: The name of the chart, for screen readers, unique on its page.
        lows: The lower edge of each bin that has detections.
        scores: The mean score of each bin.
        precisions: The share of right detections of each bin.
        counts: The number of detections of each bin.
    """

    def draw(axes: "Axes") -> None:
        middles = [low + 0.05 for low in lows]
        axes.plot([0, 1], [0, 1], color=_INK, linewidth=1, linestyle="--", alpha=0.6)
        axes.bar(middles, precisions, 0.088, color=NEUTRAL, alpha=0.45)
        axes.plot(scores, precisions, "o-", color=NEUTRAL, linewidth=1.8)
        for middle, count in zip(middles, counts, strict=True):
            axes.annotate(f"{count:,}", (middle, 1.04), ha="center", fontsize=7.5, color=_INK)
        axes.set(xlim=(0, 1.005), ylim=(0, 1.1), xlabel="score", ylabel="share of right detections")

    return render_svg(name, draw)


def grouped_bars(
    name: str,
    groups: Sequence[BarGroup],
    ticks: Sequence[str],
    *,
    y_label: str,
    value: Callable[[float], str],
    missing: str = "",
    top: float | None = None,
    size: tuple[float, float] = (5.4, 4.2),
) -> str:
    """Draw a grouped bar chart as SVG: at each tick a bar of each group, with its value above it.

    Args:
        name: The name of the chart, for screen readers, unique on its page.
        groups: The series, each with a height for every tick.
        ticks: The labels below the x axis.
        y_label: The name of the y axis.
        value: Formats a height.
        missing: The text in place of a bar whose height is None.
        top: The upper end of the y axis; None for the range of the heights.
        size: Width and height in inches.
    """

    def draw(axes: "Axes") -> None:
        width = 0.8 / len(groups)
        for number, group in enumerate(groups):
            places = np.arange(len(ticks)) + (number - (len(groups) - 1) / 2) * width
            heights = [height or 0 for height in group.heights]
            bars = axes.bar(
                places, heights, width * 0.9, color=group.colour, alpha=0.85, label=escape_math(group.label)
            )
            written = [missing if height is None else value(height) for height in group.heights]
            axes.bar_label(bars, written, fontsize=7.5, color=_INK, padding=1)
        axes.set_xticks(range(len(ticks)), [escape_math(tick) for tick in ticks])
        axes.set_ylim(0, top)
        axes.set_ylabel(y_label)
        axes.grid(axis="x", visible=False)

    return render_svg(name, draw, size, legend=True)


def count_bars(name: str, labels: Sequence[str], counts: Sequence[int], x_label: str) -> str:
    """Draw a horizontal bar for each class, with its count and its share of the total, as SVG."""

    def draw(axes: "Axes") -> None:
        places = range(len(labels))
        axes.barh(places, counts, color=[chart_colour(index) for index in places], alpha=0.85, height=0.62)
        total = max(sum(counts), 1)
        for place, count in zip(places, counts, strict=True):
            text = f"{count:,} ({100 * count / total:.0f}%)"
            offset = {"xytext": (5, 0), "textcoords": "offset points"}
            axes.annotate(text, (count, place), va="center", fontsize=9, color=_INK, **offset)
        axes.set_yticks(places, [escape_math(label) for label in labels])
        axes.invert_yaxis()
        axes.set(xlim=(0, max(1, *counts) * 1.3), xlabel=x_label)
        axes.grid(axis="y", visible=False)

    return render_svg(name, draw, (5.2, 0.8 + 0.5 * len(labels)))


def interval_chart(
    name: str,
    rows: Sequence[tuple[str, tuple[float, float, float] | None, str]],
    x_label: str,
    *,
    is_difference: bool = False,
) -> str:
    """Draw values with their confidence intervals, one per row, as SVG.

    Args:
        name: The name of the chart, for screen readers, unique on its page.
        rows: (label, (low, estimate, high), colour) from top to bottom. An interval of None is drawn as a note.
        x_label: The name of the x axis.
        is_difference: Draw a line at 0 and write values with their sign; otherwise the axis goes from 0 to 1.
    """

    def draw(axes: "Axes") -> None:
        if is_difference:
            axes.axvline(0, color=_INK, linewidth=1)
        for place, (_, interval, colour) in enumerate(rows):
            if interval is None:
                axes.annotate("nothing to measure", (0, place), va="center", fontsize=8.5, color=_INK)
                continue
            low, estimate, high = interval
            axes.plot([low, high], [place, place], color=colour, linewidth=2.6, solid_capstyle="round")
            axes.plot(estimate, place, "o", color=colour, markersize=8)
            text = f"{estimate:{'+' if is_difference else ''}.3f}"
            axes.annotate(text, (estimate, place - 0.22), ha="center", fontsize=8.5, color=_INK)
        axes.set_yticks(range(len(rows)), [escape_math(label) for label, _, _ in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        if not is_difference:
            axes.set_xlim(0, 1)
        axes.set_xlabel(x_label)
        axes.grid(axis="y", visible=False)

    return render_svg(name, draw, (5.4, 1.0 + 0.5 * len(rows)))


def panel_svgs(panels: Sequence[Panel]) -> list[tuple[str, str]]:
    """Draw each panel as SVG. Returns (title, SVG) of each."""
    return [(panel.title, _panel_svg(panel)) for panel in panels]


def panels_png(panels: Sequence[Panel], title: str = "") -> bytes:
    """Draw the panels side by side, as the bytes of a PNG file with a white background."""

    def draw(figure: "Figure") -> None:
        figure.suptitle(title, fontsize=11)
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _draw_panel(axes, panel)
            axes.set_title(panel.title, fontsize=10)
            if len(panel.lines) > 1 or panel.marks:
                axes.legend(frameon=False, fontsize=8)

    return _render_png(draw, (5.0 * len(panels), 3.8))


def confusion_png(counts: np.ndarray, labels: Sequence[str], title: str) -> bytes:
    """Draw a confusion matrix as the bytes of a PNG file. Cells are coloured by their share of the row.

    Args:
        counts: (K, K) int. Rows are the ground truth, columns the predicted classes.
        labels: The K classes.
        title: The title above the matrix.
    """

    def draw(figure: "Figure") -> None:
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="Greens", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.6 else "black"
            axes.annotate(f"{count}\n{shares[row, column]:.0%}", (column, row), ha="center", va="center", color=colour)
        names = [escape_math(label) for label in labels]
        axes.set_xticks(range(len(names)), names, rotation=20, ha="right")
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel="classified as", ylabel="ground truth", title=title)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)

    return _render_png(draw, (1.6 + 1.3 * len(labels), 1.2 + 1.1 * len(labels)))


def escape_math(text: str, longest: int = 40) -> str:
    """Escape a text for matplotlib, which reads `$...$` as a formula, and shorten it to `longest` characters."""
    return (text if len(text) <= longest else text[: longest - 1] + "…").replace("$", r"\$")


def render_svg(
    name: str, draw: Callable[["Axes"], None], size: tuple[float, float] = (5.4, 4.2), legend: bool = False
) -> str:
    """Draw on new axes and return the `<svg>` element. Text stays text, and no other chart of the page has its ids.

    Args:
        name: The name of the chart, unique on its page. It is the label for screen readers and the seed of the ids.
        draw: Called with the axes.
        size: Width and height in inches. The page scales the chart.
        legend: Draw a legend above the chart.
    """
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
        draw(figure.add_subplot())
        if legend:
            _add_legend(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # Remove ids that are not referenced, because they would be the same in every chart.
    text = re.sub(r' id="[A-Za-z][A-Za-z0-9.]*_[0-9]+"', "", text)
    label = re.sub(r'[<>&"]', "", name)
    text = text.replace("'DejaVu Sans', ", "").replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return text.replace(_INK, "currentColor").replace(_LINE, "var(--line)")


def _add_legend(figure: "Figure") -> None:
    """Draw a legend above the chart with as many columns as fit. matplotlib's own would extend past the figure."""
    labels = [label for axes in figure.axes for label in axes.get_legend_handles_labels()[1]]
    if labels:
        fitting = int(figure.get_figwidth() * 12) // (max(map(len, labels)) + 5)
        columns = max(1, min(4, fitting))
        figure.legend(loc="outside upper left", ncols=columns, frameon=False, fontsize=8.5, handlelength=1.4)


def _render_png(draw: Callable[["Figure"], None], size: tuple[float, float]) -> bytes:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_PNG_STYLE):
        figure = Figure(figsize=size, layout="constrained", facecolor="white")
        draw(figure)
        buffer = io.BytesIO()
        # Leave out matplotlib's version, so that the same numbers give the same bytes.
        figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()


def _panel_svg(panel: Panel) -> str:
    return render_svg(panel.title, lambda axes: _draw_panel(axes, panel), (5.4, 3.2), legend=len(panel.lines) > 1)


def _draw_panel(axes: "Axes", panel: Panel) -> None:
    for line in panel.lines:
        if panel.smoothed:
            axes.plot(line.x, line.y, color=line.colour, linewidth=0.7, alpha=0.3)
        values = _running_mean(line.y) if panel.smoothed else line.y
        marker = "o" if len(line.x) < _MANY_POINTS else None
        axes.plot(line.x, values, color=line.colour, linewidth=1.8, label=line.label, marker=marker, markersize=3)
    for number, (x, label) in enumerate(panel.marks):
        axes.axvline(x, color="0.5", linewidth=1, linestyle=("-", ":")[number % 2], label=label)
    axes.set(xlim=(0, None), ylim=(0, panel.top), xlabel=panel.x_label)


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Centred running mean over a thirtieth of the values."""
    window = np.ones(2 * (len(values) // 60) + 1)
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")
