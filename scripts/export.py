"""`make export`: write a run's checkpoint as a model that needs nothing of the run any more."""

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
        str, typer.Option(help="saved_model, openvino, or both; empty: saved_model, and openvino if it is installed.")
    ] = "",
    annotations: Annotated[
        Path, typer.Option(help="Folder of the records whose val pictures the formats are compared on.")
    ] = Path("annotations"),
    models: Annotated[Path, typer.Option(help="Folder of the training runs.")] = Path("workspace/models"),
    exported: Annotated[Path, typer.Option(help="Folder of the exported models.")] = Path("workspace/exported"),
) -> None:
    """Export a trained run to <exported>/<run>/: saved_model/, openvino/, checkpoint/, label_map.pbtxt, model.json."""
    from scripts.detect import converting
    from scripts.tfod import exporting

    others = converting.choose(formats)
    source = exporting.find(models / run, ckpt)
    print(f"exporting {source.checkpoint} (about a minute)", flush=True)
    model = exporting.export(source, exported / run)
    trained = "" if model.steps is None else f", {model.steps} steps"
    print(f"{model.saved_model}: {model.model}{trained}, input {model.width} x {model.height}, checked against it")
    pictures = converting.pictures_to_compare(annotations) if others else []
    for name in others:
        print(f"{model.folder / name}: the same as the SavedModel: {converting.convert(model, name, pictures)}")


if __name__ == "__main__":
    command.run(main)
