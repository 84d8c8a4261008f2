"""`make eval`: measure a detector against the truth."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.detect import options
from scripts.support import command


def main(
    run: Annotated[str, typer.Option(help="Name of the run whose exported model is measured.")] = "default",
    split: Annotated[str, typer.Option(help="Split of the records to measure on: train, val or test.")] = "test",
    images: Annotated[
        Path | None, typer.Option(help="Measure on this folder of images with Pascal VOC XML, not on records.")
    ] = None,
    threshold: Annotated[
        str,
        typer.Option(
            help="Least score that counts as detected in precision, recall, F1 and the confusion matrix: a number, or "
            "best (for each class the one of the highest F1 on these very images), or the metrics.json of another "
            "evaluation (of the val split, say), whose best thresholds are then used."
        ),
    ] = "0.5",
    report: Annotated[
        str, typer.Option(help="Name of the report's folder; empty: the run's, or one made of the parts.")
    ] = "",
    detector: options.Detector = "ssd",
    faces: options.Faces = "yunet",
    faces_model: options.FacesModel = None,
    faces_size: options.FacesSize = 0,
    classifier: options.Classifier = "classifier",
    runtime: options.Runtime = "auto",
    precision: options.Precision = "auto",
    batch: Annotated[int, typer.Option(min=1, help="Images given to the detector at once.")] = 1,
    max_detections: Annotated[
        int, typer.Option(min=1, help="Detections that count per class and image; COCO's figures need its 100.")
    ] = 100,
    voc: Annotated[bool, typer.Option("--voc", help="Also write what was detected as Pascal VOC XML.")] = False,
    annotations: Annotated[Path, typer.Option(help="Folder of the records.")] = Path("annotations"),
    exported: Annotated[Path, typer.Option(help="Folder of the exported models.")] = Path("workspace/exported"),
    reports: Annotated[Path, typer.Option(help="Folder of the reports.")] = Path("workspace/reports"),
) -> None:
    """Measure a detector: COCO's figures, thresholds, confusions and speed, to <reports>/<run>/."""
    from rich.console import Console
    from rich.progress import Progress

    from scripts.detect import choosing
    from scripts.scoring import evaluation, source, tables, thresholds
    from scripts.scoring.measure import measure
    from scripts.support import hardware
    from scripts.support.provenance import made_by

    console = Console(highlight=False)
    chosen = choosing.choose(
        choosing.Choice(exported, run, detector, faces, faces_model, faces_size, classifier, runtime, precision)
    )
    label_map = chosen.label_map
    where = source.Source(images) if images else source.records(annotations, split, label_map)
    least = thresholds.parse(threshold, label_map)
    opened = chosen.open()
    console.print(f"measuring {chosen.name} with {opened.name} on the {where.name}", soft_wrap=True)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("detecting", total=where.images)
        measured = measure(
            opened,
            source.pictures(where, label_map),
            batch,
            hardware=f"{hardware.cpu_name()}, {hardware.cores()} cores",
            seen=lambda done: progress.update(task, completed=done),
        )
    scores = evaluation.score(measured.truths, measured.detections, label_map, least, max_detections)
    folder = reports / (report or chosen.name)
    metrics = evaluation.write(
        folder,
        measured,
        scores,
        label_map,
        source=where.to_json(),
        model=chosen.model | {"detector": opened.name},
        made=made_by(
            "eval",
            run=run,
            detector=detector,
            faces=faces,
            faces_model=faces_model,
            faces_size=faces_size,
            classifier=classifier,
            threshold=threshold,
            batch=batch,
            max_detections=max_detections,
            runtime=runtime,
            precision=precision,
        ),
    )
    if voc:
        used = evaluation.chosen(metrics)
        evaluation.write_voc(folder / "voc", measured.truths, measured.detections, label_map, used)
    for table in tables.evaluation(metrics):
        console.print(table)
    for note in evaluation.notes(metrics, measured.truths):
        console.print(note, soft_wrap=True)
    speed = measured.speed
    console.print(
        f"{speed.latency_ms:.0f} ms {'an image' if batch == 1 else f'for {batch} images'} "
        f"(95% under {speed.latency_p95_ms:.0f} ms), {speed.images_per_second:.1f} images a second on {speed.hardware}",
        soft_wrap=True,
    )
    console.print(f"{folder / evaluation.METRICS}; look closer with: make report RUN={folder.name}", soft_wrap=True)


if __name__ == "__main__":
    command.run(main)
