"""Prove or disprove `make next`: add pictures by its rule and at random, and measure the detector after each addition.

    python -m benchmarks.next_simulation --images workspace/images [--seeds 5] [--rounds 8] [--folder /somewhere/large]

It takes hours: 75 trainings of the classifier with the defaults. It may be stopped at any time; the same call goes on.

A fifth of the pictures is for measuring. Of the others, 50 at random are labelled first, and 50 more in each round:
those that `next_pictures.choose` takes from all that are left, or as many at random. The labels of the left ones are
never looked at. After each round a classifier is trained from ImageNet's weights on what is labelled until then, and
measured as part of the two-stage detector. Both ways begin a seed with the same pictures and the same training. YuNet's
faces are found once for each picture.

    <folder>/<way>/seed0/round0.json    the pictures that are labelled, their faces, and the metrics
    <folder>/next_simulation.json       mean and spread over the seeds, and the differences of the ways, seed by seed
    <folder>/next_simulation.png        mAP@.5 over the number of pictures and over the number of labelled faces
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import supervision as sv
import typer

from facemask.classifier.face_classifier import open_classifier
from facemask.cli.step_process import run_step_process
from facemask.core import charts, command_line
from facemask.core.charts import Line, Panel
from facemask.core.colours import chart_colour
from facemask.core.errors import UserError
from facemask.core.files import write_bytes, write_json
from facemask.core.label_map import LabelMap, read_classes
from facemask.core.provenance import made_by
from facemask.data import make_records
from facemask.data.data_rules import refuse_stopping_findings
from facemask.data.folds import assign_folds
from facemask.data.labelled_picture import LabelledPicture, read_labelled_pictures
from facemask.detect.faces import face_finder
from facemask.detect.faces.box_alignment import AlignedFaces, learn_alignment_from_records
from facemask.detect.faces.face_finder import FaceFinder
from facemask.detect.two_stage import TwoStageDetector
from facemask.evaluation import evaluate
from facemask.labelling import next_pictures
from facemask.media.picture_files import Picture, read_picture

WAYS = ("next", "random")
VAL_PART = 5
"""One labelled picture in this many chooses the epoch, and is not trained on."""


@dataclass(frozen=True)
class RememberedFaces:
    """A `FaceFinder` that remembers the faces of each picture."""

    finder: FaceFinder
    memory: dict[bytes, sv.Detections] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.finder.name

    def find(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        found = []
        for image in images:
            key = hashlib.sha256(image.tobytes()).digest()
            if key not in self.memory:
                [self.memory[key]] = self.finder.find([image])
            found.append(self.memory[key])
        return found


@dataclass(frozen=True)
class Simulation:
    """What stays the same from round to round."""

    images: Path
    folder: Path
    label_map: LabelMap
    pool: dict[str, LabelledPicture]
    held_out: tuple[LabelledPicture, ...]
    faces: RememberedFaces
    first: int
    step: int
    options: dict[str, str]


def main(
    images: Annotated[Path, typer.Option(help="Folder of labelled pictures.")] = Path("workspace/images"),
    folder: Annotated[Path, typer.Option(help="Folder of the rounds.")] = Path("workspace/next_simulation"),
    classes: Annotated[Path | None, typer.Option(help="The class list. Default: configs/classes.txt.")] = None,
    first: Annotated[int, typer.Option(help="Pictures that are labelled first.")] = 50,
    step: Annotated[int, typer.Option(help="Pictures that are added in a round.")] = 50,
    rounds: Annotated[int, typer.Option(help="Trainings for each way and seed.")] = 8,
    seeds: Annotated[int, typer.Option(help="Repetitions with other first pictures.")] = 5,
    weights: Annotated[
        str, typer.Option(help="Weights that the classifier starts from: imagenet or a file.")
    ] = "imagenet",
    epochs: Annotated[int, typer.Option(help="Epochs with the frozen backbone.")] = 4,
    fine_tune_epochs: Annotated[int, typer.Option(help="Epochs after that.")] = 10,
    faces_model: Annotated[Path | None, typer.Option(help="Your own file of YuNet. Default: downloaded.")] = None,
    faces_size: Annotated[int, typer.Option(help="Longer side in pixels for YuNet; 0: its default.")] = 0,
) -> None:
    """Run what is missing, then print the table and write the curve."""
    label_map = read_classes(classes)
    pictures, findings = read_labelled_pictures(images, label_map, 0)
    refuse_stopping_findings(images, [*findings, *(found for picture in pictures for found in picture.findings)])
    usable = [picture for picture in pictures if picture.usable]
    fold_of = assign_folds(usable, 5, 0)
    faces = face_finder.load_face_finder("yunet", face_finder.face_finder_files("yunet", faces_model), faces_size)
    simulation = Simulation(
        images=images,
        folder=folder,
        label_map=label_map,
        pool={picture.name: picture for picture in usable if fold_of[picture.name] != 0},
        held_out=tuple(picture for picture in usable if fold_of[picture.name] == 0),
        faces=RememberedFaces(faces),
        first=first,
        step=step,
        options={
            "weights": weights,
            "epochs": str(epochs),
            "fine_tune_epochs": str(fine_tune_epochs),
            "fine_tune_rate": "0.0005",
            "class_weights": "none",
            "align": "none",
        },
    )
    for seed in range(seeds):
        for way in WAYS:
            run_seed(simulation, way, seed, rounds)
    settings = {"first": first, "step": step, "rounds": rounds, "seeds": seeds, "images": len(usable)}
    report(folder, rounds, seeds, made_by("next_simulation", **settings, **simulation.options))


def run_seed(simulation: Simulation, way: str, seed: int, rounds: int) -> None:
    """Train, measure and choose, round by round; a finished round is read from its file."""
    order = first_order(simulation, seed)
    labelled = order[: simulation.first]
    for number in range(rounds):
        path = simulation.folder / way / f"seed{seed}" / f"round{number}.json"
        twin = simulation.folder / WAYS[0] / f"seed{seed}" / "round0.json"
        left = [name for name in order if name not in set(labelled)]
        if number == 0 and twin.is_file() and not path.is_file():
            write_json(path, json.loads(twin.read_text()) | {"way": way, "added": left[: simulation.step]})
        if path.is_file():
            done = json.loads(path.read_text())
            if done["labelled"] != labelled:
                raise UserError(f"{path}: is of a simulation with other options. Name another --folder.")
            labelled = [*labelled, *done["added"]]
            continue
        detector = train(simulation, labelled, seed, path.with_suffix(""))
        figures = measure(simulation, detector)
        added = choose(simulation, detector, labelled, left) if way == "next" else left[: simulation.step]
        boxes = sum(len(simulation.pool[name].boxes) for name in labelled)
        write_json(path, {"way": way, "labelled": labelled, "boxes": boxes, "added": added, **figures})
        shutil.rmtree(path.with_suffix(""))
        print(f"seed {seed}, {way}, {len(labelled)} pictures: mAP@.5 {figures['map50']:.3f}", flush=True)
        labelled = [*labelled, *added]


def first_order(simulation: Simulation, seed: int) -> list[str]:
    """The pool in a random order, in which the first pictures hold every class often enough for train and val."""
    random = np.random.default_rng(seed)
    for _ in range(1000):
        order = [str(name) for name in random.permutation(sorted(simulation.pool))]
        try:
            assign_folds([simulation.pool[name] for name in order[: simulation.first]], VAL_PART, seed)
        except UserError:
            continue
        return order
    raise UserError(f"--first {simulation.first}: too few for {VAL_PART} pictures of each class. Take more.")


def train(simulation: Simulation, labelled: Sequence[str], seed: int, folder: Path) -> TwoStageDetector:
    """A two-stage detector whose classifier has been trained on the labelled pictures, from the given weights."""
    records, subset = folder / "annotations", folder / "images"
    for name in labelled:
        source = simulation.pool[name].source
        for file in (source.name, source.xml):
            (subset / file).parent.mkdir(parents=True, exist_ok=True)
            if not (subset / file).exists():
                shutil.copyfile(simulation.images / file, subset / file)
    fold_of = assign_folds([simulation.pool[name] for name in labelled], VAL_PART, seed)
    split_of = {name: "val" if fold == 0 else "train" for name, fold in fold_of.items()}
    make_records.make_records(subset, records, simulation.label_map, make_records.RecordOptions(split_of=split_of), 0)
    step = {"run": "classifier", "annotations": records, "seed": seed, **simulation.options}
    step |= {name: folder / name for name in ("models", "exported", "reports")}
    run_step_process("classifier", step)
    alignment = learn_alignment_from_records(simulation.faces, records)
    faces = simulation.faces if alignment is None else AlignedFaces(simulation.faces, alignment)
    return TwoStageDetector(faces, open_classifier(folder / "exported" / "classifier"))


def measure(simulation: Simulation, detector: TwoStageDetector) -> dict[str, Any]:
    """COCO's metrics on the pictures that are held out."""
    truths = [picture.ground_truth(simulation.label_map, n) for n, picture in enumerate(simulation.held_out, start=1)]
    found = [detector.detect_all([read_picture(simulation.images / truth.name)])[0] for truth in truths]
    metrics = evaluate.compute_metrics(truths, found, simulation.label_map, None).coco_metrics
    classes = {one.name: one.ap50 for one in metrics.classes}
    return {"map50": metrics.map50, "map": metrics.map, "ap50": classes}


def choose(
    simulation: Simulation, detector: TwoStageDetector, labelled: Sequence[str], left: Sequence[str]
) -> list[str]:
    """What `make next` would choose of the pictures that are left."""
    pile = [Picture(simulation.images / name, Path(name)) for name in left]
    candidates = list(next_pictures.look_at_pictures(detector, pile))
    there = [simulation.pool[name].perceptual_hash for name in labelled]
    return [left[place] for place in next_pictures.choose(candidates, simulation.step, there)]


def report(folder: Path, rounds: int, seeds: int, made: dict[str, Any]) -> None:
    """Read all rounds, compare the ways seed by seed, and write the JSON and the picture."""
    read = {
        way: [
            [json.loads((folder / way / f"seed{seed}" / f"round{n}.json").read_text()) for n in range(rounds)]
            for seed in range(seeds)
        ]
        for way in WAYS
    }
    pictures = np.array([len(one["labelled"]) for one in read[WAYS[0]][0]])
    map50 = {way: np.array([[one["map50"] for one in seed] for seed in read[way]]) for way in WAYS}
    boxes = {way: np.array([[one["boxes"] for one in seed] for seed in read[way]]) for way in WAYS}
    gain = map50["next"] - map50["random"]
    # The area between the curves, from the second round on: the first is the same.
    mean_gain = gain[:, 1:].mean(axis=1)
    error = mean_gain.std(ddof=1) / np.sqrt(seeds) if seeds > 1 else float("nan")
    print(f"{'pictures':>8}  {'next':>14}  {'random':>14}  {'difference':>14}   faces: next, random")
    for n, count in enumerate(pictures):
        cells = [f"{values[:, n].mean():.3f} ± {values[:, n].std():.3f}" for values in (*map50.values(), gain)]
        faces = ", ".join(f"{boxes[way][:, n].mean():.0f}" for way in WAYS)
        print(f"{count:8}  " + "  ".join(f"{cell:>14}" for cell in cells) + f"   {faces}")
    print(f"mean gain of next over random: {mean_gain.mean():+.4f}, standard error over {seeds} seeds {error:.4f}")
    summary = {
        "format": 1,
        "pictures": pictures.tolist(),
        "map50": {way: values.tolist() for way, values in map50.items()},
        "boxes": {way: values.tolist() for way, values in boxes.items()},
        "mean_gain": mean_gain.tolist(),
        "made": made,
    }
    write_json(folder / "next_simulation.json", summary)
    panels = [
        Panel(
            title,
            tuple(Line(way, x[way], map50[way].mean(axis=0), chart_colour(n)) for n, way in enumerate(WAYS)),
            x_label=x_label,
        )
        for title, x_label, x in (
            ("mAP@.5", "labelled pictures", {way: pictures.astype(float) for way in WAYS}),
            ("mAP@.5 ", "labelled faces", {way: values.mean(axis=0) for way, values in boxes.items()}),
        )
    ]
    write_bytes(folder / "next_simulation.png", charts.panels_png(panels))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    command_line.run_command(typer.main.get_command(app))
