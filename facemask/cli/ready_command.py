"""Make the detector that comes with facemask, from exports and their reports."""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from facemask.cli import options


def main(
    run: Annotated[str, typer.Option(help="Name of the exported detector. Empty: it stays.")] = "",
    classifier: Annotated[
        str,
        typer.Option(
            help="Names of the exported classifiers, separated by commas: as many as the reports average. ready-fast "
            "and WEIGHTS=ready take the first. Empty: they stay."
        ),
    ] = "",
    faces: Annotated[str, typer.Option(help="Name of the exported face detector. Empty: it stays.")] = "",
    report: Annotated[
        str,
        typer.Option(
            help="Name of the report of RUN=ready: what it is, its thresholds and its figures. Empty: they stay."
        ),
    ] = "",
    fast_report: Annotated[str, typer.Option(help="Name of the report of RUN=ready-fast. Empty: it stays.")] = "",
    ssd_report: Annotated[str, typer.Option(help="Name of the report of RUN=ready-ssd. Empty: it stays.")] = "",
    yunet: Annotated[Path | None, typer.Option(help="YuNet's network as it was published. Default: it stays.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write. Default: facemask/ready.", show_default=False)
    ] = None,
    annotations: options.Annotations = options.ANNOTATIONS,
    exported: options.Exported = options.EXPORTED,
    reports: options.Reports = options.REPORTS,
) -> None:
    """Write facemask/ready/ from an exported detector, a classifier, a face detector and their reports."""
    given = dict(locals())
    from PIL import Image

    from facemask.classifier import classifier_network, face_classifier
    from facemask.core import exported_model
    from facemask.core.errors import UserError
    from facemask.core.provenance import made_by
    from facemask.core.run_names import run_folder
    from facemask.data import ground_truth
    from facemask.data.perceptual_hash import perceptual_hash
    from facemask.detect.faces.yunet import TRAINED
    from facemask.evaluation import evaluate, evaluated_pictures
    from facemask.export import ready_folder
    from facemask.ready import shipped_detector
    from facemask.tfod import compact_checkpoint, pipeline_config, saved_model_export

    folder = out or shipped_detector.FOLDER
    detector = exported_model.read_exported_model(run_folder(exported, run)) if run else None
    classifiers = face_classifier.read_classifiers(exported, classifier) if classifier else []
    network = run_folder(exported, faces, "FACES") / TRAINED if faces else None
    if network is not None and not network.is_file():
        raise UserError(f"{network}: no such file. `make faces RUN={faces}` writes it.")
    forms = dict(zip(shipped_detector.FORMS, (report, fast_report, ssd_report), strict=True))
    evaluations = {
        form: evaluate.read_evaluation(run_folder(reports, name, "REPORT")) for form, name in forms.items() if name
    }
    print("reading the training pictures", flush=True)
    hashes, compared = [], []
    for number, (image, _) in enumerate(ground_truth.read_records(annotations, "train")):
        hashes.append(perceptual_hash(Image.fromarray(image)))
        if number % 32 == 0:
            compared.append(image)
    with tempfile.TemporaryDirectory() as scratch:
        weights = {}
        if detector is not None:
            weights["detector"] = Path(scratch) / "detector.npz"
            compact_checkpoint.write_compact_checkpoint(
                saved_model_export.checkpoint_of(detector),
                weights["detector"],
                {
                    "model": detector.model,
                    "size": detector.width,
                    "anchor_scale": pipeline_config.anchor_scale_of(
                        pipeline_config.read_config(detector.folder / "pipeline.config")
                    ),
                    "classes": list(detector.label_map.names),
                },
                kernels_in_8_bits=False,
            )
        if classifiers:
            first = classifiers[0]
            weights["classifier"] = Path(scratch) / "classifier.npz"
            compact_checkpoint.write_compact_checkpoint(
                classifier_network.write_checkpoint(first, Path(scratch) / "classifier"),
                weights["classifier"],
                {"backbone": first.backbone, "size": first.size, "classes": list(first.label_map.names)},
                kernels_in_8_bits=True,
            )
        best = evaluations.get(shipped_detector.FORMS[0])
        held_out = (
            evaluated_pictures.read_pictures(
                evaluated_pictures.source_from_json(best.metrics["source"]), best.label_map
            )
            if best
            else ()
        )
        sources = ready_folder.Sources(
            detector.folder if detector else None,
            [one.folder for one in classifiers],
            yunet,
            network,
            evaluations,
            held_out,
            hashes,
            weights,
        )
        made = made_by(
            "ready", **{name: value for name, value in given.items() if value and not isinstance(value, Path)}
        )
        written = ready_folder.write_ready(sources, folder, compared, made)
    value = json.loads(written.read_text(encoding="utf-8"))
    sizes = {part: sum(one["bytes"] for one in value[part].values()) for part in ("files", "training_weights")}
    print(f"{written}: {sizes['files'] / 1e6:.1f} MB, and {sizes['training_weights'] / 1e6:.1f} MB to train on")
