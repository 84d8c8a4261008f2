"""`make export`: write a run's checkpoint as a model that needs nothing of the run any more."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from scripts.support import command


def main(
    run: Annotated[str, typer.Option(help="Name of the training run.")] = "default",
    ckpt: Annotated[
        str, typer.Option(help='"best" by validation mAP (the latest where there was no validation), or "latest".')
    ] = "best",
    formats: Annotated[
        str,
        typer.Option(
            help="A list of saved_model, openvino, onnx, tflite and int8 (OpenVINO, quantised); saved_model is always "
            "written; empty: saved_model, and openvino if it is installed."
        ),
    ] = "",
    annotations: Annotated[
        Path, typer.Option(help="Folder of the records on whose val pictures the formats are compared and measured.")
    ] = Path("annotations"),
    models: Annotated[Path, typer.Option(help="Folder of the training runs.")] = Path("workspace/models"),
    exported: Annotated[Path, typer.Option(help="Folder of the exported models.")] = Path("workspace/exported"),
) -> None:
    """Export a trained run to <exported>/<run>/: saved_model/, openvino/ and others, checkpoint/, model.json."""
    from scripts.detect import converting
    from scripts.scoring import lowering
    from scripts.tfod import exporting, runs

    others = converting.choose(formats)
    source = exporting.find(runs.folder_of(models, run), ckpt)
    lowering.refuse_early(others, annotations, source.run.label_map)
    print(f"exporting {source.checkpoint} (about a minute)", flush=True)
    model = exporting.export(source, exported / run)
    trained = "" if model.steps is None else f", {model.steps} steps"
    print(f"{model.saved_model}: {model.model}{trained}, input {model.width} x {model.height}, checked against it")
    pictures = converting.pictures_to_compare(annotations) if others else []
    expected = converting.found_by_saved_model(model, pictures) if others else []
    for name in filter(converting.FORMATS.get, others):
        result = converting.convert(model, name, pictures, expected)
        print(f"{model.folder / name}: the same as the SavedModel: {result}", flush=True)
    lowering.after_export(model, others, annotations, say=partial(print, flush=True))


if __name__ == "__main__":
    command.run(main)
