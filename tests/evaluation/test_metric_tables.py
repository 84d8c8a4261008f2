"""The tables that steps print."""

import io

from rich.console import Console

from facemask.evaluation.report import metric_tables


def test_a_narrow_terminal_folds_names_and_cuts_none() -> None:
    labels = ("with_mask", "[b]mask", "mask_weared_incorrect", "background")
    table = metric_tables._confusion(labels, [[row * 4 + column for column in range(4)] for row in range(4)])
    printed = io.StringIO()
    Console(file=printed, width=60).print(table)
    assert "…" not in printed.getvalue()
    assert "14" in printed.getvalue() and printed.getvalue().count("[b]mask") == 2
