"""Rank the labels by how likely they are wrong."""

from typing import Annotated

import typer

from facemask.cli import options


def main(
    run: Annotated[
        str,
        typer.Option(help="Name of the report: a cross-validation (make crossval), or an evaluation on val or test."),
    ] = "crossval-ssd",
    count: Annotated[int, typer.Option(help="Suspects on the page and in make label.", min=1)] = 100,
    plant: Annotated[
        float,
        typer.Option(
            help="Only measure: damage this percentage of the labels in memory, and count how many of the planted "
            "errors the first tenth of the ranking holds.",
            min=0,
            max=50,
        ),
    ] = 0.0,
    images: options.Images = options.IMAGES,
    reports: options.Reports = options.REPORTS,
    processes: options.Processes = options.PROCESSES,
    seed: options.Seed = options.SEED,
) -> None:
    """Compare the labels with detections of models that never saw their pictures, and list the suspicious ones.

    Writes suspects.html, suspects.csv and suspects.json to <reports>/<run>. `make label SUSPECTS=<run>` opens the
    pictures.
    """
    from facemask.core.provenance import made_by
    from facemask.core.run_names import run_folder
    from facemask.data import records_summary
    from facemask.data.data_rules import refuse_stopping_findings
    from facemask.data.labelled_picture import read_labelled_pictures
    from facemask.evaluation import held_out_labels, planted_errors, suspects_report

    saved = held_out_labels.read_held_out_evaluation(run_folder(reports, run))
    with records_summary.records_progress("suspects") as advance:
        pictures, findings = read_labelled_pictures(images, saved.label_map, processes, advance)
    refuse_stopping_findings(images, [*findings, *(found for picture in pictures for found in picture.findings)])
    labels = held_out_labels.pair_labels(images, pictures, saved)
    if plant:
        counted = planted_errors.measure_planting(labels, saved, plant / 100, range(seed, seed + 5))
        print(planted_errors.planting_text(counted))
        return
    suspects = held_out_labels.rank_unverified(labels, saved)
    made = made_by("suspects", run=run, count=count, images=images)
    suspects_report.write_suspects(saved.folder, images, labels, suspects, count, made)
    print(suspects_report.suspects_text(saved.folder, images, labels, suspects, count))
