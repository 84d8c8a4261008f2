"""Train a classifier: first its head on a frozen backbone, then all layers at a low rate; or all layers from scratch.

A run's folder, `workspace/models/<RUN>`:

classifier.json       the run's `Settings`, its classes, the digest of its faces, and its provenance
history.json          one entry an epoch: losses and accuracies on train and val
checkpoint, ckpt-N.*  the latest checkpoint; N is the step
best/                 the averaged weights of the best epoch, by macro F1 on val, then by loss; of the last without val

Each step depends on the seed and its number alone, so a resumed run ends with the same result as an uninterrupted one.
"""

import dataclasses
import json
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facemask.classifier import classifier_metrics
from facemask.classifier.classifier_network import build_network, set_batch_norm_momentum
from facemask.classifier.face_augmentation import AUGMENTATIONS
from facemask.classifier.labelled_faces import Faces, FaceSet
from facemask.core import signals
from facemask.core.errors import UserError
from facemask.core.files import write_json
from facemask.core.progress import Progress
from facemask.core.run_names import refuse_another_kind
from facemask.core.run_settings import changed_settings, refuse_to_continue
from facemask.tfod import training_runs
from facemask.tfod.averaged_weights import AveragedWeights

FORMAT = 1
NAME = "classifier.json"
SAVE_SECONDS = 300.0
WARM_UP = 0.05
"""The share of a phase's steps in which the learning rate rises. After that it falls to 0 along a cosine."""


@dataclass(frozen=True)
class Settings:
    """The settings of a run. Together with its faces they determine the trained classifier.

    Attributes:
        backbone: One of `classifier_network.BACKBONES`.
        weights: The initial weights, for the record; with "none" all layers are trained from the first epoch on.
        size: Side of the input in pixels.
        epochs: Epochs with the backbone frozen; with weights "none", epochs of all layers.
        fine_tune_epochs: Epochs of all layers after that; unused with weights "none".
        batch: Faces a step.
        learning_rate: Highest learning rate of the first phase.
        fine_tune_rate: Highest learning rate of the second phase.
        dropout: Share of the head's hidden units that a step drops.
        class_weights: "balanced" gives each class the same weight in the loss, "none" each face.
        augment: "light" or "strong" (see `face_augmentation`), or "none".
        precision: "bf16" or "fp32".
        found: Share of the labelled faces: in each epoch, so many of `FaceSet.found` that show a labelled face, and so
            many that show none, are learned too.
        average: Decay of the averaged weights, which are validated and exported; 0 for no averages.
        seed: Seed of the weights, the order, the augmentation and the dropout.
        alpha: MobileNetV2's width.
    """

    backbone: str = "mobilenet_v2"
    weights: str = "none"
    size: int = 96
    epochs: int = 4
    fine_tune_epochs: int = 14
    batch: int = 32
    learning_rate: float = 0.001
    fine_tune_rate: float = 0.0005
    dropout: float = 0.2
    class_weights: str = "none"
    augment: str = "strong"
    found: float = 0.0
    average: float = 0.997
    precision: str = "fp32"
    seed: int = 0
    alpha: float = 1.0

    @property
    def from_scratch(self) -> bool:
        """Whether all layers are trained from the first epoch on."""
        return self.weights == "none"

    @property
    def all_epochs(self) -> int:
        """Number of epochs of both phases."""
        return self.epochs + (0 if self.from_scratch else self.fine_tune_epochs)


@dataclass(frozen=True)
class Epoch:
    """The metrics of one epoch. Those on train are measured on augmented faces, with dropout and class weights.

    Attributes:
        epoch: Number of the epoch, from 1.
        fine_tuning: Whether it belongs to the second phase, in which the backbone is trained too.
        loss: Loss on train.
        accuracy: Accuracy on train.
        val_loss: Loss on val. This and the next two are None if val has no face.
        val_accuracy: Accuracy on val.
        val_macro_f1: Macro F1 on val.
    """

    epoch: int
    fine_tuning: bool
    loss: float
    accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    val_macro_f1: float | None

    def __str__(self) -> str:
        """One line of text."""
        train = f"{'fine-tuning, ' if self.fine_tuning else ''}train loss {self.loss:.3f}, accuracy {self.accuracy:.3f}"
        if self.val_loss is None:
            return train
        return (
            f"{train}; val loss {self.val_loss:.3f}, accuracy {self.val_accuracy:.3f}, macro F1 {self.val_macro_f1:.3f}"
        )


@dataclass(frozen=True)
class Outcome:
    """The result of training: its epochs, and the signal that stopped it, or None."""

    history: tuple[Epoch, ...]
    signal: int | None

    @property
    def exit_code(self) -> int:
        """0, or the exit code for the signal."""
        return 0 if self.signal is None else signals.exit_code(self.signal)

    @property
    def best(self) -> Epoch | None:
        """The epoch whose weights are in `best/`."""
        return best_epoch(self.history)


def best_epoch(history: tuple[Epoch, ...]) -> Epoch | None:
    """The epoch with the highest macro F1 on val; of equal ones, that with the lowest loss. None without epochs.

    If val has no face, it is the last one, at the end of the learning rate's schedule.
    """

    def rank(one: Epoch) -> tuple[float, ...]:
        if one.val_macro_f1 is None or one.val_loss is None:
            return (one.epoch,)
        return round(one.val_macro_f1, 6), -one.val_loss

    return max(history, key=rank, default=None)


def prepare_classifier_run(
    folder: Path, settings: Settings, faces: FaceSet, made: dict[str, Any], *, fresh: bool
) -> None:
    """Write a run's folder, or check that the run there can continue with these settings and faces.

    Raises:
        UserError: The folder holds something else than a classifier's run, or a run with other settings or faces.
    """
    path = folder / NAME
    refuse_another_kind(folder, NAME, "the classifier another name: RUN=")
    this = {"settings": dataclasses.asdict(settings), "classes": list(faces.label_map.names), "faces": faces.digest}
    if fresh and folder.exists():
        shutil.rmtree(folder)
    elif path.is_file():
        told = _differences(_read(path), this)
        if (folder / "checkpoint").exists():
            refuse_to_continue(folder, told)
    write_json(path, {"format": FORMAT, **this, "made": made})


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return {"settings": dict(value["settings"]), "classes": list(value["classes"]), "faces": str(value["faces"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not what `make classifier` writes ({error!r}). FRESH=1 starts over.") from None


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    told = changed_settings(before["settings"], now["settings"])
    if before["classes"] != now["classes"]:
        told.append(f"classes: {', '.join(before['classes'])} -> {', '.join(now['classes'])}")
    if before["faces"] != now["faces"]:
        told.append("the faces: other pictures, labels or splits, or another SIZE or MARGIN")
    return told


def train_classifier(
    folder: Path, settings: Settings, faces: FaceSet, weights: Path | None, *, deterministic: bool = True
) -> Outcome:
    """Train the run in a folder that `prepare_classifier_run` has written. Continue from its checkpoint if it has one.

    Args:
        folder: The run's folder.
        settings: The run's settings.
        faces: The faces to train and validate on.
        weights: The backbone's weights; None with `settings.weights` "none".
        deterministic: Make every TensorFlow op deterministic, for the rest of the process.

    Raises:
        UserError: The loss is not finite.
    """
    learned = _LearnedFaces(faces, settings.found, settings.seed)
    batch = min(settings.batch, learned.an_epoch)
    steps_an_epoch = learned.an_epoch // batch
    steps = steps_an_epoch * settings.all_epochs
    with signals.listening_for_signals() as stop, Progress(steps, batch) as progress:
        progress.phase("building the network")
        run = _Run(folder, settings, faces, learned, weights, batch, steps_an_epoch, deterministic)
        history = run.restore()
        if run.done == steps:
            progress.print_line(f"{folder} has its {settings.all_epochs} epochs: FRESH=1 starts over")
        elif run.done:
            progress.print_line(f"continuing at step {run.done} of {steps}")
        progress.phase("tracing the first step")
        while run.done < steps:
            epoch, at = divmod(run.done, steps_an_epoch)
            loss, rate = run.advance(epoch, at)
            stop.nothing_to_save = False
            if not math.isfinite(loss):
                raise UserError(
                    f"{folder}: the loss is {loss} at step {run.done}, so training stops. A third of the LEARNING_RATE "
                    "often helps; FRESH=1 starts over."
                )
            progress.step(run.done, {"total_loss": loss}, rate)
            if at + 1 == steps_an_epoch:
                ended = run.end_epoch(epoch)
                progress.print_line(f"epoch {ended.epoch}/{settings.all_epochs}: {ended}")
                history = (*history, ended)
                run.keep(history)
            if stop.signal is not None or at + 1 == steps_an_epoch or run.save_is_due:
                run.save()
            if stop.signal is not None:
                break
        return Outcome(history, stop.signal)


class _LearnedFaces:
    """The faces that the epochs of a run learn.

    Attributes:
        crops: (n, size, size, 3) uint8, the labelled faces first, then those that were found.
        labels: (n,) int64.
        an_epoch: The number of faces in an epoch.
    """

    def __init__(self, faces: FaceSet, share: float, seed: int) -> None:
        train, found = faces.splits["train"], faces.found
        self.crops, self.labels, self._kinds = train.crops, train.labels, list[np.ndarray]()
        self._labelled, self._seed, self._count = len(train), seed, round(share * len(train))
        if found is not None and self._count:
            self.crops = np.concatenate([train.crops, found.crops])
            self.labels = np.concatenate([train.labels, found.labels])
            none = found.labels == len(faces.label_map)
            self._kinds = [len(train) + np.flatnonzero(kind) for kind in (none, ~none)]
        self.an_epoch = len(train) + sum(min(self._count, len(kind)) for kind in self._kinds)

    def order(self, epoch: int) -> np.ndarray:
        """The faces of an epoch, as indices in the order of learning. The same epoch has the same."""
        random = np.random.default_rng([self._seed, epoch])
        drawn = [random.choice(kind, min(self._count, len(kind)), replace=False) for kind in self._kinds]
        return random.permutation(np.concatenate([np.arange(self._labelled), *drawn]))


class _Run:
    """A run in memory: the network, its optimisers, and the number of steps done."""

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        faces: FaceSet,
        learned: _LearnedFaces,
        weights: Path | None,
        batch: int,
        steps_an_epoch: int,
        deterministic: bool,
    ) -> None:
        from facemask.tfod import compat

        compat.install()
        import tensorflow as tf
        import tf_keras

        if deterministic:
            tf.config.experimental.enable_op_determinism()
        self._folder, self._settings, self._faces, self._learned = folder, settings, faces, learned
        self._batch, self._steps_an_epoch = batch, steps_an_epoch
        self.network = build_network(
            settings.backbone,
            settings.size,
            faces.outputs,
            dropout=settings.dropout,
            weights=weights,
            seed=settings.seed,
            bf16=settings.precision == "bf16",
            alpha=settings.alpha,
        )
        if settings.from_scratch:
            # Averages over the last two epochs, so that validation, which uses them, measures the current network.
            set_batch_norm_momentum(self.network, training_runs.usual_batch_norm_decay(2 * steps_an_epoch))
        self._optimizers = {"first": tf_keras.optimizers.Adam(), "second": tf_keras.optimizers.Adam()}
        self._optimizers["first"].build(
            self.network.variables if settings.from_scratch else self.network.head_variables
        )
        if not settings.from_scratch:
            self._optimizers["second"].build(self.network.variables)
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        # Sums over the current epoch: the loss of its batches, correct answers, faces.
        self._totals = tf.Variable(tf.zeros(3), trainable=False)
        self._weights = tf.constant(_class_weights(faces, settings.class_weights), tf.float32)
        self._averages = AveragedWeights(self.network.all_variables, settings.average)
        checkpoint = tf.train.Checkpoint(
            step=self._step,
            totals=self._totals,
            network=self.network.as_checkpoint(),
            **self._optimizers,
            **self._averages.parts(),
        )
        self._manager = tf.train.CheckpointManager(checkpoint, folder, max_to_keep=1)
        self._saved = time.monotonic()
        self._functions: dict[str, Any] = {}

    @property
    def done(self) -> int:
        """Number of steps done."""
        return int(self._step)

    @property
    def save_is_due(self) -> bool:
        return time.monotonic() - self._saved > SAVE_SECONDS

    def restore(self) -> tuple[Epoch, ...]:
        """Restore the latest checkpoint, if there is one. Returns the epochs that it has completed."""
        if not self._manager.latest_checkpoint:
            return ()
        self._averages.restore(self._manager.checkpoint, self._manager.latest_checkpoint)
        # A killed process may have written an epoch to the history whose checkpoint was not saved.
        return read_history(self._folder)[: self.done // self._steps_an_epoch]

    def save(self) -> None:
        with self._averages.as_model():
            self._manager.save(checkpoint_number=self.done)
        self._saved = time.monotonic()

    def keep(self, history: tuple[Epoch, ...]) -> None:
        """Write the history, and keep the last epoch's weights if they are the best."""
        import tensorflow as tf

        if best_epoch(history) == history[-1]:
            best = tf.train.CheckpointManager(self.network.as_checkpoint(), self._folder / "best", max_to_keep=1)
            with self._averages.as_model():
                best.save(checkpoint_number=history[-1].epoch)
        write_json(self._folder / "history.json", [dataclasses.asdict(one) for one in history])

    def advance(self, epoch: int, at: int) -> tuple[float, float]:
        """Run step `at` of an epoch, both counted from 0. Returns its loss and its learning rate."""
        import tensorflow as tf

        settings = self._settings
        if at == 0:
            self._totals.assign(tf.zeros(3))
        chosen = self._learned.order(epoch)[at * self._batch : (at + 1) * self._batch]
        phase = "first" if epoch < settings.epochs else "second"
        rate = self._learning_rate(self.done, phase)
        self._optimizers[phase].learning_rate = rate
        if phase not in self._functions:
            self._functions[phase] = self._function(phase)
        loss = self._functions[phase](
            tf.constant(self._learned.crops[chosen]),
            tf.constant(self._learned.labels[chosen]),
            tf.constant([settings.seed, self.done], tf.int64),
        )
        self._step.assign_add(1)
        self._averages.update(self.done)
        return float(loss), rate

    def end_epoch(self, epoch: int) -> Epoch:
        """Validate after epoch number `epoch`, counted from 0."""
        loss, right, count = (float(value) for value in self._totals.numpy())
        faces, found = self._faces.splits["val"], None
        if len(faces):
            with self._averages.as_model():
                probabilities = self._probabilities(faces)
            found = classifier_metrics.measure_classifier(probabilities, faces.labels, self._faces.label_map)
        return Epoch(
            epoch + 1,
            not self._settings.from_scratch and epoch >= self._settings.epochs,
            loss / self._steps_an_epoch,
            right / max(count, 1),
            found.loss if found else None,
            found.accuracy if found else None,
            found.macro_f1 if found else None,
        )

    def _probabilities(self, faces: Faces) -> np.ndarray:
        import tensorflow as tf

        if "predict" not in self._functions:
            self._functions["predict"] = tf.function(
                lambda crops: self.network.probabilities(tf.cast(crops, tf.float32), len(self._faces.label_map)),
                reduce_retracing=True,
            )
        parts = np.split(faces.crops, range(64, len(faces), 64))
        return np.concatenate([self._functions["predict"](tf.constant(part)).numpy() for part in parts])

    def _learning_rate(self, step: int, phase: str) -> float:
        settings = self._settings
        if phase == "first":
            return learning_rate_at(step, self._steps_an_epoch * settings.epochs, settings.learning_rate)
        step -= self._steps_an_epoch * settings.epochs
        return learning_rate_at(step, self._steps_an_epoch * settings.fine_tune_epochs, settings.fine_tune_rate)

    def _function(self, phase: str) -> Any:
        import tensorflow as tf

        network, optimizer, from_scratch = self.network, self._optimizers[phase], self._settings.from_scratch
        variables = network.head_variables if phase == "first" and not from_scratch else network.variables

        @tf.function
        def step(crops: Any, labels: Any, seed: Any) -> Any:
            pictures = tf.cast(crops, tf.float32)
            if self._settings.augment != "none":
                pictures = AUGMENTATIONS[self._settings.augment](pictures, seed)
            with tf.GradientTape() as tape:
                # The moving averages of a pretrained backbone are better than the statistics of a small batch. Keras's
                # guide keeps them too: https://www.tensorflow.org/guide/keras/transfer_learning.
                logits = network.logits(pictures, batch_statistics=from_scratch, dropout_seed=-1 - seed)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                loss = tf.reduce_mean(losses * tf.gather(self._weights, labels))
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            right = tf.reduce_sum(tf.cast(tf.argmax(logits, axis=1) == labels, tf.float32))
            self._totals.assign_add([loss, right, tf.cast(tf.size(labels), tf.float32)])
            return loss

        return step


def learning_rate_at(step: int, steps: int, highest: float) -> float:
    """The learning rate at a step, counted from 0. It rises for a share of the steps (`WARM_UP`), then falls (cosine).

    Example:
        >>> [round(learning_rate_at(step, 100, 1.0), 2) for step in (0, 4, 52, 99)]
        [0.2, 1.0, 0.5, 0.0]
    """
    rising = max(1, round(WARM_UP * steps))
    if step < rising:
        return highest * (step + 1) / rising
    return highest * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising))) / 2


def read_history(folder: Path) -> tuple[Epoch, ...]:
    """The completed epochs of a run; empty if there are none.

    Raises:
        UserError: `history.json` is not what training writes.
    """
    path = folder / "history.json"
    try:
        return tuple(Epoch(**one) for one in json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: not what `make classifier` writes ({error!r}). FRESH=1 starts over.") from None


def _class_weights(faces: FaceSet, how: str) -> list[float]:
    """A weight for each output of the network, such that the mean weight of a labelled face is 1."""
    counts = list(faces.counts("train").values())
    if how == "none":
        return [1.0] * faces.outputs
    return [sum(counts) / (len(counts) * count) for count in counts] + [1.0] * (faces.outputs - len(counts))
