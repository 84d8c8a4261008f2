"""The API's own evaluation of a run's latest checkpoint on its train records: `python tests/api_evaluation.py RUN`."""

import contextlib
import io
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from facemask.tfod import compat


def main(run: Path) -> None:
    compat.install()
    import tensorflow as tf
    from object_detection import inputs, model_lib_v2
    from object_detection.builders import model_builder
    from object_detection.utils import config_util

    configs = config_util.get_configs_from_pipeline_file(str(run / "pipeline.config"))
    configs["eval_input_config"].tf_record_input_reader.CopyFrom(configs["train_input_config"].tf_record_input_reader)
    configs["eval_config"].metrics_set.append("coco_detection_metrics")
    model = model_builder.build(configs["model"], is_training=False)
    tf.train.Checkpoint(model=model).restore(tf.train.latest_checkpoint(str(run))).expect_partial()
    batches = inputs.eval_input(configs["eval_config"], configs["eval_input_config"], configs["model"], model=model)
    with contextlib.redirect_stdout(io.StringIO()):
        metrics = model_lib_v2.eager_eval_loop(model, configs, batches, global_step=tf.Variable(0, dtype=tf.int64))
    print(json.dumps({name: float(value) for name, value in metrics.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
