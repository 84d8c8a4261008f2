"""Metrics as tables for a terminal."""

from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table


def three_decimals(value: float | None) -> str:
    """A metric with three decimals; a dash for None."""
    return "-" if value is None else f"{value:.3f}"


def evaluation_tables(metrics: dict[str, Any]) -> tuple[Table, Table, Table]:
    """The tables of a metrics.json: COCO's metrics, precision and recall at a threshold, and the confusion matrix."""
    figures = metrics["figures"]
    ranked = _table("COCO's metrics", "faces", "AP@.5", "AP", "recall@.5")
    for one in figures["classes"]:
        cells = [one["ap50"], one["ap"], one["recall50"]]
        ranked.add_row(escape(one["name"]), str(one["boxes"]), *map(three_decimals, cells))
    ranked.add_section()
    cells = [figures["map50"], figures["map"], figures["recall50"]]
    ranked.add_row("mean", str(figures["boxes"]), *map(three_decimals, cells), style="bold")
    for size in figures["sizes"]:
        ranked.add_row(
            size["size"],
            str(size["boxes"]),
            three_decimals(size["ap50"]),
            three_decimals(size["ap"]),
            three_decimals(size["recall50"]),
        )
    chosen = _table("At a threshold", "score", "precision", "recall", "F1", "best F1", "score")
    for one, best in zip(metrics["operating"], metrics["best"], strict=True):
        cells = [one["precision"], one["recall"], one["f1"], best and best["f1"]]
        best_threshold = "-" if best is None else f"{best['threshold']:.2f}"
        chosen.add_row(escape(one["name"]), f"{one['threshold']:.2f}", *map(three_decimals, cells), best_threshold)
    return ranked, chosen, _confusion(metrics["confusion"]["labels"], metrics["confusion"]["counts"])


def intervals_table(intervals: dict[str, Any]) -> Table:
    """A table of the `intervals` of a metrics.json."""
    table = _table(f"95% intervals of {intervals['draws']} draws of the images", "AP@.5", "", "AP", "")

    def cells(ap50: dict[str, Any], ap: dict[str, Any]) -> list[str]:
        ends = [
            "-" if one["low"] is None else f"{three_decimals(one['low'])} to {three_decimals(one['high'])}"
            for one in (ap50, ap)
        ]
        return [three_decimals(ap50["estimate"]), ends[0], three_decimals(ap["estimate"]), ends[1]]

    for one in intervals["classes"]:
        table.add_row(escape(one["name"]), *cells(one["ap50"], one["ap"]))
    table.add_section()
    table.add_row("mean", *cells(intervals["map50"], intervals["map"]), style="bold")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("", overflow="fold")
    for name in columns:
        table.add_column(escape(name), justify="right", overflow="fold")
    return table


def _confusion(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> Table:
    table = _table("Ground truth (rows), detected as (columns)", *labels)
    for row, label in enumerate(labels):
        cells = [str(count) for count in counts[row]]
        if row == len(labels) - 1:
            cells[-1] = ""  # background detected as background: not countable
        cells[row] = f"[bold]{cells[row]}[/]"
        table.add_row(escape(label), *cells)
    return table


def comparison_table(compared: Any) -> Table:
    """A table of a `comparison.Comparison` with a row for each system."""
    title = f"{compared.images} images; in brackets the 95% interval of {compared.draws} draws; * significant"
    table = _table(title, "mAP@.5", "difference to first", "mAP", "ms")
    for system in compared.systems:
        table.add_row(
            escape(system.name),
            f"{three_decimals(system.map50.estimate)} ({interval_ends(system.map50)})",
            _difference(system.change50),
            three_decimals(system.map.estimate),
            f"{system.latency_ms:.0f}",
        )
    return table


def classifier_table(compared: Any) -> Table:
    """A table of a `classifier_comparison.ClassifierComparison` with a row for each classifier."""
    title = f"{compared.faces} faces; in brackets the 95% interval of {compared.draws} draws; * significant"
    table = _table(title, "macro F1", "difference to first", "accuracy")
    for one in compared.classifiers:
        table.add_row(
            escape(one.name),
            f"{three_decimals(one.macro_f1.estimate)} ({interval_ends(one.macro_f1)})",
            _difference(one.change),
            f"{three_decimals(one.accuracy.estimate)} ({interval_ends(one.accuracy)})",
        )
    return table


def _difference(change: Any) -> str:
    if change is None:
        return ""
    star = " *" if change.excludes_zero else "  "
    return f"{with_sign(change.estimate)} ({interval_ends(change, with_sign)}){star}"


def with_sign(value: float | None) -> str:
    """A difference with its sign and three decimals; a dash for None."""
    return "-" if value is None else f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def interval_ends(interval: Any, form: Any = three_decimals) -> str:
    """The two ends of a `ConfidenceInterval` as text; `form` formats an end."""
    return "-" if interval.low is None else f"{form(interval.low)} to {form(interval.high)}"
