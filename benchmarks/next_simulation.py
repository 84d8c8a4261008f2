"""Prove or disprove `make next`: add pictures by its rule and at random, and measure the detector after each addition.

    python -m benchmarks.next_simulation --images workspace/images --weights mobilenet_v2.h5 [--folder /somewhere/else]

It may be stopped at any time; the same call goes on after the last finished round. `--ways` adds other rules later.
Other options need another folder.

A fifth of the pictures is for measuring. Of the others, 50 at random are labelled first, and 50 more in each round:
those that `next_pictures.choose` takes from all that are left, or as many at random. The labels of the left ones are
never looked at. After each addition the upper part of a MobileNetV2 is trained from ImageNet's weights on what is
labelled until then, and measured as part of the two-stage detector. All ways begin a seed with the same training.

To be cheap, what does not change is computed once: YuNet's faces, their alignment (on all labels but those held out),
and what the lower part of MobileNetV2 makes of them. Trainings are short. So the figures compare the ways, and are
below those of `make classifier`.

    <folder>/features.npz               the faces of all pictures and their features
    <folder>/<way>/seed0/round0.json    the pictures that are labelled, their faces, and the metrics
    <folder>/next_simulation.json       the metrics of all, and the gains over random for each seed
    <folder>/next_simulation.png        mAP@.5 over the number of pictures and over the number of labelled faces
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import supervision as sv
import typer

from facemask.classifier.classifier_network import build_network, find_weights
from facemask.classifier.classifier_training import learning_rate_at
from facemask.classifier.face_augmentation import AUGMENTATIONS
from facemask.classifier.face_crops import cut_faces
from facemask.core import charts, command_line
from facemask.core.charts import Line, Panel
from facemask.core.colours import chart_colour
from facemask.core.errors import UserError
from facemask.core.files import replacing_file, write_bytes, write_json
from facemask.core.label_map import LabelMap, read_classes
from facemask.core.provenance import made_by
from facemask.data.data_rules import refuse_stopping_findings
from facemask.data.folds import assign_folds
from facemask.data.images import read_image
from facemask.data.labelled_picture import GroundTruth, LabelledPicture, read_labelled_pictures
from facemask.detect.faces import face_finder
from facemask.detect.faces.box_alignment import learn_alignment
from facemask.detect.faces.face_finder import FaceFinder
from facemask.detect.two_stage import scored_faces
from facemask.evaluation import evaluate
from facemask.labelling import next_pictures
from facemask.labelling.picture_worth import face_scores, face_uncertainty, uncertainty

SIZE, MARGIN, BATCH = 96, 0.1, 32
"""The defaults of `make classifier`."""
FROZEN = "block_12_add"
"""The output of MobileNetV2 up to which it stays as ImageNet has made it: 6 x 6 x 96 numbers a face."""
VERSIONS = 6
"""Augmented versions of each labelled face."""
HEAD_RATE, ALL_RATE = 0.001, 0.0005
HEAD_PART = 0.2
"""The part of the steps in which only the head is trained."""
LEAST = 2
"""Pictures of each class among those that are labelled first."""

Worth = Callable[[sv.Detections, np.ndarray], float]
"""What a picture is worth, of its detections and the labelled faces of each class, (K) int."""


def _mean(found: sv.Detections, counts: np.ndarray) -> float:
    each = [face_uncertainty(scores) for scores in face_scores(found, len(counts))]
    return float(np.mean(each)) if each else 0.0


def _rarest(found: sv.Detections, counts: np.ndarray) -> float:
    return max((float(scores[counts.argmin()]) for scores in face_scores(found, len(counts))), default=0.0)


WAYS: dict[str, Worth | None] = {
    "next": lambda found, counts: uncertainty(found, len(counts)),
    "random": None,
    "mean": _mean,
    "rarest": _rarest,
}
"""How to add pictures: by the rule of `make next`; at random; by the mean over the faces of what `make next` adds up;
by the highest score of the class that has the fewest labels."""


@dataclass(frozen=True)
class SimulatedPicture:
    """What stays the same of a picture.

    Attributes:
        truth: Its labels.
        faces: YuNet's faces.
        hash: Its perceptual hash.
        found: (n, 6, 6, 96) float16, the features of these faces.
        labelled: (m, VERSIONS, 6, 6, 96) float16, those of the labelled faces.
    """

    truth: GroundTruth
    faces: sv.Detections
    hash: int
    found: np.ndarray
    labelled: np.ndarray


@dataclass(frozen=True)
class Rated:
    """What `next_pictures.choose` needs of a picture."""

    worth: float
    hash: int
    time: float = 0.0


class Trainer:
    """Trains the upper part of one network again and again from the same weights. Its functions are traced once."""

    def __init__(self, weights: Path | None, classes: int, epochs: int, least_steps: int) -> None:
        whole = build_network("mobilenet_v2", SIZE, classes, dropout=0.2, weights=weights)
        import tensorflow as tf
        import tf_keras

        cut = whole.backbone.get_layer(FROZEN).output
        lower = tf_keras.Model(whole.backbone.input, cut)
        self._network = replace(whole, backbone=tf_keras.Model(cut, whole.backbone.output), prepare=lambda given: given)
        self._epochs, self._least_steps = epochs, least_steps
        self._start = self._network.backbone.get_weights()
        variables = (self._network.head_variables, self._network.variables)
        self._optimizers = [tf_keras.optimizers.Adam() for _ in variables]
        for optimizer, some in zip(self._optimizers, variables, strict=True):
            optimizer.build(some)

        def trained(optimizer: Any, some: Sequence[Any]) -> Any:
            @tf.function  # type: ignore[untyped-decorator]
            def step(features: Any, labels: Any, seed: Any) -> None:
                with tf.GradientTape() as tape:
                    logits = self._network.logits(tf.cast(features, tf.float32), dropout_seed=seed)
                    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                    loss = tf.reduce_mean(losses)
                optimizer.apply_gradients(zip(tape.gradient(loss, some), some, strict=True))

            return step

        self._functions = [trained(*pair) for pair in zip(self._optimizers, variables, strict=True)]
        self._lower = tf.function(lambda crops: tf.cast(lower(whole.prepare(crops)), tf.float16), reduce_retracing=True)
        self._augment = tf.function(AUGMENTATIONS["strong"], reduce_retracing=True)
        self._predict = tf.function(
            lambda features: tf.nn.softmax(self._network.logits(tf.cast(features, tf.float32))), reduce_retracing=True
        )

    def features(self, crops: np.ndarray, seed: int | None = None) -> np.ndarray:
        """The features, (n, 6, 6, 96) float16, of (n, size, size, 3) uint8 faces; with a seed of augmented ones."""
        import tensorflow as tf

        if not len(crops):
            return np.zeros((0, *self._network.backbone.input_shape[1:]), np.float16)
        pictures = tf.constant(crops, tf.float32)
        if seed is not None:
            pictures = self._augment(pictures, tf.constant([seed, 0], tf.int64))
        return np.asarray(self._lower(pictures))

    def train(self, labelled: np.ndarray, labels: np.ndarray, seed: int) -> None:
        """Train on (n, VERSIONS, 6, 6, 96) features of faces and their (n) labels from 0."""
        import tensorflow as tf

        random = np.random.default_rng(seed)
        self._network.backbone.set_weights(self._start)
        for variable in self._network.head_variables:
            limit = np.sqrt(6 / sum(variable.shape)) if len(variable.shape) == 2 else 0.0
            variable.assign(random.uniform(-limit, limit, variable.shape))
        for optimizer in self._optimizers:
            for variable in optimizer.variables:
                variable.assign(tf.zeros_like(variable))
        steps = max(self._least_steps, self._epochs * len(labels) // BATCH)
        order = np.concatenate([random.permutation(len(labels)) for _ in range(-(-steps * BATCH // len(labels)))])
        first = round(HEAD_PART * steps)
        for number, chosen in enumerate(order[: steps * BATCH].reshape(steps, BATCH)):
            phase = 0 if number < first else 1
            at, of, rate = (number, first, HEAD_RATE) if phase == 0 else (number - first, steps - first, ALL_RATE)
            self._optimizers[phase].learning_rate = learning_rate_at(at, of, rate)
            batch = labelled[chosen, random.integers(VERSIONS, size=BATCH)]
            seeds = tf.constant([seed, number], tf.int64)
            self._functions[phase](tf.constant(batch), tf.constant(labels[chosen]), seeds)

    def detect(self, pictures: Sequence[SimulatedPicture], label_map: LabelMap) -> list[sv.Detections]:
        """What the two-stage detector with this network gives for each picture."""
        import tensorflow as tf

        features = np.concatenate([one.found for one in pictures])
        parts = [
            self._predict(tf.constant(part)).numpy() for part in np.split(features, range(256, len(features), 256))
        ]
        ends = np.cumsum([len(one.found) for one in pictures])[:-1]
        rows = np.split(np.concatenate(parts), ends)
        return [scored_faces(one.faces, row, label_map) for one, row in zip(pictures, rows, strict=True)]


@dataclass(frozen=True)
class Simulation:
    """What stays the same from round to round."""

    folder: Path
    label_map: LabelMap
    pool: dict[str, SimulatedPicture]
    held_out: tuple[SimulatedPicture, ...]
    trainer: Trainer
    first: int
    step: int


def main(
    images: Annotated[Path, typer.Option(help="Folder of labelled pictures.")] = Path("workspace/images"),
    folder: Annotated[Path, typer.Option(help="Folder of the rounds.")] = Path("workspace/next_simulation"),
    classes: Annotated[Path | None, typer.Option(help="The class list. Default: configs/classes.txt.")] = None,
    first: Annotated[int, typer.Option(help="Pictures that are labelled first.")] = 50,
    step: Annotated[int, typer.Option(help="Pictures that are added in a round.")] = 50,
    rounds: Annotated[int, typer.Option(help="Trainings for each way and seed.")] = 5,
    seeds: Annotated[int, typer.Option(help="Repetitions with other first pictures.")] = 5,
    ways: Annotated[str, typer.Option(help=f"Ways to add pictures, of {', '.join(WAYS)}.")] = ",".join(WAYS),
    epochs: Annotated[int, typer.Option(help="How often a training sees each labelled face.")] = 8,
    least_steps: Annotated[int, typer.Option(help="Steps of a training at least.")] = 160,
    weights: Annotated[
        str, typer.Option(help="Weights that the classifier starts from: imagenet or a file.")
    ] = "imagenet",
    faces_model: Annotated[Path | None, typer.Option(help="Your own file of YuNet. Default: that of facemask.")] = None,
) -> None:
    """Run what is missing, then print the table and write the curve."""
    label_map = read_classes(classes)
    pictures, findings = read_labelled_pictures(images, label_map, 0)
    refuse_stopping_findings(images, [*findings, *(found for picture in pictures for found in picture.findings)])
    usable = [picture for picture in pictures if picture.usable]
    fold_of = assign_folds(usable, 5, 0)
    pool = [picture for picture in usable if fold_of[picture.name] != 0]
    finder = face_finder.load_face_finder("yunet", face_finder.face_finder_files("yunet", faces_model))
    trainer = Trainer(find_weights(weights, "mobilenet_v2", SIZE), len(label_map), epochs, least_steps)
    known = read_pictures(images, usable, {one.name for one in pool}, label_map, finder, trainer, folder)
    simulation = Simulation(
        folder=folder,
        label_map=label_map,
        pool={one.name: known[one.name] for one in pool},
        held_out=tuple(one for name, one in known.items() if fold_of[name] == 0),
        trainer=trainer,
        first=first,
        step=step,
    )
    names = ways.split(",")
    for seed in range(seeds):
        run_seed(simulation, names, seed, rounds)
    settings = {
        "first": first,
        "added": step,
        "rounds": rounds,
        "seeds": seeds,
        "epochs": epochs,
        "least_steps": least_steps,
        "weights": weights,
    }
    report(folder, names, rounds, seeds, made_by("next_simulation", **settings, ways=ways, images=len(usable)))


def read_pictures(
    images: Path,
    usable: Sequence[LabelledPicture],
    pool: Collection[str],
    label_map: LabelMap,
    finder: FaceFinder,
    trainer: Trainer,
    folder: Path,
) -> dict[str, SimulatedPicture]:
    """Find and cut out the faces of all pictures, and compute their features; or read what an earlier call found."""
    path = folder / "features.npz"
    truths = [picture.ground_truth(label_map, number) for number, picture in enumerate(usable, start=1)]
    digest = hashlib.sha256("".join(one.image_sha256 + one.xml_sha256 for one in usable).encode()).hexdigest()
    if path.is_file():
        with np.load(path) as stored:
            if str(stored["digest"]) != digest:
                raise UserError(f"{path}: is of other pictures. Name another --folder.")
            ends = np.cumsum(stored["counts"])[:-1]
            xyxy, scores, found = (np.split(stored[name], ends) for name in ("xyxy", "scores", "found"))
            labelled = np.split(stored["labelled"], np.cumsum([len(one.boxes) for one in truths])[:-1])
    else:
        faces = [finder.find([read_image(images / one.name)])[0] for one in usable]
        pairs = zip(faces, truths, strict=True)
        alignment = learn_alignment((one.xyxy, true.boxes) for one, true in pairs if true.name in pool)
        assert alignment is not None
        print(f"found the faces of {len(usable):,} pictures: {alignment}", flush=True)
        xyxy, scores, found, labelled = [], [], [], []
        for number, (one, true) in enumerate(zip(faces, truths, strict=True)):
            image = read_image(images / true.name)
            boxes = np.clip(alignment.apply(one.xyxy), 0, [true.width, true.height] * 2)
            keep = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)
            xyxy.append(boxes[keep])
            scores.append(one.confidence[keep])
            found.append(trainer.features(cut_faces(image, xyxy[-1], MARGIN, SIZE)))
            crops = cut_faces(image, true.boxes, MARGIN, SIZE)
            versions = [trainer.features(crops, number * VERSIONS + version) for version in range(VERSIONS)]
            labelled.append(np.stack(versions, axis=1))
        path.parent.mkdir(parents=True, exist_ok=True)
        parts = {"xyxy": xyxy, "scores": scores, "found": found, "labelled": labelled}
        joined = {name: np.concatenate(part) for name, part in parts.items()}
        with replacing_file(path) as beside, beside.open("wb") as file:
            np.savez(file, **joined, digest=np.array(digest), counts=np.array([len(one) for one in xyxy]))  # type: ignore[arg-type]
        print(f"computed their features: {path}", flush=True)
    return {
        true.name: SimulatedPicture(true, sv.Detections(xyxy=boxes, confidence=score), one.perceptual_hash, here, there)
        for true, one, boxes, score, here, there in zip(truths, usable, xyxy, scores, found, labelled, strict=True)
    }


def run_seed(simulation: Simulation, ways: Sequence[str], seed: int, rounds: int) -> None:
    """Train, measure and choose, round by round; a finished round is read from its file. All ways share the first."""
    order = first_order(simulation, seed)
    paths = {way: simulation.folder / way / f"seed{seed}" for way in ways}
    together = {way: path / "round0.json" for way, path in paths.items()}
    run_round(simulation, together, order, order[: simulation.first], seed)
    for way, path in paths.items():
        labelled = order[: simulation.first]
        for number in range(1, rounds):
            done = json.loads((path / f"round{number - 1}.json").read_text())
            if done["labelled"] != labelled:
                raise UserError(f"{path}: is of a simulation with other options. Name another --folder.")
            labelled = [*labelled, *done["added"]]
            run_round(simulation, {way: path / f"round{number}.json"}, order, labelled, seed)


def run_round(
    simulation: Simulation, paths: Mapping[str, Path], order: Sequence[str], labelled: Sequence[str], seed: int
) -> None:
    """Train on the labelled pictures and measure; then choose in each of the ways, and write its file."""
    missing = {way: path for way, path in paths.items() if not path.is_file()}
    if not missing:
        return
    pictures = [simulation.pool[name] for name in labelled]
    labels = np.concatenate([one.truth.class_ids for one in pictures]) - 1
    simulation.trainer.train(np.concatenate([one.labelled for one in pictures]), labels, seed)
    figures = measure(simulation)
    left = [name for name in order if name not in set(labelled)]
    for way, path in missing.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        added = choose(simulation, way, labelled, left)
        write_json(path, {"way": way, "labelled": list(labelled), "boxes": len(labels), "added": added, **figures})
        print(f"{path}: {len(labelled)} pictures, {len(labels)} faces, mAP@.5 {figures['map50']:.3f}", flush=True)


def first_order(simulation: Simulation, seed: int) -> list[str]:
    """The pool in a random order, in which the first pictures hold every class."""
    random = np.random.default_rng(seed)
    for _ in range(1000):
        order = [str(name) for name in random.permutation(sorted(simulation.pool))]
        first = [simulation.pool[name].truth for name in order[: simulation.first]]
        counts = Counter(int(one) for truth in first for one in set(truth.class_ids))
        if len(counts) == len(simulation.label_map) and min(counts.values()) >= LEAST:
            return order
    raise UserError(f"--first {simulation.first}: too few for {LEAST} pictures of each class. Take more.")


def measure(simulation: Simulation) -> dict[str, Any]:
    """COCO's metrics on the pictures that are held out."""
    found = simulation.trainer.detect(simulation.held_out, simulation.label_map)
    truths = [one.truth for one in simulation.held_out]
    metrics = evaluate.compute_metrics(truths, found, simulation.label_map, None).coco_metrics
    return {"map50": metrics.map50, "map": metrics.map, "ap50": {one.name: one.ap50 for one in metrics.classes}}


def choose(simulation: Simulation, way: str, labelled: Sequence[str], left: Sequence[str]) -> list[str]:
    """The pictures to add, of those that are left."""
    worth = WAYS[way]
    if worth is None:
        return list(left[: simulation.step])
    found = simulation.trainer.detect([simulation.pool[name] for name in left], simulation.label_map)
    ids = np.concatenate([simulation.pool[name].truth.class_ids for name in labelled])
    counts = np.bincount(ids - 1, minlength=len(simulation.label_map))
    rated = [Rated(worth(one, counts), simulation.pool[name].hash) for name, one in zip(left, found, strict=True)]
    there = [simulation.pool[name].hash for name in labelled]
    return [left[place] for place in next_pictures.choose(rated, simulation.step, there)]


def report(folder: Path, ways: Sequence[str], rounds: int, seeds: int, made: dict[str, Any]) -> None:
    """Read all rounds, compare the ways with random seed by seed, and write the JSON and the picture."""
    read = {
        way: [
            [json.loads((folder / way / f"seed{seed}" / f"round{n}.json").read_text()) for n in range(rounds)]
            for seed in range(seeds)
        ]
        for way in ways
    }
    pictures = np.array([len(one["labelled"]) for one in read[ways[0]][0]])
    map50 = {way: np.array([[one["map50"] for one in seed] for seed in read[way]]) for way in ways}
    boxes = {way: np.array([[one["boxes"] for one in seed] for seed in read[way]]) for way in ways}
    print(f"{'pictures':>8}  " + "  ".join(f"{way:>20}" for way in ways))
    for n, count in enumerate(pictures):
        cells = [f"{map50[w][:, n].mean():.3f} ± {map50[w][:, n].std():.3f} {boxes[w][:, n].mean():6.0f}" for w in ways]
        print(f"{count:8}  " + "  ".join(f"{cell:>20}" for cell in cells))
    print("mAP@.5, its standard deviation over the seeds, labelled faces")
    gains = {}
    for way in ways:
        if way == "random" or "random" not in ways:
            continue
        # With as many pictures from the second round on, as the first is the same; with as many faces as both reach.
        by_picture = (map50[way] - map50["random"])[:, 1:].mean(axis=1)
        by_face = np.zeros(seeds)
        for seed in range(seeds):
            faces = np.linspace(boxes[way][seed, 0], min(boxes[way][seed, -1], boxes["random"][seed, -1]), 100)
            mine, theirs = (np.interp(faces, boxes[one][seed], map50[one][seed]) for one in (way, "random"))
            by_face[seed] = (mine - theirs).mean()
        gains[way] = {"by_picture": by_picture.tolist(), "by_face": by_face.tolist()}
        for what, gain in (("pictures", by_picture), ("faces", by_face)):
            error = gain.std(ddof=1) / np.sqrt(seeds) if seeds > 1 else float("nan")
            each = " ".join(f"{one:+.3f}" for one in gain)
            print(f"{way} against random, with as many {what}: {gain.mean():+.3f}, standard error {error:.3f} ({each})")
    summary = {
        "format": 1,
        "pictures": pictures.tolist(),
        "map50": {way: values.tolist() for way, values in map50.items()},
        "boxes": {way: values.tolist() for way, values in boxes.items()},
        "gains": gains,
        "made": made,
    }
    write_json(folder / "next_simulation.json", summary)
    panels = [
        Panel(
            f"mAP@.5 over labelled {x_label}",
            tuple(Line(way, x[way], map50[way].mean(axis=0), chart_colour(n)) for n, way in enumerate(ways)),
            x_label=x_label,
        )
        for x_label, x in (
            ("pictures", {way: pictures.astype(float) for way in ways}),
            ("faces", {way: values.mean(axis=0) for way, values in boxes.items()}),
        )
    ]
    write_bytes(folder / "next_simulation.png", charts.panels_png(panels))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    command_line.run_command(typer.main.get_command(app))
