"""Fine-tune YuNet on labelled pictures, so that it finds faces with masks and draws their boxes as the labels do.

A run's folder, `workspace/models/<RUN>`:

faces.json            the run's `Settings`, the digest of its records, and its provenance
checkpoint, ckpt-N.*  the latest checkpoint; N is the step

Each step depends on the seed and its number alone, so a resumed run ends with the same result as an uninterrupted one.
"""

import dataclasses
import math
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facemask.classifier.classifier_training import learning_rate_at
from facemask.core import json_files, signals
from facemask.core.errors import UserError
from facemask.core.files import write_json
from facemask.core.progress import Progress
from facemask.core.run_names import refuse_another_kind
from facemask.core.run_settings import changed_settings, refuse_to_continue
from facemask.data import ground_truth, images, manifest
from facemask.data.labelled_picture import GroundTruth
from facemask.detect.faces.yunet import STRIDES
from facemask.face_training import yunet_network
from facemask.face_training.face_assignment import grid_cells
from facemask.face_training.face_loss import choose_targets, decode_boxes, face_loss
from facemask.face_training.face_views import View, random_view

FORMAT = 1
NAME = "faces.json"
SAVE_SECONDS = 120.0
LARGEST_GRADIENT = 10.0
"""The norm to which larger gradients of all weights together are cut."""
AVERAGE = 0.99
"""The decay of the averaged weights, which the run exports. It is lower in the first steps."""


@dataclass(frozen=True)
class Settings:
    """How a face detector is trained.

    Attributes:
        steps: Number of steps.
        batch: Views in a step.
        side: Side of a view in pixels, a multiple of 32.
        smallest: The least pixels that a picture's longer side is scaled to.
        largest: The most pixels that a picture's longer side is scaled to.
        learning_rate: The highest learning rate.
        freeze: "early": the layers before the first pooling are not trained; "none": all are.
        mirror: The share of views that are mirrored, 0..1.
        seed: The random seed.
    """

    steps: int
    batch: int
    side: int
    smallest: int
    largest: int
    learning_rate: float
    freeze: str
    mirror: float
    seed: int


@dataclass(frozen=True)
class FacePictures:
    """The pictures of the train split, encoded, in memory.

    Attributes:
        truths: Their labelled boxes.
        encoded: The bytes of their files.
        digest: The digest of the records.
    """

    truths: tuple[GroundTruth, ...]
    encoded: tuple[bytes, ...]
    digest: str

    def view(self, settings: Settings, random: np.random.Generator) -> View:
        """A random view of a random picture."""
        index = int(random.integers(len(self.truths)))
        truth = self.truths[index]
        longer_sides = settings.smallest, settings.largest
        image = images.decode_image(self.encoded[index])
        return random_view(
            image, truth.boxes, truth.difficult, settings.side, longer_sides, random, mirror=settings.mirror
        )


def read_face_pictures(annotations: Path) -> FacePictures:
    """Read the train split of the records. A picture that it repeats is read once.

    Raises:
        UserError: The records are missing or damaged, or hold no face.
    """
    pictures = list(ground_truth.read_encoded_records(annotations, "train"))
    if not any((~truth.difficult).any() for _, truth in pictures):
        raise UserError(f"{annotations}: train has no labelled face. Label pictures, then run `make records`.")
    encoded, truths = zip(*pictures, strict=True)
    return FacePictures(truths, encoded, manifest.read_manifest(annotations).digest)


@dataclass(frozen=True)
class Outcome:
    """The result of training.

    Attributes:
        weights: The averaged weights, as `yunet_network.read_weights` names and shapes them.
        signal: The signal that stopped it, or None.
    """

    weights: dict[str, np.ndarray]
    signal: int | None

    @property
    def exit_code(self) -> int:
        """0, or the exit code for the signal."""
        return 0 if self.signal is None else signals.exit_code(self.signal)


def prepare_face_run(
    folder: Path, settings: Settings, pictures: FacePictures, start: str, made: dict[str, Any], *, fresh: bool
) -> None:
    """Write a run's folder, or check that the run there can continue with these settings and pictures.

    Args:
        folder: The run's folder.
        settings: The settings.
        pictures: The pictures.
        start: SHA-256 of the file of the first weights.
        made: The provenance, from `provenance.made_by`.
        fresh: Remove the run there, and start over.

    Raises:
        UserError: The folder holds something else than a face detector's run, or a run of other settings or pictures.
    """
    path = folder / NAME
    this: dict[str, Any] = {"settings": dataclasses.asdict(settings), "records_digest": pictures.digest, "start": start}
    refuse_another_kind(folder, NAME, "the face detector another name: RUN=")
    if fresh and folder.exists():
        shutil.rmtree(folder)
    elif (folder / "checkpoint").exists():
        with json_files.reading_json(path, FORMAT, step="faces", absent="", again="FRESH=1 starts over.") as before:
            changes = changed_settings(before["settings"], this["settings"])
            changes += [f"{name}: changed" for name in ("records_digest", "start") if before[name] != this[name]]
        refuse_to_continue(folder, changes)
    write_json(path, {"format": FORMAT, **this, "made": made})


def train_faces(
    folder: Path, settings: Settings, pictures: FacePictures, start: Path, *, deterministic: bool = True
) -> Outcome:
    """Train the run in a folder that `prepare_face_run` has written. Continue from its checkpoint if it has one.

    Args:
        folder: The run's folder.
        settings: The run's settings.
        pictures: The pictures.
        start: The file of the first weights (.onnx).
        deterministic: Make every TensorFlow op deterministic, for the rest of the process.

    Raises:
        UserError: The loss is not finite, or the file is not YuNet's network.
    """
    with signals.listening_for_signals() as stop, Progress(settings.steps, settings.batch) as progress:
        progress.phase("building the network")
        run = _Run(folder, settings, pictures, start, deterministic)
        if run.done >= settings.steps:
            progress.print_line(f"{folder} has its {settings.steps} steps: FRESH=1 starts over")
        elif run.done:
            progress.print_line(f"continuing at step {run.done} of {settings.steps}")
        progress.phase("tracing the first step")
        with ThreadPoolExecutor(1) as worker:
            coming = worker.submit(run.views, run.done)
            while run.done < settings.steps:
                views = coming.result()
                coming = worker.submit(run.views, run.done + 1)
                loss, rate = run.advance(views)
                stop.nothing_to_save = False
                if not math.isfinite(loss):
                    raise UserError(
                        f"{folder}: the loss is {loss} at step {run.done}, so training stops. A third of the "
                        "LEARNING_RATE often helps; FRESH=1 starts over."
                    )
                progress.step(run.done, {"total_loss": loss}, rate)
                if stop.signal is not None or run.done == settings.steps or run.save_is_due:
                    run.save()
                if stop.signal is not None:
                    break
        return Outcome(run.averaged(), stop.signal)


class _Run:
    """A run in memory: the network's weights, their averages, the optimiser, and the number of steps done."""

    def __init__(
        self, folder: Path, settings: Settings, pictures: FacePictures, start: Path, deterministic: bool
    ) -> None:
        import tensorflow as tf
        import tf_keras

        if deterministic:
            tf.config.experimental.enable_op_determinism()
        self._settings, self._pictures = settings, pictures
        self._proto = yunet_network.read_onnx(start)
        self._fixed = yunet_network.read_weights(self._proto)
        trained = yunet_network.trained_weights(self._proto, freeze=settings.freeze == "early")
        self._names = trained
        self._weights = [tf.Variable(self._fixed[name], name=f"weight_{number}") for number, name in enumerate(trained)]
        self._averages = [tf.Variable(weight, trainable=False) for weight in self._weights]
        self._optimizer = tf_keras.optimizers.Adam()
        self._optimizer.build(self._weights)
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._cells = grid_cells(settings.side, settings.side, STRIDES)
        self._views: list[View] = []
        checkpoint = tf.train.Checkpoint(
            step=self._step, weights=self._weights, averages=self._averages, optimizer=self._optimizer
        )
        self._manager = tf.train.CheckpointManager(checkpoint, folder, max_to_keep=1)
        if self._manager.latest_checkpoint:
            checkpoint.restore(self._manager.latest_checkpoint).assert_existing_objects_matched()
        self._saved = time.monotonic()
        self._function = self._make_function()

    @property
    def done(self) -> int:
        """Number of steps done."""
        return int(self._step)

    @property
    def save_is_due(self) -> bool:
        return time.monotonic() - self._saved > SAVE_SECONDS

    def save(self) -> None:
        self._manager.save(checkpoint_number=self.done)
        self._saved = time.monotonic()

    def averaged(self) -> dict[str, np.ndarray]:
        """All weights, the trained ones averaged."""
        return self._fixed | {name: one.numpy() for name, one in zip(self._names, self._averages, strict=True)}

    def views(self, step: int) -> list[View]:
        """The views of a step, counted from 0."""
        random = np.random.default_rng([self._settings.seed, step])
        return [self._pictures.view(self._settings, random) for _ in range(self._settings.batch)]

    def advance(self, views: list[View]) -> tuple[float, float]:
        """Run one step on its views. Returns its loss and its learning rate."""
        import tensorflow as tf

        step, self._views = self.done, views
        rate = learning_rate_at(step, self._settings.steps, self._settings.learning_rate)
        self._optimizer.learning_rate = rate
        # In the first steps there is little to average over.
        decay = min(AVERAGE, (step + 1) / (step + 11))
        loss = self._function(tf.constant(np.stack([view.pixels for view in views])), tf.constant(decay, tf.float32))
        self._step.assign_add(1)
        return float(loss), rate

    def _make_function(self) -> Any:
        import tensorflow as tf

        batch, cells = self._settings.batch, self._cells

        def targets(boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            return choose_targets(cells, boxes, scores, self._views)

        @tf.function
        def step(pixels: Any, decay: Any) -> Any:
            with tf.GradientTape() as tape:
                weights = self._fixed | dict(zip(self._names, self._weights, strict=True))
                outputs = yunet_network.join_grids(yunet_network.yunet_logits(self._proto, weights, pixels))
                boxes = decode_boxes(tf.constant(cells), outputs["bbox"])
                scores = tf.sqrt(tf.sigmoid(outputs["cls"]) * tf.sigmoid(outputs["obj"]))
                chosen = tf.numpy_function(targets, [boxes, scores], [tf.float32] * 3)
                shapes = (batch, len(cells), 4), (batch, len(cells)), (batch, len(cells))
                chosen = [
                    tf.stop_gradient(tf.ensure_shape(one, shape)) for one, shape in zip(chosen, shapes, strict=True)
                ]
                loss = face_loss(outputs, cells, chosen)
            gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, self._weights), LARGEST_GRADIENT)
            self._optimizer.apply_gradients(zip(gradients, self._weights, strict=True))
            for average, weight in zip(self._averages, self._weights, strict=True):
                average.assign(decay * average + (1 - decay) * weight)
            return loss

        return step
