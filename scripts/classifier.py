"""`make classifier`: train a classifier of faces by transfer learning, measure it, and write it ready for use."""

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from scripts.support import command


class Backbone(str, Enum):
    """The network under the classes."""

    MOBILENET_V2 = "mobilenet_v2"
    RESNET50 = "resnet50"


class Precision(str, Enum):
    """What training computes in."""

    AUTO = "auto"
    BF16 = "bf16"
    FP32 = "fp32"


class ClassWeights(str, Enum):
    """What weighs the same in the loss: each class, or each face."""

    BALANCED = "balanced"
    NONE = "none"


class Augment(str, Enum):
    """What is done to the faces of train."""

    LIGHT = "light"
    NONE = "none"


def main(
    run: Annotated[str, typer.Option(help="Name of the run; the same name again goes on with it.")] = "classifier",
    annotations: Annotated[
        Path, typer.Option(help="Folder of the records that faces are cut from, each in its picture's split.")
    ] = Path("annotations"),
    dataset: Annotated[
        Path | None, typer.Option(help="Instead: a folder of pictures of faces, with one sub-folder a class.")
    ] = None,
    classes: Annotated[Path, typer.Option(help="With DATASET: the classes there may be.")] = Path(
        "configs/classes.txt"
    ),
    split: Annotated[str, typer.Option(help="With DATASET: the shares of train, val and test.")] = "70,15,15",
    backbone: Annotated[Backbone, typer.Option(help="mobilenet_v2 or resnet50.")] = Backbone.MOBILENET_V2,
    weights: Annotated[
        str, typer.Option(help='"imagenet" downloads Keras\'s; a file of Keras weights (.h5); "none": from scratch.')
    ] = "imagenet",
    size: Annotated[int, typer.Option(help="Side in pixels that a face is brought to.", min=32)] = 96,
    margin: Annotated[
        float, typer.Option(help="Added around a box on each side, as a part of its longer side.", min=0, max=1)
    ] = 0.2,
    min_face: Annotated[float, typer.Option(help="Boxes with fewer pixels a side are left out.", min=1)] = 8.0,
    epochs: Annotated[int, typer.Option(help="Epochs with the backbone frozen; all, from scratch.", min=1)] = 20,
    fine_tune_epochs: Annotated[int, typer.Option(help="Epochs of all after that.", min=0)] = 10,
    batch: Annotated[int, typer.Option(help="Faces a step.", min=2)] = 32,
    learning_rate: Annotated[float, typer.Option(help="Of the first epochs.", min=0)] = 0.001,
    fine_tune_rate: Annotated[float, typer.Option(help="Of the epochs after that.", min=0)] = 0.00001,
    dropout: Annotated[float, typer.Option(help="Share of the head that a step drops.", min=0, max=0.95)] = 0.2,
    class_weights: Annotated[
        ClassWeights, typer.Option(help="balanced: a rare class weighs as much as a frequent one; none.")
    ] = ClassWeights.BALANCED,
    augment: Annotated[Augment, typer.Option(help="light: flip, rotate, zoom, shift, brighten; none.")] = Augment.LIGHT,
    precision: Annotated[
        Precision, typer.Option(help="bf16, fp32, or auto: whichever is faster for the backbone.")
    ] = Precision.AUTO,
    seed: Annotated[int, typer.Option(help="Seeds weights, order, augmentation and dropout.", min=0)] = 0,
    fresh: Annotated[bool, typer.Option(help="Start over: removes the run.")] = False,
    formats: Annotated[
        str, typer.Option(help="saved_model, openvino, or both; empty: saved_model, and openvino if it is installed.")
    ] = "",
    models: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("workspace/models"),
    exported: Annotated[Path, typer.Option(help="Folder of the exported models.")] = Path("workspace/exported"),
    reports: Annotated[Path, typer.Option(help="Folder of the reports, for the curves.")] = Path("workspace/reports"),
) -> None:
    """Train a classifier in <models>/<run>/ and export it to <exported>/<run>/, with curves in <reports>/<run>/."""
    options = {name: value.value if isinstance(value, Enum) else value for name, value in locals().items()}
    from scripts.classify import exporting, faceset, network, training
    from scripts.dataset.label_map import read_classes
    from scripts.dataset.splits import Proportions
    from scripts.scoring import classifier_charts
    from scripts.support.provenance import made_by
    from scripts.tfod import runs

    folder = runs.folder_of(models, run)
    with_openvino = exporting.choose(formats)
    exporting.refuse_a_detector(exported / run)
    file = network.find_weights(weights, backbone.value, size)
    if dataset is None:
        faces = faceset.from_records(annotations, size, margin, min_face)
    else:
        faces = faceset.from_folder(dataset, read_classes(classes), Proportions.parse(split), size)
    print(faces, flush=True)
    settings = training.Settings(
        backbone=backbone.value,
        weights=weights,
        size=size,
        epochs=epochs,
        fine_tune_epochs=fine_tune_epochs,
        batch=batch,
        learning_rate=learning_rate,
        fine_tune_rate=fine_tune_rate,
        dropout=dropout,
        class_weights=class_weights.value,
        augment=augment.value,
        precision="bf16" if network.choose_bf16(precision.value, backbone.value) else "fp32",
        seed=seed,
    )
    made = made_by("classifier", **options)
    training.prepare(folder, settings, faces, made, fresh=fresh)
    outcome = training.train(folder, settings, faces, file)
    classifier_charts.draw_curves(reports / run / "curves.png", outcome.history, outcome.best)
    if outcome.signal is not None:
        print(f"{folder}: stopped; the same command goes on")
        sys.exit(outcome.exit_code)
    print(f"exporting epoch {outcome.best.epoch}, the best on val" if outcome.best else "", flush=True)
    result = exporting.export(folder, settings, margin, faces, exported / run, made, openvino=with_openvino)
    for part, figures in result.figures.items():
        print(f"\n{part}\n{figures}")
        classifier_charts.draw_confusion(reports / run / f"confusion-{part}.png", figures, f"{run} on {part}")
    agreed = "" if result.apart is None else f"; OpenVINO's probabilities at most {result.apart:.1e} apart"
    print(f"\n{result.classifier.folder}: written{agreed}. Curves and confusions: {reports / run}")


if __name__ == "__main__":
    command.run(main)
