"""Write YuNet and a classifier for LiteRT, in 8 bits where that costs little."""

from pathlib import Path
from typing import Annotated

import typer

from facemask.cli import options


def main(
    run: Annotated[
        str, typer.Option(help="The detector that comes with facemask, and searches at one size: ready-fast.")
    ] = options.FAST,
    classifier: Annotated[
        str, typer.Option(help="Name of your own exported classifier, instead of that of the detector.")
    ] = "",
    faces_model: Annotated[
        Path | None,
        typer.Option(
            help="YuNet's network that `make faces` trained (.onnx), with CLASSIFIER. Default: ready, the shipped one."
        ),
    ] = None,
    faces_size: Annotated[
        int,
        typer.Option(
            help="With CLASSIFIER: longer side in pixels to which pictures are scaled for YuNet; 0: 640.",
            min=0,
            max=2048,
        ),
    ] = 0,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of photographs to calibrate int8 on, and to measure on if Pascal VOC XML is beside them. "
            f"Default: the records, or else {options.IMAGES}.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the run to write; use it with RUN=<name>.")] = "small",
    annotations: options.Annotations = options.ANNOTATIONS,
    exported: options.Exported = options.EXPORTED,
) -> None:
    """Write YuNet and a classifier as LiteRT files to <exported>/<name>/."""
    given = dict(locals())
    from facemask.classifier.exported_classifier import read_exported_classifier
    from facemask.core.errors import UserError
    from facemask.core.provenance import READY, made_by
    from facemask.core.run_names import run_folder
    from facemask.detect.detector_choice import DetectorChoice, choose_detector, refuse_several
    from facemask.detect.two_stage import TwoStageDetector
    from facemask.export import small_export
    from facemask.tfod import compat, saved_model_export

    compat.install()
    sizes = (faces_size,) if faces_size else ()
    choice = DetectorChoice(exported, run=run, faces_model=faces_model, faces_sizes=sizes, precision="fp32")
    if classifier:
        choice = DetectorChoice(
            exported,
            detector="two_stage",
            faces_model=faces_model or Path(READY),
            faces_sizes=sizes or (640,),
            classifier=classifier,
            runtime="openvino",
            precision="fp32",
        )
    chosen = choose_detector(choice)
    refuse_several(chosen, "`make small`")
    target = run_folder(exported, name, "NAME")
    small_export.refuse_early(target)
    pictures = small_export.find_pictures(images, annotations, options.IMAGES, chosen.label_map)
    detector = chosen.load()
    if not isinstance(detector, TwoStageDetector) or not chosen.faces_files:
        raise UserError(f"RUN={run}: is not made of YuNet and a classifier. `make export FORMATS=tflite` is for such.")
    [yunet] = chosen.faces_files
    if chosen.model["faces"]["alignment"] is not None:
        raise UserError(f"{yunet}: is YuNet as it was published. Take one that `make faces` trained.")
    source = small_export.Source(
        yunet,
        chosen.model["faces"]["sizes"][0],
        read_exported_classifier(Path(chosen.model["exported"])),
        detector,
        chosen.thresholds,
        {key: value for key, value in chosen.model.items() if key != "exported"},  # a path of this machine
    )
    made = made_by("small", **given) | {"started_from": READY if chosen.training_pictures else None}
    with saved_model_export.without_warnings():
        small_export.write_small(source, pictures, target, made, lambda line: print(line, flush=True))
    size = sum(file.stat().st_size for file in target.rglob("*.tflite"))
    print(f"{target}: {size / 1e6:.1f} MB of networks; use it with RUN={name}")
