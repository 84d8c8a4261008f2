"""Fine-tune YuNet, the face detector of two stages, measure it and export it."""

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from facemask.cli import options
from facemask.core.errors import UserError


class Freeze(str, Enum):
    """The part of the network that is not trained."""

    NONE = "none"
    EARLY = "early"


def main(
    run: options.ResumedRun = "faces",
    annotations: options.Annotations = options.ANNOTATIONS,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="YuNet's network (.onnx) to start from, or ready (that which comes with facemask, trained on faces "
            "with masks). Default: the published one."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Number of steps; the learning rate falls to 0 there.", min=1)] = 1200,
    batch: Annotated[int, typer.Option(help="Views of pictures in a step.", min=1)] = 8,
    side: Annotated[int, typer.Option(help="Side of a view in pixels, a multiple of 32.", min=64)] = 512,
    smallest: Annotated[
        int, typer.Option(help="Least pixels that a picture's longer side is scaled to, at random.", min=64)
    ] = 320,
    largest: Annotated[
        int, typer.Option(help="Most pixels that a picture's longer side is scaled to, at random.", min=64)
    ] = 1280,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate.", min=0)] = 0.0005,
    freeze: Annotated[
        Freeze,
        typer.Option(
            help='"early" does not train the layers before the first pooling, which makes a step a third shorter.'
        ),
    ] = Freeze.EARLY,
    mirror: Annotated[
        float,
        typer.Option(
            help="Share of mirrored views. With 0, the network learns it if all labels lie a little to one side.",
            min=0,
            max=1,
        ),
    ] = 0.5,
    faces_size: Annotated[
        int, typer.Option(help="Longer side in pixels to which pictures are scaled for the measurements.", min=32)
    ] = 960,
    seed: options.Seed = options.SEED,
    fresh: options.Fresh = False,
    models: options.Models = options.MODELS,
    exported: options.Exported = options.EXPORTED,
) -> None:
    """Train a face detector in <models>/<run>/ and export it to <exported>/<run>/yunet.onnx."""
    given = {name: value.value if isinstance(value, Enum) else value for name, value in locals().items()}
    from facemask.core.files import holding_lock, sha256
    from facemask.core.provenance import READY, made_by, started_from
    from facemask.core.run_names import refuse_another_kind, run_folder
    from facemask.detect.faces import face_finder, yunet
    from facemask.evaluation import seen_pictures
    from facemask.face_training import face_export, face_training, yunet_network
    from facemask.ready import shipped_detector

    if side % 32:
        raise UserError(f"SIDE={side}: must be a multiple of 32, the largest cell of YuNet's grids.")
    if smallest > largest:
        raise UserError(f"SMALLEST={smallest}: must not be more than LARGEST={largest}.")
    folder, target = run_folder(models, run), run_folder(exported, run)
    refuse_another_kind(target, face_export.NAME, "the face detector another name: RUN=")
    [start] = face_finder.face_finder_files("yunet", weights)
    yunet_network.read_onnx(start)
    pictures = face_training.read_face_pictures(annotations)
    shipped = shipped_detector.FOLDER / shipped_detector.FACES
    began = started_from(start)
    if shipped.is_file() and sha256(shipped) == sha256(start):
        began = READY
        learned = shipped_detector.open_shipped().training_pictures
        seen_pictures.warn_of_start(f"WEIGHTS={weights}", annotations, learned)
    settings = face_training.Settings(steps, batch, side, smallest, largest, learning_rate, freeze.value, mirror, seed)
    with holding_lock(
        folder.with_name(f".{folder.name}.lock"), f"{folder}: another `make faces` uses it. Wait until that ends."
    ):
        made = made_by("faces", **given) | {"started_from": began}
        face_training.prepare_face_run(folder, settings, pictures, sha256(start), made, fresh=fresh)
        print(f"{len(pictures.truths)} pictures of train", flush=True)
        outcome = face_training.train_faces(folder, settings, pictures, start)
        if outcome.signal is not None:
            print(f"{folder}: stopped; the same command continues")
            sys.exit(outcome.exit_code)
        measured = face_export.export_faces(start, outcome.weights, faces_size, annotations, target, made)
    for split, both in measured.items():
        for when, metrics in both.items():
            print(f"{split}, {when}: {metrics}")
    network = target / yunet.TRAINED
    print(f"{network}: written; use it with DETECTOR=two_stage FACES_MODEL={network}")
