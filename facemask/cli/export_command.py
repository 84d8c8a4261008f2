"""Export a run's model in the formats that detection uses."""

from functools import partial
from typing import Annotated

import typer

from facemask.cli import options


def _parse_sizes(text: str) -> list[int]:
    """The sizes in a text such as `960,640`, each once; none for an empty one. Raises UserError."""
    from facemask.core.errors import UserError
    from facemask.tfod import pipeline_config

    try:
        sizes = [int(part) for part in text.split(",")] if text else []
    except ValueError:
        raise UserError(f"SIZE={text}: must be pixels, such as 640, or several: 960,640.") from None
    for size in sizes:
        pipeline_config.refuse_input_size(size)
    return list(dict.fromkeys(sizes))


def _check_sizes(text: str) -> str:
    _parse_sizes(text)  # here too, so that `make crossval` refuses a size before it trains a fold
    return text


def main(
    run: options.TrainingRun = options.RUN,
    ckpt: Annotated[
        str,
        typer.Option(
            help='"best" by validation mAP (the latest if there was no validation), "latest", or a name: ckpt-500.'
        ),
    ] = "best",
    formats: Annotated[
        str,
        typer.Option(
            help="A list of saved_model, openvino, onnx, tflite and int8 (OpenVINO, quantised); saved_model is always "
            "written; empty: saved_model, and openvino if it is installed."
        ),
    ] = "",
    size: Annotated[
        str,
        typer.Option(
            help="Side of the exported model's input in pixels; several, such as 960,640: it looks at each picture at "
            "each of them, and joins the boxes. Default: that of the training.",
            callback=_check_sizes,
        ),
    ] = "",
    annotations: options.Annotations = options.ANNOTATIONS,
    models: options.Models = options.MODELS,
    exported: options.Exported = options.EXPORTED,
) -> None:
    """Export a trained run to <exported>/<run>/: saved_model/, openvino/ and others, checkpoint/, model.json."""
    from facemask.core import exported_model
    from facemask.core.run_names import run_folder
    from facemask.export import conversion, quantisation_check, threshold_choice
    from facemask.tfod import saved_model_export

    others = conversion.choose_formats(formats)
    source = saved_model_export.find_run_checkpoint(run_folder(models, run), ckpt)
    quantisation_check.refuse_early(others, annotations, source.run.label_map)
    print(f"exporting {source.checkpoint} (about a minute)", flush=True)
    tell = partial(print, flush=True)
    pictures = conversion.pictures_to_compare(annotations) if others else []
    folder = exported / run
    sizes: list[int | None] = [*_parse_sizes(size)] or [None]
    for number, side in enumerate(sizes):
        target = folder / exported_model.SIZES / str(side) if number else folder
        model = saved_model_export.export_run(source, target, side)
        trained = "" if model.steps is None else f", {model.steps} steps"
        print(f"{model.saved_model}: {model.model}{trained}, input {model.width} x {model.height}, checked against it")
        expected = conversion.found_by_saved_model(model, pictures) if others else []
        for name in filter(conversion.FORMATS.get, others):
            result = conversion.convert_model(model, name, pictures, expected)
            print(f"{model.folder / name}: the same as the SavedModel: {result}", flush=True)
        quantisation_check.check_after_export(model, others, annotations, report=tell)
    whole = exported_model.read_exported_model(folder)
    threshold_choice.write_thresholds(whole, annotations, source.run.records_digest, report=tell)
