"""The figures as tables for a terminal."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table


def figure(value: float | None) -> str:
    """Three decimals; a dash where there was nothing to measure."""
    return "-" if value is None else f"{value:.3f}"


def evaluation(metrics: dict[str, Any]) -> tuple[Table, Table, Table]:
    """The tables of a metrics.json: COCO's figures, what a threshold gives, and the confusion matrix."""
    figures = metrics["figures"]
    ranked = _table("COCO's figures", "faces", "AP@.5", "AP", "recall@.5")
    for one in figures["classes"]:
        cells = [one["ap50"], one["ap"], one["recall50"]]
        ranked.add_row(one["name"], str(one["boxes"]), *map(figure, cells))
    ranked.add_section()
    cells = [figures["map50"], figures["map"], figures["recall50"]]
    ranked.add_row("mean", str(figures["boxes"]), *map(figure, cells), style="bold")
    for size in figures["sizes"]:
        ranked.add_row(
            size["size"], str(size["boxes"]), figure(size["ap50"]), figure(size["ap"]), figure(size["recall50"])
        )
    chosen = _table("At a threshold", "score", "precision", "recall", "F1", "best F1", "score")
    for one, best in zip(metrics["operating"], metrics["best"], strict=True):
        cells = [one["precision"], one["recall"], one["f1"], best and best["f1"]]
        best_threshold = "-" if best is None else f"{best['threshold']:.2f}"
        chosen.add_row(one["name"], f"{one['threshold']:.2f}", *map(figure, cells), best_threshold)
    return ranked, chosen, _confusion(metrics["confusion"]["labels"], metrics["confusion"]["counts"])


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _confusion(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> Table:
    table = _table("A face that is (rows) was taken for (columns)", *labels)
    for row, label in enumerate(labels):
        cells = [str(count) for count in counts[row]]
        if row == len(labels) - 1:
            cells[-1] = ""  # nothing taken for nothing
        table.add_row(label, *(f"[bold]{cell}[/]" if row == column else cell for column, cell in enumerate(cells)))
    return table


def comparison(compared: Any) -> Table:
    """A row for each system of a `comparison.Comparison`."""
    title = f"{compared.images} images; in brackets 95% of {compared.draws} draws; * more than chance"
    table = _table(title, "mAP@.5", "against first", "mAP", "ms")
    for system in compared.systems:
        change = system.change50
        against = ""
        if change is not None:
            against = f"{signed(change.estimate)} ({span(change, signed)}){' *' if change.excludes_zero else '  '}"
        table.add_row(
            system.name,
            f"{figure(system.map50.estimate)} ({span(system.map50)})",
            against,
            figure(system.map.estimate),
            f"{system.latency_ms:.0f}",
        )
    return table


def signed(value: float | None) -> str:
    """A difference: three decimals with its sign."""
    return "-" if value is None else f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def span(interval: Any, form: Any = figure) -> str:
    """An interval's two ends."""
    return "-" if interval.low is None else f"{form(interval.low)} to {form(interval.high)}"
