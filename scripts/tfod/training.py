"""Training: `model_main_tf2`'s own `main`, with a train loop that can be watched, stopped and trusted.

`model_lib_v2.train_loop` runs 100 steps in one call, logs and saves between such calls only, and saves nothing at the
end. `train_loop` here takes its place while `main` runs: the same arguments, built from the same public pieces of the
API (`inputs.train_input`, `optimizer_builder`, `load_fine_tune_checkpoint`, `eager_train_step`), one step a call.

Several devices of one machine, and several machines (`machines`), take each step together, each with a part of the
batch. What decides about saving, validating and ending is summed over the machines, so that all of them do the same.
"""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.support import hardware
from scripts.support.errors import UserError
from scripts.support.files import replacing_folder, write_json
from scripts.tfod import detection_model, estimate, machines, signals, validation
from scripts.tfod.pipeline_config import Settings
from scripts.tfod.progress import Progress

PICTURES_EVERY = 500
"""Steps between two sets of input images in TensorBoard."""
MODEL_SUMMARIES_EVERY = 100
"""Steps between two summaries that the model itself writes; the API's own interval."""


@dataclass(frozen=True)
class Options:
    """How to train, beside what the pipeline config says.

    Attributes:
        bf16: Compute in bfloat16 through Keras's mixed policy; variables and checkpoints stay float32.
        save_every: Steps between two checkpoints; 0 saves about every `save_seconds`.
        save_seconds: Seconds between two checkpoints where `save_every` is 0.
        keep: Number of latest checkpoints that stay.
        summary_every: Steps between two points of the curves in TensorBoard.
        freeze_backbone: Leave the ResNet's weights and batch statistics as they are.
        seed: Seeds the initial weights, the order of the images and the augmentation.
        deterministic: Make every op deterministic: the same seed gives the same weights, at a cost in speed.
        validate_every: Steps between two validations; 0 never validates.
        patience: End when so many validations in a row have not improved; 0 never ends early.
    """

    bf16: bool = False
    save_every: int = 0
    save_seconds: float = 300.0
    keep: int = 3
    summary_every: int = 10
    freeze_backbone: bool = False
    seed: int = 0
    deterministic: bool = False
    validate_every: int = 0
    patience: int = 0


@dataclass(frozen=True)
class Outcome:
    """How training ended.

    Attributes:
        step: The step of the last checkpoint.
        signal: The signal that ended it, or None.
        best_step: Step of the best validation, or None without one.
        best_map: mAP@0.5 of the best validation, or None.
    """

    step: int
    signal: int | None = None
    best_step: int | None = None
    best_map: float | None = None

    @property
    def exit_code(self) -> int:
        """0, or the code of a process that the signal ended."""
        return 0 if self.signal is None else signals.exit_code(self.signal)


def choose_bf16(precision: str) -> bool:
    """Whether to compute in bfloat16 for "bf16", "fp32" or "auto", which takes it where the hardware has it."""
    from scripts.tfod import compat

    compat.install()  # asking for GPUs imports TensorFlow
    return hardware.has_bf16() if precision == "auto" else precision == "bf16"


def train(
    config: Path, folder: Path, settings: Settings, options: Options, cluster: machines.Cluster | None = None
) -> Outcome:
    """Train by running the API's `model_main_tf2` on a pipeline config.

    Goes on at the latest checkpoint in `folder`, if there is one. Uses all GPUs of the machine, or without any the
    processor.

    Args:
        config: The pipeline config.
        folder: Where checkpoints and TensorBoard events go; the API's `--model_dir`.
        settings: What the config was rendered from.
        options: How to train.
        cluster: The workers to train with, as TF_CONFIG names them, which must share `folder`; None trains alone.

    Raises:
        UserError: The loss is not finite, the disk is full, a checkpoint does not fit, or a worker went away.
    """
    from scripts.tfod import compat

    compat.install()
    steps = settings.steps
    with signals.listening() as stop, Progress(steps, settings.batch) as progress:
        progress.phase("loading TensorFlow")
        import tensorflow as tf
        from absl import flags
        from object_detection import model_lib_v2, model_main_tf2

        tf.keras.utils.set_random_seed(options.seed)
        if options.deterministic:
            tf.config.experimental.enable_op_determinism()
        if cluster is None or cluster.is_chief:
            _clean(folder)
        done = _latest_step(folder)
        if done >= steps:
            progress.say(f"{folder} has its {steps} steps: STEPS=<more> goes on, FRESH=1 starts over")
            return Outcome(done)
        outcomes: list[Outcome] = []
        met = threading.Event()

        def loop(**arguments: Any) -> None:  # main calls it when the workers, if there are several, have met
            if cluster is not None:
                met.set()
                signals.listen_again()  # TensorFlow takes SIGTERM for its own notice of preemption
                machines.refuse_differences(cluster, tf.distribute.get_strategy(), _facts(settings, options, done))
            progress.say(f"computing in {'bfloat16' if options.bf16 else 'float32'}; checkpoints are float32")
            cost = estimate.of_run(settings, steps - done, options.bf16)
            progress.say(str(cost))
            if warning := estimate.warning(cost):
                progress.say(warning)
            estimate.refuse_too_little_disk(cost, folder)
            train_loop(
                **arguments, options=options, progress=progress, stop=stop, ended=outcomes.append, cluster=cluster
            )

        arguments = [
            "model_main_tf2",
            f"--pipeline_config_path={config}",
            f"--model_dir={folder}",
            f"--num_train_steps={steps}",
        ]
        if cluster is not None:
            progress.say(str(cluster))
            progress.phase(f"waiting for the other {len(cluster.addresses) - 1} of the workers")
            machines.await_all(cluster, met)
            arguments.append(f"--num_workers={len(cluster.addresses)}")
        with (
            _precision(options.bf16),
            _replaced(model_lib_v2, "train_loop", loop),
            contextlib.nullcontext() if cluster else machines.alone(),
        ):
            flags.FLAGS.unparse_flags()
            flags.FLAGS(arguments)
            try:
                model_main_tf2.main([])
            except tf.errors.OpError as error:
                if cluster is not None and not met.is_set():
                    raise machines.not_met(error, cluster) from None
                if cluster is None or not machines.is_lost(error):
                    raise
                raise machines.lost(error, cluster, _latest_step(folder)) from None
    return outcomes[0]


def train_loop(
    *,
    pipeline_config_path: str,
    model_dir: str,
    train_steps: int | None,
    options: Options,
    progress: Progress,
    stop: signals.Stop,
    ended: Callable[[Outcome], None] = lambda outcome: None,
    cluster: machines.Cluster | None = None,
    record_summaries: bool = True,
    use_tpu: bool = False,
    checkpoint_every_n: int = 0,
    config_override: Any = None,
) -> None:
    """Train as `model_lib_v2.train_loop` does, one step a call; see `train` for what is added.

    Must be called inside the scope of the strategy to use. `use_tpu` and `checkpoint_every_n` are `main`'s and have no
    effect here: `options` say how to compute and when to save.
    """
    import tensorflow as tf
    from object_detection import model_lib_v2
    from object_detection.utils import config_util

    configs = config_util.get_configs_from_pipeline_file(pipeline_config_path, config_override=config_override)
    configs = config_util.merge_external_params_with_configs(configs, None, {"train_steps": train_steps})
    train_config = configs["train_config"]
    config_util.update_fine_tune_checkpoint_type(train_config)
    steps = train_steps or train_config.num_steps
    folder = Path(model_dir)
    strategy = tf.distribute.get_strategy()
    _refuse_uneven(train_config.batch_size, strategy.num_replicas_in_sync)
    is_chief = cluster is None or cluster.is_chief

    with strategy.scope():
        progress.phase("building the model")
        step = tf.Variable(
            0,
            trainable=False,
            dtype=tf.int64,
            name="global_step",
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        model, optimizer, learning_rate, batches = _build(configs, strategy, step, record_summaries)
        checkpoint = tf.train.Checkpoint(step=step, model=model, optimizer=optimizer)
        # A checkpoint holds averages over all workers, so all of them must save; only the chief's stays.
        own = model_lib_v2.get_filepath(strategy, str(folder))
        manager = tf.train.CheckpointManager(checkpoint, own, max_to_keep=options.keep if is_chief else 1)
        if latest := tf.train.latest_checkpoint(str(folder)):
            checkpoint.restore(latest).assert_existing_objects_matched()
            progress.say(f"going on at step {int(step.value())} of {steps}")
        elif train_config.fine_tune_checkpoint:
            progress.say(_fine_tune(model, train_config, batches))
            # The API gives it to the model in the first step. A run's checkpoint holds it as a part of the model, and
            # would set it then, without a word, to the step at which that run ended: so it gets it now.
            model._training_step = step
            step.assign(0)
        if options.freeze_backbone:
            model.feature_extractor.classification_backbone.trainable = False

        summaries = tf.summary.create_file_writer if is_chief else lambda _: tf.summary.create_noop_writer()
        writer = summaries(str(folder / "train"))
        train_step = _step_function(strategy, model, optimizer, step, train_config, record_summaries)
        iterator = iter(batches)
        validate = validation.validator(model, configs, folder) if options.validate_every and is_chief else None
        progress.phase("tracing the first step")

    saver = _Saver(manager, model, step, options)
    best = _Best.read(folder)
    total = machines.sums(strategy, cluster)
    first = int(step.value())
    signalled = None
    with writer.as_default(), strategy.scope():
        for number in range(first + 1, steps + 1):
            losses = {name: float(value) for name, value in train_step(iterator).items()}
            stop.nothing_to_save = False
            _refuse_non_finite(losses, number, manager.latest_checkpoint)
            rate = float(learning_rate())
            progress.step(number, losses, rate)
            if number % options.summary_every == 0 or number == steps:
                for name, value in (losses | {"learning_rate": rate}).items():
                    tf.summary.scalar(name, value, step=number)
                if seconds := progress.seconds_per_step:
                    tf.summary.scalar("steps_per_sec", 1 / seconds, step=number)
            heard = total([stop.signal == kind for kind in signals.HEARD] + [is_chief and saver.due(number)])
            signalled = next((int(kind) for kind, count in zip(signals.HEARD, heard, strict=False) if count), None)
            if signalled is not None or number == steps or heard[-1]:
                saver.save(number)
            if signalled is not None:
                break
            if options.validate_every and (number % options.validate_every == 0 or number == steps):
                saver.save(number)
                progress.phase(f"validating at step {number}")
                validation.average_statistics(model, strategy)
                # Only the chief validates; the others wait for the sum.
                [score] = total([validate(number) if validate else 0.0])
                best = best.after(number, score, manager)
                progress.say(f"step {number}: mAP@0.5 on val {best.latest:.3f}, best {best.map:.3f} at {best.step}")
                if options.patience and best.waited >= options.patience:
                    progress.say(f"stopping early: no better for {best.waited} validations")
                    break
    progress.phase("finishing")
    model_lib_v2.clean_temporary_directories(strategy, own)
    total([0.0])  # a worker that ends early would be one that went away
    ended(Outcome(int(step.value()), signalled, best.step, best.map))


def _facts(settings: Settings, options: Options, done: int) -> dict[str, Any]:
    """What workers must have in common, by the names that an error gives it."""
    names = (*settings.train_records, *settings.eval_records)
    sizes = {f"the size of {name}": Path(name).stat().st_size if Path(name).exists() else None for name in names}
    given = {
        field.name.upper(): getattr(values, field.name)
        for values in (settings, options)
        for field in dataclasses.fields(values)
        if field.name not in ("checkpoint", "train_records", "eval_records")
    }
    return given | sizes | {"the step of the last checkpoint": done}


def _refuse_uneven(batch: int, devices: int) -> None:
    if batch % devices:
        raise UserError(f"BATCH={batch}: cannot be split evenly over {devices} devices: take a multiple of {devices}.")


def _build(configs: dict[str, Any], strategy: Any, step: Any, record_summaries: bool) -> tuple[Any, Any, Any, Any]:
    """Give the built detection model, its optimizer, a function of the learning rate, and the batches."""
    import tensorflow as tf
    from object_detection import inputs
    from object_detection.builders import optimizer_builder

    model = detection_model.build(configs["model"], is_training=True, add_summaries=record_summaries)

    def batches_for(context: Any) -> Any:
        return inputs.train_input(
            train_config=configs["train_config"],
            train_input_config=configs["train_input_config"],
            model_config=configs["model"],
            model=model,
            input_context=context,
        ).repeat()

    if strategy.num_replicas_in_sync == 1:
        batches = batches_for(tf.distribute.InputContext())  # distributing to one device is only overhead
    else:
        batches = strategy.distribute_datasets_from_function(batches_for)
    optimizer, (rate,) = optimizer_builder.build(configs["train_config"].optimizer, global_step=step)
    return model, optimizer, rate if callable(rate) else lambda: tf.identity(rate), batches


def _fine_tune(model: Any, train_config: Any, batches: Any) -> str:
    """Restore the fine-tuning checkpoint and check by value what came of it. Raises UserError."""
    from object_detection import model_lib_v2

    from scripts.tfod.restoring import compare_with_checkpoint

    model_lib_v2.load_fine_tune_checkpoint(
        model,
        train_config.fine_tune_checkpoint,
        train_config.fine_tune_checkpoint_type,
        train_config.fine_tune_checkpoint_version,
        False,  # the variables are built already
        batches,
        train_config.unpad_groundtruth_tensors,
    )
    restored = compare_with_checkpoint(model, train_config.fine_tune_checkpoint)
    told = f"{restored.matching} of the model's {restored.total} variables hold the values of the checkpoint"
    if restored.backbone_and_fpn_missing:
        raise UserError(
            f"{train_config.fine_tune_checkpoint}: {told}; backbone and FPN are not all among them (missing: "
            f"{', '.join(restored.backbone_and_fpn_missing[:3])} ...). It is not a checkpoint of this model: "
            "give another one with CHECKPOINT=..., or CHECKPOINT=none."
        )
    return told


def _step_function(
    strategy: Any, model: Any, optimizer: Any, step: Any, train_config: Any, record_summaries: bool
) -> Callable[[Any], dict[str, Any]]:
    """Give the compiled function that takes the iterator of batches through one step and returns the losses."""
    import tensorflow as tf
    from object_detection import model_lib_v2
    from object_detection.core import standard_fields

    def on_replica(features: Any, labels: Any) -> dict[str, Any]:
        if record_summaries:
            with tf.summary.record_if(lambda: tf.equal(step % PICTURES_EVERY, 0)):
                images = features[standard_fields.InputDataFields.image]
                tf.summary.image("train_input_images", images, step=step, max_outputs=3)
        with tf.summary.record_if(lambda: tf.equal(step % MODEL_SUMMARIES_EVERY, 0)):
            losses = model_lib_v2.eager_train_step(
                model,
                features,
                labels,
                train_config.unpad_groundtruth_tensors,
                optimizer,
                training_step=step,
                add_regularization_loss=train_config.add_regularization_loss,
                clip_gradients_value=train_config.gradient_clipping_by_norm or None,
                num_replicas=strategy.num_replicas_in_sync,
            )
        step.assign_add(1)
        return losses

    @tf.function
    def train_step(iterator: Any) -> dict[str, Any]:
        losses = strategy.run(on_replica, args=next(iterator))
        return model_lib_v2.reduce_dict(strategy, losses, tf.distribute.ReduceOp.SUM)

    return train_step


class _Saver:
    """Saves when it is time, only weights that are finite, and never at the cost of the checkpoint before."""

    def __init__(self, manager: Any, model: Any, step: Any, options: Options) -> None:
        self._manager = manager
        self._model = model
        self._options = options
        self._step = int(step.value())
        self._time = time.monotonic()

    def due(self, step: int) -> bool:
        if self._options.save_every:
            return step % self._options.save_every == 0
        return time.monotonic() - self._time >= self._options.save_seconds

    def save(self, step: int) -> None:
        import tensorflow as tf

        if step == self._step:
            return
        for variable in self._model.trainable_variables:
            if not bool(tf.reduce_all(tf.math.is_finite(variable))):
                raise UserError(_not_finite(f"the weight {variable.name}", step, self._manager.latest_checkpoint))
        try:
            self._manager.save(checkpoint_number=step)
        except (tf.errors.OpError, OSError) as error:
            if machines.is_lost(error):
                raise
            folder = Path(self._manager.directory)
            _clean(folder)
            reason = why_not_written(error, folder)
            kept = self._manager.latest_checkpoint or "none yet"
            raise UserError(
                f"{folder}: the checkpoint of step {step} cannot be written: {reason}. The last good checkpoint is "
                f"{kept}; make room and run the same command again to go on from it."
            ) from None
        self._step, self._time = step, time.monotonic()


def why_not_written(error: Exception, folder: Path) -> str:
    """Say in a few words why a checkpoint could not be written to `folder`."""
    if re.search("No space left|[Qq]uota exceeded", str(error)):
        return f"the disk is full ({shutil.disk_usage(folder).free / 2**20:.0f} MB free)"
    return re.sub(r"^\{\{.*?\}\} | \[Op:\w+\]$", "", str(error).splitlines()[0])  # where in TensorFlow it was


@dataclass(frozen=True)
class _Best:
    """The best validation of a run, kept in `best/best.json` beside its checkpoint."""

    step: int | None = None
    map: float | None = None
    latest: float | None = None
    waited: int = 0

    @staticmethod
    def read(folder: Path) -> "_Best":
        with contextlib.suppress(OSError, ValueError, TypeError):
            return _Best(**json.loads((folder / "best" / "best.json").read_text()))
        return _Best()

    def after(self, step: int, score: float, manager: Any) -> "_Best":
        """Give the best after a validation at `step`; keep the manager's latest checkpoint apart if it is the best."""
        best = Path(manager.directory) / "best"
        if self.map is not None and score <= self.map:
            now = dataclasses.replace(self, latest=score, waited=self.waited + 1)
            write_json(best / "best.json", dataclasses.asdict(now))
            return now
        now = _Best(step, score, score, 0)
        with replacing_folder(best) as beside:
            latest = Path(manager.latest_checkpoint)
            for file in latest.parent.glob(f"{latest.name}.*"):
                _link_or_copy(file, beside / file.name)
            (beside / "checkpoint").write_text(f'model_checkpoint_path: "{latest.name}"\n')
            write_json(beside / "best.json", dataclasses.asdict(now))
        return now


def _link_or_copy(source: Path, target: Path) -> None:
    """A second name for a file that nobody changes costs nothing; not every file system has it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _refuse_non_finite(losses: dict[str, float], step: int, latest: str | None) -> None:
    bad = [name for name, value in losses.items() if not abs(value) < float("inf")]
    if bad:
        raise UserError(_not_finite(f"{bad[0]} = {losses[bad[0]]}", step, latest))


def _not_finite(what: str, step: int, latest: str | None) -> str:
    return (
        f"step {step}: {what} is not finite, so training stops. The last good checkpoint is {latest or 'none yet'}. "
        "Usual causes: LEARNING_RATE too high (try a third), too short a warm-up, or boxes that `make check` names; "
        "CLIP_GRADIENTS=10 often helps."
    )


def _latest_step(folder: Path) -> int:
    """The step of the latest checkpoint in a folder, 0 without one."""
    import tensorflow as tf

    latest = tf.train.latest_checkpoint(str(folder))
    return int(tf.train.load_variable(latest, "step/.ATTRIBUTES/VARIABLE_VALUE")) if latest else 0


def _clean(folder: Path) -> None:
    """Remove what a killed process left in the middle of a save: files that no checkpoint can be read from."""
    import tensorflow as tf

    for left in [*folder.glob("ckpt-*_temp"), *folder.glob("temp_worker_*")]:
        shutil.rmtree(left, ignore_errors=True)
    for data in folder.glob("ckpt-*.data-*"):
        if not data.with_name(f"{data.name.split('.')[0]}.index").exists():
            data.unlink()
    state = tf.train.get_checkpoint_state(str(folder))
    if state:  # written after the checkpoint it names; one that it does not name was saved or deleted halfway
        kept = {Path(path).name for path in state.all_model_checkpoint_paths}
        for file in folder.glob("ckpt-*"):
            if file.name.split(".")[0] not in kept:
                file.unlink()


@contextlib.contextmanager
def _precision(bf16: bool) -> Iterator[None]:
    import tensorflow as tf

    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16" if bf16 else "float32")
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


@contextlib.contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)
