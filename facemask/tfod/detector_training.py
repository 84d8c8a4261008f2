"""Trains a detector by the API's own `model_main_tf2.main`, with a train loop of this project's.

`model_lib_v2.train_loop` runs 100 steps in one call, logs and saves only between such calls, and saves nothing at the
end. `train_loop` replaces it while `main` runs. It takes the same arguments, is built from the same public parts of the
API (`inputs.train_input`, `optimizer_builder`, `load_fine_tune_checkpoint`, `eager_train_step`), and runs one step in a
call.

Several devices of one machine, and several machines (`distributed`), take each step together, each with a part of the
batch. The values that decide about saving, validating and ending are summed over the machines, so that all do the same.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemask.core import hardware, signals
from facemask.core.errors import UserError
from facemask.core.progress import Progress, format_duration
from facemask.tfod import detection_model, distributed, training_estimate, validation
from facemask.tfod.averaged_weights import AveragedWeights
from facemask.tfod.best_checkpoint import read_best
from facemask.tfod.checkpoint_saving import CheckpointSaver, not_finite, remove_unfinished
from facemask.tfod.pipeline_config import Settings

PICTURES_EVERY = 500
"""Steps between two sets of input images in TensorBoard."""
ESTIMATE_AFTER = 20
"""Steps after which the time of the remaining steps is estimated."""
MODEL_SUMMARIES_EVERY = 100
"""Steps between two summaries that the model itself writes; the API's own interval."""
SAVE_SECONDS, KEPT = 300.0, 3
"""Seconds between two checkpoints where `save_every` is 0, and number of latest checkpoints that stay."""


@dataclass(frozen=True)
class Options:
    """How to train, beside what the pipeline config says.

    Attributes:
        bf16: Compute in bfloat16 through Keras's mixed policy; variables and checkpoints stay float32.
        save_every: Steps between two checkpoints; 0 saves about every `SAVE_SECONDS`.
        summary_every: Steps between two points of the curves in TensorBoard.
        freeze: Layers that stay as they are: "none", "early" or "backbone"; see `freeze_layers`.
        seed: Seeds the initial weights, the order of the images and the augmentation.
        deterministic: Make every op deterministic: the same seed gives the same weights, at a cost in speed.
        validate_every: Steps between two validations; 0 never validates.
        patience: End after this many validations in a row without improvement; 0 never ends early.
        average: Decay of the averaged weights, which are saved and validated as the model; 0 for no averages.
    """

    bf16: bool = False
    save_every: int = 0
    summary_every: int = 10
    freeze: str = "none"
    seed: int = 0
    deterministic: bool = False
    validate_every: int = 0
    patience: int = 0
    average: float = 0.0

    def __post_init__(self) -> None:
        """Raise UserError, which names the option, for an invalid value."""
        if not 0 <= self.average < 1:
            raise UserError(f"AVERAGE={self.average}: must be 0 (off), or a decay below 1 such as 0.998.")


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
    from facemask.tfod import compat

    compat.install()  # asking for GPUs imports TensorFlow
    return hardware.has_bf16() if precision == "auto" else precision == "bf16"


def train(
    config: Path, folder: Path, settings: Settings, options: Options, cluster: distributed.Cluster | None = None
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
        UserError: The loss is not finite, the disk is full, a checkpoint does not fit, or a worker was lost.
    """
    from facemask.tfod import compat

    compat.install()
    steps = settings.steps
    with signals.listening_for_signals() as stop, Progress(steps, settings.batch) as progress:
        progress.phase("loading TensorFlow")
        import tensorflow as tf
        from absl import flags
        from object_detection import model_lib_v2, model_main_tf2

        tf.keras.utils.set_random_seed(options.seed)
        if options.deterministic:
            tf.config.experimental.enable_op_determinism()
        if cluster is None or cluster.is_chief:
            remove_unfinished(folder)
        done = _latest_step(folder)
        if done >= steps:
            progress.print_line(f"{folder} has its {steps} steps: STEPS=<more> continues, FRESH=1 starts over")
            return Outcome(done)
        best = read_best(folder, settings.records_digest)
        patient = options.validate_every and options.patience
        if patient and best.ended_early_of == steps and best.waited >= options.patience:
            progress.print_line(
                f"{folder} ended early at step {done}, after {best.waited} validations without improvement. Another "
                "PATIENCE or STEPS continues the run, FRESH=1 starts it over"
            )
            return Outcome(done, None, best.step, best.map)
        outcomes: list[Outcome] = []
        met = threading.Event()

        def loop(**arguments: Any) -> None:  # main calls it when the workers, if there are several, have met
            if cluster is not None:
                met.set()
                signals.listen_again()  # TensorFlow takes SIGTERM for its own notice of preemption
                distributed.refuse_differences(cluster, tf.distribute.get_strategy(), _facts(settings, options, done))
            progress.print_line(f"computing in {'bfloat16' if options.bf16 else 'float32'}; checkpoints are float32")
            if warning := training_estimate.memory_warning(settings, options.bf16):
                progress.print_line(warning)
            train_loop(
                **arguments,
                options=options,
                progress=progress,
                stop=stop,
                ended=outcomes.append,
                cluster=cluster,
                records_digest=settings.records_digest,
            )

        arguments = [
            "model_main_tf2",
            f"--pipeline_config_path={config}",
            f"--model_dir={folder}",
            f"--num_train_steps={steps}",
        ]
        if cluster is not None:
            progress.print_line(str(cluster))
            progress.phase(f"waiting for the other {len(cluster.addresses) - 1} of the workers")
            distributed.end_if_not_met(cluster, met)
            arguments.append(f"--num_workers={len(cluster.addresses)}")
        with (
            detection_model.precision(options.bf16),
            _replaced(model_lib_v2, "train_loop", loop),
            contextlib.nullcontext() if cluster else distributed.hidden_tf_config(),
        ):
            flags.FLAGS.unparse_flags()
            flags.FLAGS(arguments)
            try:
                model_main_tf2.main([])
            except tf.errors.OpError as error:
                if cluster is not None and not met.is_set():
                    raise distributed.not_met_error(error, cluster) from None
                if cluster is None or not distributed.is_lost_worker(error):
                    raise
                raise distributed.lost_worker_error(error, cluster, _latest_step(folder)) from None
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
    cluster: distributed.Cluster | None = None,
    records_digest: str | None = None,
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
        averages = AveragedWeights(model.variables, options.average)
        checkpoint = tf.train.Checkpoint(step=step, model=model, optimizer=optimizer, **averages.parts())
        # A checkpoint holds averages over all workers, so all of them must save; only the chief's stays.
        own = model_lib_v2.get_filepath(strategy, str(folder))
        manager = tf.train.CheckpointManager(checkpoint, own, max_to_keep=KEPT if is_chief else 1)
        if latest := tf.train.latest_checkpoint(str(folder)):
            averages.restore(checkpoint, latest)
            progress.print_line(f"going on at step {int(step.value())} of {steps}")
        elif train_config.fine_tune_checkpoint:
            progress.print_line(_fine_tune(model, train_config, batches))
            # A run's checkpoint contains the step as a part of the model. The API gives the model its step variable in
            # the first train step, and the restore would then silently set it to the last step of that run. So the
            # model gets the variable now.
            model._training_step = step
            step.assign(0)
            averages.start()
        freeze_layers(model.feature_extractor.classification_backbone, options.freeze)

        summaries = tf.summary.create_file_writer if is_chief else lambda _: tf.summary.create_noop_writer()
        writer = summaries(str(folder / "train"))
        train_step = _step_function(strategy, model, optimizer, step, train_config, record_summaries)
        iterator = iter(batches)
        validate = validation.make_validator(model, configs, folder) if options.validate_every and is_chief else None
        progress.phase("tracing the first step")

    first = int(step.value())
    saver = CheckpointSaver(manager, model, first, options.save_every, SAVE_SECONDS, averages.as_model)
    best = read_best(folder, records_digest)
    if best.ended_early_of not in (None, steps):
        best = dataclasses.replace(best, waited=0)  # more steps were asked for: patience begins anew
    total = distributed.make_sum_of_workers(strategy, cluster)
    signalled, disk, estimated = None, 0, False
    with writer.as_default(), strategy.scope():
        for number in range(first + 1, steps + 1):
            losses = {name: float(value) for name, value in train_step(iterator).items()}
            averages.update(number)
            stop.nothing_to_save = False
            _refuse_non_finite(losses, number, manager.latest_checkpoint)
            rate = float(learning_rate())
            progress.step(number, losses, rate)
            if not disk:  # the first step has made the optimizer's variables
                saved = [*model.variables, *optimizer.variables(), *averages.variables]
                checkpoint_bytes = training_estimate.bytes_of_variables(saved)
                kept = KEPT + 1 + bool(options.validate_every)  # one is being written, one may be the best
                disk = checkpoint_bytes * kept
                training_estimate.refuse_too_little_disk(checkpoint_bytes, kept, folder)
            if not estimated and number >= first + ESTIMATE_AFTER and (seconds := progress.seconds_per_step):
                estimated = True
                progress.print_line(
                    f"estimate: {format_duration(seconds * (steps - number))} for the other {steps - number} steps, "
                    f"without validations; {disk / 1e9:.1f} GB of disk for checkpoints"
                )
            if number % options.summary_every == 0 or number == steps:
                for name, value in (losses | {"learning_rate": rate}).items():
                    tf.summary.scalar(name, value, step=number)
                if seconds := progress.seconds_per_step:
                    tf.summary.scalar("steps_per_sec", 1 / seconds, step=number)
            heard = total([stop.signal == kind for kind in signals.HEARD] + [is_chief and saver.is_due(number)])
            signalled = next((int(kind) for kind, count in zip(signals.HEARD, heard, strict=False) if count), None)
            if signalled is not None or number == steps or heard[-1]:
                saver.save(number)
            if signalled is not None:
                break
            if options.validate_every and (number % options.validate_every == 0 or number == steps):
                saver.save(number)
                progress.phase(f"validating at step {number}")
                with averages.as_model():
                    validation.average_statistics(model, strategy)
                    # Only the chief validates; the others wait for the sum.
                    [score] = total([validate(number) if validate else 0.0])
                best = best.after_validation(
                    number, score, Path(manager.latest_checkpoint), every=options.validate_every
                )
                progress.print_line(
                    f"step {number}: mAP@0.5 on val {best.latest:.3f}, best {best.map:.3f} at {best.step}"
                )
                if options.patience and best.waited >= options.patience:
                    progress.print_line(f"stopping early: no better for {best.waited} validations")
                    dataclasses.replace(best, ended_early_of=steps).write(Path(manager.directory))
                    break
    progress.phase("finishing")
    model_lib_v2.clean_temporary_directories(strategy, own)
    total([0.0])  # wait for all: the others would take a worker that ends early for a lost one
    ended(Outcome(int(step.value()), signalled, best.step, best.map))


def freeze_layers(backbone: Any, part: str) -> None:
    """Exclude layers of a backbone from training, their batch normalisation too.

    Args:
        backbone: The Keras model. Its last three outputs are the feature maps of strides 8, 16 and 32.
        part: "backbone" for all of it; "early" for the layers that the feature map of stride 8 depends on, which are
            general (edges, textures) and the most expensive to train, because their feature maps are the largest;
            "none". torchvision's detectors also keep a pretrained backbone's first layers:
            https://github.com/pytorch/vision/blob/main/torchvision/models/detection/backbone_utils.py
    """
    import tensorflow as tf

    if part == "backbone":
        backbone.trainable = False
    elif part == "early":
        for layer in tf.keras.Model(backbone.inputs, backbone.outputs[-3]).layers:
            layer.trainable = False


def _facts(settings: Settings, options: Options, done: int) -> dict[str, Any]:
    """The values that all workers must have in common, by the names to display."""
    names = (*settings.train_records, *settings.eval_records)
    sizes = {f"the size of {name}": Path(name).stat().st_size if Path(name).exists() else None for name in names}
    given = {
        field.name.upper(): getattr(values, field.name)
        for values in (settings, options)
        for field in dataclasses.fields(values)
        if field.name not in ("train_records", "eval_records")
    }
    return given | sizes | {"the step of the last checkpoint": done}


def _refuse_uneven(batch: int, devices: int) -> None:
    if batch % devices:
        raise UserError(f"BATCH={batch}: cannot be split evenly over {devices} devices: take a multiple of {devices}.")


def _build(configs: dict[str, Any], strategy: Any, step: Any, record_summaries: bool) -> tuple[Any, Any, Any, Any]:
    """Build the detection model, its optimizer, a function that returns the learning rate, and the batches."""
    import tensorflow as tf
    from object_detection import inputs
    from object_detection.builders import optimizer_builder

    model = detection_model.build_detection_model(configs["model"], is_training=True, add_summaries=record_summaries)

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
    """Restore the fine-tuning checkpoint and compare the variables with its values. Raises UserError."""
    from object_detection import model_lib_v2

    from facemask.tfod.restoring import compare_with_checkpoint

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
    part = "backbone" if train_config.fine_tune_checkpoint_type == "classification" else "model"
    told = f"{restored.matching} of the {part}'s {restored.total} variables have the checkpoint's values"
    if restored.backbone_and_fpn_missing:
        raise UserError(
            f"{train_config.fine_tune_checkpoint}: {told}, but not all of backbone and FPN "
            f"(missing: {', '.join(restored.backbone_and_fpn_missing[:3])} ...). It is not a checkpoint of this model: "
            "give another one with CHECKPOINT=..., or CHECKPOINT=none."
        )
    return told


def _step_function(
    strategy: Any, model: Any, optimizer: Any, step: Any, train_config: Any, record_summaries: bool
) -> Callable[[Any], dict[str, Any]]:
    """Make the compiled function that trains one step on the iterator's next batch and returns the losses."""
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


def _refuse_non_finite(losses: dict[str, float], step: int, latest: str | None) -> None:
    bad = [name for name, value in losses.items() if not abs(value) < float("inf")]
    if bad:
        raise UserError(not_finite(f"{bad[0]} = {losses[bad[0]]}", step, latest))


def _latest_step(folder: Path) -> int:
    """The step of the latest checkpoint in a folder, 0 without one."""
    import tensorflow as tf

    latest = tf.train.latest_checkpoint(str(folder))
    return int(tf.train.load_variable(latest, "step/.ATTRIBUTES/VARIABLE_VALUE")) if latest else 0


@contextlib.contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)
