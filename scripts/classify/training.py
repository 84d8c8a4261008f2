"""Training a classifier: first its head on a frozen backbone, then all of it at a low rate; or all from scratch.

A run's folder, `workspace/models/<RUN>`:

classifier.json       what the run is (`Settings`, the classes, the digest of its faces) and what made it
history.json          one entry an epoch: losses and accuracies on train and val
checkpoint, ckpt-N.*  the latest checkpoint; N is the step
best/                 the weights of the best epoch, by macro F1 on val, then by loss

What a step does follows from the seed and its number alone, so a run that was stopped and goes on ends as one that was
not.
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

from scripts.classify import figures
from scripts.classify.augmenting import augment
from scripts.classify.faceset import Faces, FaceSet
from scripts.classify.network import build, set_batch_norm_momentum
from scripts.support.errors import UserError
from scripts.support.files import write_json
from scripts.tfod import runs, signals
from scripts.tfod.progress import Progress

FORMAT = 1
NAME = "classifier.json"
SAVE_SECONDS = 300.0
WARM_UP = 0.05
"""The part of a phase's steps in which the learning rate rises; after that it falls to 0 as a cosine does."""


@dataclass(frozen=True)
class Settings:
    """What decides how a classifier turns out, with its faces.

    Attributes:
        backbone: One of `network.BACKBONES`.
        weights: What its weights were, for the record: "none" trains everything from the first epoch on.
        size: Side of the input in pixels.
        epochs: Epochs with the backbone frozen; with weights "none", of everything.
        fine_tune_epochs: Epochs of everything after that; none with weights "none".
        batch: Faces a step.
        learning_rate: Highest rate of the first phase.
        fine_tune_rate: Highest rate of the second.
        dropout: Share of the head's hidden units that a step drops.
        class_weights: "balanced" has each class weigh the same in the loss, "none" each face.
        augment: "light" (see `augmenting`) or "none".
        precision: "bf16" or "fp32", what it computes in.
        seed: Seeds weights, order, augmentation and dropout.
        alpha: MobileNetV2's width.
    """

    backbone: str = "mobilenet_v2"
    weights: str = "none"
    size: int = 96
    epochs: int = 20
    fine_tune_epochs: int = 10
    batch: int = 32
    learning_rate: float = 0.001
    fine_tune_rate: float = 0.00001
    dropout: float = 0.2
    class_weights: str = "balanced"
    augment: str = "light"
    precision: str = "fp32"
    seed: int = 0
    alpha: float = 1.0

    @property
    def from_scratch(self) -> bool:
        """Whether everything is trained from the first epoch on."""
        return self.weights == "none"

    @property
    def all_epochs(self) -> int:
        """Epochs in all."""
        return self.epochs + (0 if self.from_scratch else self.fine_tune_epochs)


@dataclass(frozen=True)
class Epoch:
    """One epoch's figures; on train they are of the augmented faces, with dropout, and weighted.

    Attributes:
        epoch: From 1.
        fine_tuning: Whether the backbone was trained after having been frozen.
        loss: On train.
        accuracy: On train.
        val_loss: On val.
        val_accuracy: On val.
        val_macro_f1: On val.
    """

    epoch: int
    fine_tuning: bool
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    val_macro_f1: float

    def __str__(self) -> str:
        """For people."""
        return (
            f"{'fine-tuning, ' if self.fine_tuning else ''}train loss {self.loss:.3f}, accuracy {self.accuracy:.3f}; "
            f"val loss {self.val_loss:.3f}, accuracy {self.val_accuracy:.3f}, macro F1 {self.val_macro_f1:.3f}"
        )


@dataclass(frozen=True)
class Outcome:
    """How training ended: its epochs, and the signal that ended it, or None."""

    history: tuple[Epoch, ...]
    signal: int | None

    @property
    def exit_code(self) -> int:
        """0, or the code of a process that the signal ended."""
        return 0 if self.signal is None else signals.exit_code(self.signal)

    @property
    def best(self) -> Epoch | None:
        """The epoch whose weights are in `best/`."""
        return best_of(self.history)


def best_of(history: tuple[Epoch, ...]) -> Epoch | None:
    """The epoch with the highest macro F1 on val; of several, that with the lowest loss; None of none."""
    return max(history, key=lambda one: (round(one.val_macro_f1, 6), -one.val_loss), default=None)


def prepare(folder: Path, settings: Settings, faces: FaceSet, made: dict[str, Any], *, fresh: bool) -> None:
    """Write a run's folder, or check that the run there can go on with these settings and faces.

    Raises:
        UserError: What is there is no classifier's run, or one with other settings or faces.
    """
    path = folder / NAME
    if (folder / runs.NAME).exists():
        raise UserError(f"{folder}: a detector's run is there. Give the classifier another name: RUN=<name>.")
    this = {"settings": dataclasses.asdict(settings), "classes": list(faces.label_map.names), "faces": faces.digest}
    if fresh and folder.exists():
        if not path.is_file():
            raise UserError(f"{folder}: not a classifier's run (no {NAME} in it), so FRESH=1 does not remove it.")
        shutil.rmtree(folder)
    elif path.is_file():
        told = _differences(_read(path), this)
        if told and (folder / "checkpoint").exists():
            raise UserError(
                f"{folder}: was trained otherwise, so the run cannot go on. FRESH=1 starts over, RUN=<new name> keeps "
                "it:\n" + "\n".join(f"  {line}" for line in told)
            )
    write_json(path, {"format": FORMAT, **this, "made": made})


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return {"settings": dict(value["settings"]), "classes": list(value["classes"]), "faces": str(value["faces"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not what `make classifier` writes ({error!r}). FRESH=1 starts over.") from None


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    told = [
        f"{name.upper()}: {before['settings'].get(name)} -> {value}"
        for name, value in now["settings"].items()
        if before["settings"].get(name) != value
    ]
    if before["classes"] != now["classes"]:
        told.append(f"classes: {', '.join(before['classes'])} -> {', '.join(now['classes'])}")
    if before["faces"] != now["faces"]:
        told.append("the faces: other pictures, labels or splits, or another SIZE or MARGIN")
    return told


def train(
    folder: Path, settings: Settings, faces: FaceSet, weights: Path | None, *, deterministic: bool = True
) -> Outcome:
    """Train the run in a folder that `prepare` has written; goes on at its checkpoint, if there is one.

    Args:
        folder: The run's folder.
        settings: How to train.
        faces: What to train and validate on.
        weights: The backbone's weights; None with `settings.weights` "none".
        deterministic: Have every op of TensorFlow be deterministic. It holds for the rest of the process.

    Raises:
        UserError: The loss is not finite.
    """
    train_faces = faces.splits["train"]
    batch = min(settings.batch, len(train_faces))
    steps_an_epoch = len(train_faces) // batch
    steps = steps_an_epoch * settings.all_epochs
    with signals.listening() as stop, Progress(steps, batch) as progress:
        progress.phase("building the network")
        run = _Run(folder, settings, faces, weights, batch, steps_an_epoch, deterministic)
        history = run.restore()
        if run.done == steps:
            progress.say(f"{folder} has its {settings.all_epochs} epochs: FRESH=1 starts over")
        elif run.done:
            progress.say(f"going on at step {run.done} of {steps}")
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
                progress.say(f"epoch {ended.epoch}/{settings.all_epochs}: {ended}")
                history = (*history, ended)
                run.keep(history)
            if stop.signal is not None or at + 1 == steps_an_epoch or run.save_is_due:
                run.save()
            if stop.signal is not None:
                break
        return Outcome(history, stop.signal)


class _Run:
    """What a run holds in memory: the network, its optimisers, and how far it is."""

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        faces: FaceSet,
        weights: Path | None,
        batch: int,
        steps_an_epoch: int,
        deterministic: bool,
    ) -> None:
        from scripts.tfod import compat

        compat.install()
        import tensorflow as tf
        import tf_keras

        if deterministic:
            tf.config.experimental.enable_op_determinism()
        self._folder, self._settings, self._faces = folder, settings, faces
        self._batch, self._steps_an_epoch = batch, steps_an_epoch
        self.network = build(
            settings.backbone,
            settings.size,
            len(faces.label_map),
            dropout=settings.dropout,
            weights=weights,
            seed=settings.seed,
            bf16=settings.precision == "bf16",
            alpha=settings.alpha,
        )
        if settings.from_scratch:
            # Of the last two epochs, so that validation, which uses them, is of the network as it is.
            set_batch_norm_momentum(self.network, runs.batch_norm_decay(2 * steps_an_epoch))
        self._optimizers = {"first": tf_keras.optimizers.Adam(), "second": tf_keras.optimizers.Adam()}
        self._optimizers["first"].build(
            self.network.variables if settings.from_scratch else self.network.head_variables
        )
        if not settings.from_scratch:
            self._optimizers["second"].build(self.network.variables)
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        # Of the epoch so far: the loss of its batches added up, right answers, faces.
        self._totals = tf.Variable(tf.zeros(3), trainable=False)
        self._weights = tf.constant(_class_weights(faces, settings.class_weights), tf.float32)
        checkpoint = tf.train.Checkpoint(
            step=self._step, totals=self._totals, network=self.network.as_checkpoint(), **self._optimizers
        )
        self._manager = tf.train.CheckpointManager(checkpoint, folder, max_to_keep=1)
        self._saved = time.monotonic()
        self._functions: dict[str, Any] = {}

    @property
    def done(self) -> int:
        """Steps done."""
        return int(self._step)

    @property
    def save_is_due(self) -> bool:
        return time.monotonic() - self._saved > SAVE_SECONDS

    def restore(self) -> tuple[Epoch, ...]:
        """Go on at the latest checkpoint; give the epochs that it has behind it."""
        if not self._manager.latest_checkpoint:
            return ()
        self._manager.checkpoint.restore(self._manager.latest_checkpoint).assert_existing_objects_matched()
        # A process that was killed between the two may have noted an epoch that its checkpoint does not know.
        return read_history(self._folder)[: self.done // self._steps_an_epoch]

    def save(self) -> None:
        self._manager.save(checkpoint_number=self.done)
        self._saved = time.monotonic()

    def keep(self, history: tuple[Epoch, ...]) -> None:
        """Note the epochs, and keep the last one's weights if they are the best."""
        import tensorflow as tf

        if best_of(history) == history[-1]:
            best = tf.train.CheckpointManager(self.network.as_checkpoint(), self._folder / "best", max_to_keep=1)
            best.save(checkpoint_number=history[-1].epoch)
        write_json(self._folder / "history.json", [dataclasses.asdict(one) for one in history])

    def advance(self, epoch: int, at: int) -> tuple[float, float]:
        """Take step `at` of an epoch, both from 0. Returns its loss and its learning rate."""
        import tensorflow as tf

        faces, settings = self._faces.splits["train"], self._settings
        if at == 0:
            self._totals.assign(tf.zeros(3))
        order = np.random.default_rng([settings.seed, epoch]).permutation(len(faces))
        chosen = order[at * self._batch : (at + 1) * self._batch]
        phase = "first" if epoch < settings.epochs else "second"
        rate = self._learning_rate(self.done, phase)
        self._optimizers[phase].learning_rate = rate
        if phase not in self._functions:
            self._functions[phase] = self._function(phase)
        loss = self._functions[phase](
            tf.constant(faces.crops[chosen]),
            tf.constant(faces.labels[chosen]),
            tf.constant([settings.seed, self.done], tf.int64),
        )
        self._step.assign_add(1)
        return float(loss), rate

    def end_epoch(self, epoch: int) -> Epoch:
        """Validate after an epoch, from 0."""
        loss, right, count = (float(value) for value in self._totals.numpy())
        faces = self._faces.splits["val"]
        found = figures.measure(self._probabilities(faces), faces.labels, self._faces.label_map)
        return Epoch(
            epoch + 1,
            not self._settings.from_scratch and epoch >= self._settings.epochs,
            loss / self._steps_an_epoch,
            right / max(count, 1),
            found.loss,
            found.accuracy,
            found.macro_f1,
        )

    def _probabilities(self, faces: Faces) -> np.ndarray:
        import tensorflow as tf

        if "predict" not in self._functions:
            self._functions["predict"] = tf.function(
                lambda crops: tf.nn.softmax(self.network.logits(tf.cast(crops, tf.float32))), reduce_retracing=True
            )
        parts = np.split(faces.crops, range(64, len(faces), 64))
        return np.concatenate([self._functions["predict"](tf.constant(part)).numpy() for part in parts])

    def _learning_rate(self, step: int, phase: str) -> float:
        settings = self._settings
        if phase == "first":
            return scheduled(step, self._steps_an_epoch * settings.epochs, settings.learning_rate)
        step -= self._steps_an_epoch * settings.epochs
        return scheduled(step, self._steps_an_epoch * settings.fine_tune_epochs, settings.fine_tune_rate)

    def _function(self, phase: str) -> Any:
        import tensorflow as tf

        network, optimizer, from_scratch = self.network, self._optimizers[phase], self._settings.from_scratch
        variables = network.head_variables if phase == "first" and not from_scratch else network.variables

        @tf.function
        def step(crops: Any, labels: Any, seed: Any) -> Any:
            pictures = tf.cast(crops, tf.float32)
            if self._settings.augment != "none":
                pictures = augment(pictures, seed)
            with tf.GradientTape() as tape:
                # Of a trained backbone the moving averages are better than what a small batch says: Keras's guide to
                # transfer learning, https://www.tensorflow.org/guide/keras/transfer_learning, keeps them too.
                logits = network.logits(pictures, batch_statistics=from_scratch, dropout_seed=-1 - seed)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                loss = tf.reduce_mean(losses * tf.gather(self._weights, labels))
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            right = tf.reduce_sum(tf.cast(tf.argmax(logits, axis=1) == labels, tf.float32))
            self._totals.assign_add([loss, right, tf.cast(tf.size(labels), tf.float32)])
            return loss

        return step


def scheduled(step: int, steps: int, highest: float) -> float:
    """The learning rate of a step, from 0: it rises for a part of the steps (`WARM_UP`), then falls as a cosine does.

    Example:
        >>> [round(scheduled(step, 100, 1.0), 2) for step in (0, 4, 52, 99)]
        [0.2, 1.0, 0.5, 0.0]
    """
    rising = max(1, round(WARM_UP * steps))
    if step < rising:
        return highest * (step + 1) / rising
    return highest * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising))) / 2


def read_history(folder: Path) -> tuple[Epoch, ...]:
    """The epochs of a run so far; empty where there are none.

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
    """A weight for each class, such that the mean weight of a face is 1."""
    counts = list(faces.counts("train").values())
    if how == "none":
        return [1.0] * len(counts)
    return [sum(counts) / (len(counts) * count) for count in counts]
