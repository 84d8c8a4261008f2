"""Measure a detector: COCO's metrics, thresholds, confusions, speed."""

from pathlib import Path
from typing import Annotated

import typer

from facemask.cli import options


@options.expand_groups
def main(
    which: options.DetectorOptions = options.DETECTOR,
    split: Annotated[
        str, typer.Option(help="Split of the records to measure on: train, val or test; empty: test.")
    ] = "",
    images: Annotated[
        Path | None, typer.Option(help="Folder of images with Pascal VOC XML to measure on instead of records.")
    ] = None,
    threshold: Annotated[
        str,
        typer.Option(
            help="Lowest score that counts as detected in precision, recall, F1 and the confusion matrix: empty (for "
            "each class the one that the exported model carries, or else 0.5); a number; best (for each class the "
            "threshold with the highest F1 on these images); or the metrics.json of another evaluation, for example of "
            "the val split, whose best thresholds are used."
        ),
    ] = options.THRESHOLD,
    report: Annotated[
        str, typer.Option(help="Name of the report's folder; empty: the run's name, or the names of the parts.")
    ] = "",
    batch: Annotated[int, typer.Option(min=1, help="Images given to the detector at once.")] = 1,
    max_detections: Annotated[
        int, typer.Option(min=1, help="Detections that count for each class and image; COCO's metrics use 100.")
    ] = 100,
    voc: Annotated[bool, typer.Option("--voc", help="Also write the detections as Pascal VOC XML.")] = False,
    annotations: options.Annotations = options.ANNOTATIONS,
    reports: options.Reports = options.REPORTS,
) -> None:
    """Measure a detector: COCO's metrics, thresholds, confusions and speed, to <reports>/<run>/."""
    from rich.console import Console
    from rich.progress import Progress

    from facemask.core import hardware
    from facemask.core.errors import UserError
    from facemask.core.provenance import made_by
    from facemask.core.run_names import run_folder
    from facemask.detect import detector_choice
    from facemask.detect.score_thresholds import METRICS, parse_thresholds
    from facemask.evaluation import evaluate, evaluated_pictures, seen_pictures
    from facemask.evaluation.measurement import measure_detector
    from facemask.evaluation.report import metric_tables

    if images and split:
        raise UserError(f"SPLIT={split}: is of the records, which IMAGES= replaces. Leave one of the two out.")
    console = Console(highlight=False)
    chosen = detector_choice.choose_detector(which.choice())
    folder = run_folder(reports, report or chosen.name, "REPORT")
    label_map = chosen.label_map
    where = (
        evaluated_pictures.PictureSource(images)
        if images
        else evaluated_pictures.records_source(annotations, split or "test", label_map)
    )
    min_scores = None if threshold == "best" else parse_thresholds(threshold, label_map, own=chosen.thresholds)
    seen = seen_pictures.count_seen(where, label_map, chosen.training_pictures)
    if seen:
        console.print(seen_pictures.warning(chosen.name, seen), soft_wrap=True)
    opened = chosen.open()
    the = "the " if where.split else ""
    console.print(f"measuring {chosen.name} with {opened.name} on {the}{where.name}", soft_wrap=True)
    left_out: list[str] = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("detecting", total=where.images)
        measured = measure_detector(
            opened,
            evaluated_pictures.read_pictures(where, label_map, left_out.append),
            batch,
            hardware=f"{hardware.cpu_name()}, {hardware.usable_cores()} cores",
            report_progress=lambda done: progress.update(task, completed=done),
        )
    result = evaluate.compute_metrics(measured.truths, measured.detections, label_map, min_scores, max_detections)
    metrics = evaluate.write_evaluation(
        folder,
        measured,
        result,
        label_map,
        source=where.to_json() | {"left_out": left_out},
        model=chosen.model | {"detector": opened.name, "seen_in_training": seen},
        made=made_by(
            "eval",
            **vars(which),
            threshold=threshold,
            batch=batch,
            max_detections=max_detections,
        ),
    )
    if voc:
        used = evaluate.chosen_thresholds(metrics)
        evaluate.write_voc_files(folder / "voc", measured.truths, measured.detections, label_map, used)
    for table in metric_tables.evaluation_tables(metrics):
        console.print(table)
    for note in evaluate.list_caveats(metrics, measured.truths):
        console.print(note, soft_wrap=True, markup=False)
    speed = measured.speed
    console.print(
        f"{speed.latency_ms:.0f} ms {'an image' if batch == 1 else f'for {batch} images'} "
        f"(95% under {speed.latency_p95_ms:.0f} ms), {speed.images_per_second:.1f} images a second on {speed.hardware}",
        soft_wrap=True,
    )
    console.print(f"{folder / METRICS}; for a page with pictures: make report RUN={folder.name}", soft_wrap=True)
