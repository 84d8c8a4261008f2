"""Train the tiny model in a process of its own: `python tests/train_tiny.py FOLDER ANNOTATIONS --steps 6 ...`.

The project's own `detector_training.train`, on a model whose first step is traced in seconds: tests can kill it often.
"""

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import standin
import tiny_model

from facemask.core.errors import UserError
from facemask.tfod import compat, detector_training, distributed

TRAINING = """
train_config {{
  batch_size: {batch}
  num_steps: {steps}
  {start}
  max_number_of_boxes: 10
  optimizer {{ momentum_optimizer {{
    learning_rate {{ cosine_decay_learning_rate {{
      learning_rate_base: {rate} total_steps: {steps} warmup_learning_rate: {rate} warmup_steps: 0
    }} }}
    momentum_optimizer_value: 0.9
  }} use_moving_average: false }}
}}
train_input_reader {{
  label_map_path: "{annotations}/label_map.pbtxt" max_number_of_boxes: 10 shuffle: false num_readers: 1
  tf_record_input_reader {{ input_path: "{annotations}/train.record*" }}
}}
eval_config {{ batch_size: 1 }}
eval_input_reader {{
  label_map_path: "{annotations}/label_map.pbtxt" max_number_of_boxes: 10 shuffle: false num_epochs: 1 num_readers: 1
  tf_record_input_reader {{ input_path: "{annotations}/val.record" }}
}}
"""


def write_config(
    folder: Path, annotations: Path, steps: int, rate: float, batch: int = 2, start: Path | str = ""
) -> Path:
    """Write the tiny model's pipeline.config into `folder`; `start` is the prefix of a checkpoint to start from."""
    if start:
        start = f'fine_tune_checkpoint: "{start}" fine_tune_checkpoint_type: "full" fine_tune_checkpoint_version: V2'
    folder.mkdir(parents=True, exist_ok=True)
    model = tiny_model.CONFIG.split("train_config")[0]
    path = folder / "pipeline.config"
    path.write_text(model + TRAINING.format(annotations=annotations, steps=steps, rate=rate, batch=batch, start=start))
    return path


def train_original(config: Path, folder: Path, steps: int) -> None:
    """The API's own train loop on the same config, one step in each of its iterations."""
    import tensorflow as tf
    from object_detection import model_lib_v2

    tf.keras.utils.set_random_seed(0)
    with tf.distribute.MirroredStrategy().scope():
        model_lib_v2.train_loop(str(config), str(folder), train_steps=steps, num_steps_per_iteration=1)


def divide_the_processor(number: int) -> None:
    """Make TensorFlow see so many processors, as it would see GPUs."""
    import tensorflow as tf

    (processor,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * number)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--options", type=json.loads, default={})
    parser.add_argument("--start", type=Path, help="a checkpoint's prefix")
    parser.add_argument("--original", action="store_true", help="the API's own train loop")
    parser.add_argument("--processors", type=int, help="so many devices, made of the one processor")
    given = parser.parse_args()
    compat.install()
    if given.processors:
        divide_the_processor(given.processors)
    cluster = distributed.read_tf_config(os.environ)
    write = write_config if cluster is None or cluster.is_chief else lambda folder, *_, **__: folder / "pipeline.config"
    config = write(given.folder, given.annotations, given.steps, given.rate, given.batch, given.start or "")
    if given.original:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        train_original(config, given.folder, given.steps)
        return
    try:
        outcome = detector_training.train(
            config,
            given.folder,
            standin.settings(steps=given.steps, warmup_steps=0, batch=given.batch),
            detector_training.Options(**given.options),
            cluster,
        )
    except UserError as error:
        sys.exit(f"error: {error}")
    print(outcome)
    sys.exit(outcome.exit_code)


if __name__ == "__main__":
    main()
