"""Export a run's model in the formats that detection uses."""

from functools import partial
from typing import Annotated

import typer

from facemask.cli import options


def _checked_size(size: int | None) -> int | None:
    # Here too, so that `make crossval` refuses a size before it trains a fold.
    if size is not None:
        from facemask.tfod import pipeline_config

        pipeline_config.refuse_input_size(size)
    return size


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
        int | None,
        typer.Option(
            help="Side of the exported model's input in pixels. Default: that of the training.", callback=_checked_size
        ),
    ] = None,
    annotations: options.Annotations = options.ANNOTATIONS,
    models: options.Models = options.MODELS,
    exported: options.Exported = options.EXPORTED,
) -> None:
    """Export a trained run to <exported>/<run>/: saved_model/, openvino/ and others, checkpoint/, model.json."""
    from facemask.core.run_names import run_folder
    from facemask.export import conversion, quantisation_check, threshold_choice
    from facemask.tfod import saved_model_export

    others = conversion.choose_formats(formats)
    source = saved_model_export.find_run_checkpoint(run_folder(models, run), ckpt)
    quantisation_check.refuse_early(others, annotations, source.run.label_map)
    print(f"exporting {source.checkpoint} (about a minute)", flush=True)
    model = saved_model_export.export_run(source, exported / run, size)
    trained = "" if model.steps is None else f", {model.steps} steps"
    print(f"{model.saved_model}: {model.model}{trained}, input {model.width} x {model.height}, checked against it")
    pictures = conversion.pictures_to_compare(annotations) if others else []
    expected = conversion.found_by_saved_model(model, pictures) if others else []
    for name in filter(conversion.FORMATS.get, others):
        result = conversion.convert_model(model, name, pictures, expected)
        print(f"{model.folder / name}: the same as the SavedModel: {result}", flush=True)
    tell = partial(print, flush=True)
    quantisation_check.check_after_export(model, others, annotations, report=tell)
    threshold_choice.write_thresholds(model, annotations, source.run.records_digest, report=tell)
