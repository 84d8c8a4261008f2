"""Print the summary of a data set or its records on the terminal, and show progress."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from facemask.data.data_rules import ERROR, NOTE, RULES, WARNING, printable
from facemask.data.dataset_check import CheckedDataset
from facemask.data.make_records import RecordsReport, RuleCount
from facemask.data.splits import SPLITS

_SHOWN = 8
"""Number of files that the terminal lists under one rule."""

_STYLES = {ERROR: "red", WARNING: "yellow", NOTE: "dim"}


@contextmanager
def records_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on stderr if that is a terminal. Yields a function of (number done, total)."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_records(report: RecordsReport, annotations: Path) -> None:
    """Print the table of a finished `make records`, and the rules that were broken."""
    console = Console(highlight=False)
    console.print(_table(report))
    print_found(console, report.found)
    for split in SPLITS:
        if not report.manifest.splits[split].images:
            console.print(f"[yellow]{split} holds no image.[/]")
    if report.reassigned:
        console.print("[yellow]The proportions have changed: all images were assigned to new splits.[/]")
    done = "written to" if report.fresh else "up to date in"
    console.print(f"Records {done} {escape(printable(str(annotations)))}", soft_wrap=True)


def print_checked(checked: CheckedDataset, page: Path) -> None:
    """Print the tables of a finished `make check`, and the first files that break each rule."""
    console = Console(highlight=False)
    rows = {"images": [checked.images[split] for split in SPLITS]}
    rows["images without boxes"] = [checked.negatives[split] for split in SPLITS]
    for label in checked.classes:
        rows[label] = [checked.per_class(split)[label] for split in SPLITS]
    console.print(_counts("Data set", rows))
    for name, group in itertools.groupby(checked.findings, key=lambda finding: finding.rule):
        findings = list(group)
        found = RuleCount(len(findings), sum(finding.count for finding in findings))
        print_found(console, {name: found})
        for finding in findings[:_SHOWN]:
            detail = f"  [dim]{escape(printable(finding.detail))}[/]" if finding.detail else ""
            console.print(f"    {escape(printable(finding.path))}{detail}", soft_wrap=True)
        if len(findings) > _SHOWN:
            console.print(f"    [dim]... and {len(findings) - _SHOWN:,} more: see the page.[/]")
    _print_anchors(console, checked)
    plural = "" if checked.errors == 1 else "s"
    console.print(f"{checked.errors:,} error{plural}. Report: {escape(printable(str(page)))}", soft_wrap=True)


def _print_anchors(console: Console, checked: CheckedDataset) -> None:
    boxes = len(checked.boxes)
    parts = "   ".join(f"{scale:g}: {part:.1%}" for scale, part in checked.coverage.items())
    console.print(f"Boxes that an anchor covers at IoU 0.5 and {checked.anchors.size} pixels, by anchor scale:")
    console.print(f"    {parts}", soft_wrap=True)
    missed = round(boxes * (1 - checked.coverage[checked.anchors.scale]))
    best = f"scale {checked.best_scale:g} covers most, {checked.coverage[checked.best_scale]:.1%}"
    console.print(f"At scale {checked.anchors.scale:g} no anchor covers {missed:,} of {boxes:,}; {best}.")


def print_found(console: Console, found: Mapping[str, RuleCount]) -> None:
    """Print one line for each broken rule, errors first."""
    for level in _STYLES:
        for name, times in found.items():
            rule = RULES[name]
            if rule.level == level:
                count = (
                    f"{times.count:,} in {times.files:,} files" if times.count != times.files else f"{times.count:,}"
                )
                names = f" ({escape(times.names)})" if times.names else ""
                line = f"[{_STYLES[level]}]{level}: {rule.title}: {count}{names}.[/] {rule.advice}"
                console.print(line, soft_wrap=True)


def _table(report: RecordsReport) -> Table:
    held = [report.manifest.splits[split] for split in SPLITS]
    rows = {"images": [split.images for split in held], "boxes": [split.boxes for split in held]}
    rows |= {label: [split.boxes_per_class[label] for split in held] for label in report.manifest.classes}
    examples = [report.examples[split] for split in SPLITS]
    if examples != rows["images"]:
        rows["examples (with repeated images)"] = examples
    return _counts("Records", rows)


def _counts(title: str, rows: Mapping[str, Sequence[int]]) -> Table:
    table = Table("", *SPLITS, "all", title=title, title_justify="left")
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.justify = "right"
    for heading, values in rows.items():
        table.add_row(escape(printable(heading)), *(f"{value:,}" for value in [*values, sum(values)]))
    return table
