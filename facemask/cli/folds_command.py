"""Divide the labelled images into folds, and make the records of each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from facemask.cli import options


def main(
    images: options.Images = options.IMAGES,
    annotations: options.Annotations = options.ANNOTATIONS,
    classes: options.Classes = options.CLASSES,
    folds: Annotated[int, typer.Option(help="Number of folds, 2 or more.")] = 5,
    repeat: options.Repeat = options.REPEAT,
    seed: options.Seed = options.SEED,
    processes: options.Processes = options.PROCESSES,
) -> None:
    """Write <annotations>/folds.json and the records of each fold to <annotations>/folds/0, 1, ..."""
    from rich.console import Console
    from rich.table import Table

    from facemask.core.label_map import read_classes
    from facemask.core.provenance import made_by
    from facemask.data import fold_records, make_records, records_summary
    from facemask.data.data_rules import refuse_stopping_findings
    from facemask.data.labelled_picture import read_labelled_pictures

    label_map = read_classes(classes)
    repetitions = make_records.parse_repeat(repeat, label_map)
    with records_summary.records_progress("images") as advance:
        pictures, findings = read_labelled_pictures(images, label_map, processes, advance)
    refuse_stopping_findings(images, [*findings, *(finding for one in pictures for finding in one.findings)])

    def write_records(folder: Path, split_of: Mapping[str, str]) -> str:
        options = make_records.RecordOptions(repeat=repetitions, split_of=split_of)
        with records_summary.records_progress(f"fold {folder.name}") as advance:
            report = make_records.make_records(images, folder, label_map, options, processes, advance)
        return report.manifest.digest

    made = made_by("folds", images=images, folds=folds, repeat=repeat, seed=seed)
    usable = [picture for picture in pictures if picture.usable]
    made_folds = fold_records.make_folds(usable, annotations, label_map, folds, seed, write_records, made)
    table = Table(title="Held out in each fold", title_justify="left")
    for heading in ("fold", "images", *label_map.names):
        table.add_column(heading, justify="right", overflow="fold")
    for fold, faces in enumerate(made_folds.faces):
        held = sum(other == fold for other in made_folds.fold_of.values())
        table.add_row(str(fold), f"{held:,}", *(f"{faces[name]:,}" for name in label_map.names))
    Console(highlight=False).print(table)
    print(f"{annotations / fold_records.NAME}: {folds} folds of {len(usable):,} images; next: make crossval")
