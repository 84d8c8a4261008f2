"""Each repair of `scripts.tfod.compat`: what fails without it, and that it works with it.

TensorFlow can be imported only once in a process, so the processes are few and each answers many questions.
"""

import ctypes
import json
import logging
import os
import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from scripts.tfod import compat
from scripts.tfod.compat import cuda_notice, imports, protos, quiet

ROOT = Path(compat.__file__).parents[3]


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the project's folder, with no TensorFlow setting of the caller's."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "PYTHONWARNINGS"))}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300
    )


def answer(code: str) -> tuple[dict, str]:
    """What the code prints last, as JSON, and its stderr."""
    done = python("-c", textwrap.dedent(code))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


CHECKS = textwrap.dedent(
    """
    import io, json, sys, warnings
    import numpy as np

    def control_flow():
        import tensorflow as tf
        from object_detection.data_decoders import tf_example_decoder
        png = tf.io.encode_png(np.full((4, 6, 3), 7, np.uint8)).numpy()
        features = {"image/encoded": png, "image/format": b"png"}
        features = {k: tf.train.Feature(bytes_list=tf.train.BytesList(value=[v])) for k, v in features.items()}
        example = tf.train.Example(features=tf.train.Features(feature=features))
        decode = tf.function(tf_example_decoder.TfExampleDecoder().decode)
        assert decode(tf.constant(example.SerializeToString()))["image"].shape == (4, 6, 3)

        from tensorflow.python.ops import control_flow_ops
        assert control_flow_ops.while_loop(lambda i: i < 3, lambda i: i + 1, [0]) == 3
        assert control_flow_ops.cond(tf.constant(True), lambda: 1, lambda: 2) == 1
        assert not hasattr(control_flow_ops, "no_such_function")

    def dataset_map():
        import tensorflow as tf
        from object_detection.builders import dataset_builder

        def draws():
            tf.random.set_seed(1)
            dataset = dataset_builder.tf.data.Dataset.range(4)
            legacy = getattr(dataset, "map_with_legacy_function", None)  # what the builder asks
            return [float(x) for x in iter((legacy or dataset.map)(lambda x: tf.random.uniform([])))]

        assert draws() == draws()

    def tensorflow_io():
        import tensorflow  # Its own warnings are not the question.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            import tensorflow_io
        assert not hasattr(tensorflow_io, "experimental")

    def estimator():
        from object_detection import inputs
        assert inputs.tf_estimator.ModeKeys.TRAIN == "train"
        assert not hasattr(inputs.tf_estimator, "Estimator")

    def numpy_names():
        from object_detection.utils import object_detection_evaluation
        evaluator = object_detection_evaluation.PascalDetectionEvaluator([{"id": 1, "name": "mask"}])
        box = np.array([[0.0, 0.0, 50.0, 50.0]])
        evaluator.add_single_ground_truth_image_info("a", {
            "groundtruth_boxes": box, "groundtruth_classes": np.array([1]), "groundtruth_difficult": np.array([False])})
        evaluator.add_single_detected_image_info("a", {
            "detection_boxes": box, "detection_scores": np.array([0.9]), "detection_classes": np.array([1])})
        assert evaluator.evaluate()["PascalBoxes_Precision/mAP@0.5IOU"] == 1
        assert not hasattr(np, "float")

    def pillow_fonts():
        from object_detection.utils import visualization_utils
        image = np.zeros((80, 120, 3), np.uint8)
        draw = visualization_utils.draw_bounding_box_on_image_array
        draw(image, 0.5, 0.25, 0.9, 0.75, color="red", thickness=1, display_str_list=["mask"])
        caption = image[25:39, 32:50]
        assert (caption == (255, 0, 0)).all(axis=-1).any() and (caption == 0).all(axis=-1).any()
    """
)

CHECKED = ("tensorflow_io", "control_flow", "estimator", "numpy_names", "pillow_fonts", "dataset_map")

CONFIG = """
ssd {
  num_classes: 3
  image_resizer { fixed_shape_resizer { height: 160 width: 160 } }
  feature_extractor {
    type: "ssd_resnet50_v1_fpn_keras"
    conv_hyperparams { regularizer { l2_regularizer { weight: 0.0004 } }
      initializer { truncated_normal_initializer { stddev: 0.03 } } activation: RELU_6 batch_norm { scale: true } }
    override_base_feature_extractor_hyperparams: true
    fpn { min_level: 3 max_level: 7 }
  }
  box_coder { faster_rcnn_box_coder { y_scale: 10 x_scale: 10 height_scale: 5 width_scale: 5 } }
  matcher { argmax_matcher { matched_threshold: 0.5 unmatched_threshold: 0.5 } }
  similarity_calculator { iou_similarity { } }
  box_predictor { weight_shared_convolutional_box_predictor {
    conv_hyperparams { regularizer { l2_regularizer { weight: 0.0004 } }
      initializer { random_normal_initializer { stddev: 0.01 } } activation: RELU_6 batch_norm { scale: true } }
    depth: 256 num_layers_before_predictor: 4 kernel_size: 3 class_prediction_bias_init: -4.6 } }
  anchor_generator { multiscale_anchor_generator { min_level: 3 max_level: 7 anchor_scale: 4
    aspect_ratios: 1 aspect_ratios: 2 aspect_ratios: 0.5 scales_per_octave: 2 } }
  post_processing { batch_non_max_suppression { score_threshold: 1e-8 iou_threshold: 0.6
    max_detections_per_class: 100 max_total_detections: 100 } score_converter: SIGMOID }
  loss { localization_loss { weighted_smooth_l1 { } } classification_loss { weighted_sigmoid_focal { } }
    classification_weight: 1 localization_weight: 1 }
  encode_background_as_zeros: true
}
"""


@pytest.fixture(scope="module")
def repaired() -> tuple[dict, str]:
    """One process with all repairs in which everything is used, the way a training would."""
    return answer(
        f"""{CHECKS}
from scripts.tfod import compat
compat.install()
finders = len(sys.meta_path)
compat.install()
facts = {{"finders_added_by_second_install": len(sys.meta_path) - finders}}

import tensorflow as tf
# Devices can still be configured although they have been listed.
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import object_detection.model_main_tf2, object_detection.exporter_lib_v2, object_detection.metrics.coco_evaluation
from google.protobuf import text_format
from object_detection.builders import model_builder
from object_detection.protos import model_pb2
model = model_builder.build(text_format.Parse({CONFIG!r}, model_pb2.DetectionModel()), is_training=True)
images, shapes = model.preprocess(tf.zeros([1, 160, 160, 3]))
found = model.postprocess(model.predict(images, shapes), shapes)
facts["boxes"] = found["detection_boxes"].shape.as_list()
facts["raw_scores"] = found["raw_detection_scores"].shape.as_list()
facts["finite"] = bool(tf.reduce_all(tf.math.is_finite(found["raw_detection_boxes"])))
facts["scores"] = [float(found["detection_scores"][0, 0])]
facts["layer"] = tf.keras.layers.Layer.__module__
facts["devices"] = len(tf.config.list_logical_devices("CPU"))

import tempfile
with tempfile.TemporaryDirectory() as folder:
    path = tf.train.Checkpoint(model=model).write(folder + "/ckpt")
    entries = tf.train.load_checkpoint(path).get_variable_to_shape_map()
facts["entries"] = {{name: shape for name, shape in entries.items() if name.startswith("model/")}}

for check in {CHECKED!r}:
    globals()[check]()

from absl import flags, logging
flags.FLAGS(sys.argv[:1])
tf.get_logger().warning("before absl")
logging.use_absl_handler()
tf.get_logger().warning("after absl")
warnings.warn("from Python")
print(json.dumps(facts))
"""
    )


def test_the_model_is_built_from_its_config_and_runs(repaired):
    facts, _ = repaired
    # 160 px: 20² + 10² + 5² + 3² + 2² cells with 2 scales x 3 aspect ratios each; 3 classes and the background.
    assert facts["raw_scores"] == [1, (400 + 100 + 25 + 9 + 4) * 6, 4]
    assert facts["boxes"] == [1, 100, 4] and facts["finite"] and 0 < facts["scores"][0] < 1
    assert facts["layer"].startswith("tf_keras.")


def test_the_models_checkpoint_has_the_names_of_the_zoos(repaired):
    """The zoo's ssd_resnet50_v1_fpn_640x640_coco17_tpu-8 has 465 entries: 463, a save counter and the object graph."""
    entries = repaired[0]["entries"]
    value = ".ATTRIBUTES/VARIABLE_VALUE"
    assert len(entries) == 463
    backbone = "model/_feature_extractor/classification_backbone/layer_with_weights-0"
    head = "model/_box_predictor/_prediction_heads/class_predictions_with_background/_class_predictor_layers/0"
    assert entries[f"{backbone}/kernel/{value}"] == [7, 7, 3, 64]
    assert entries[f"{head}/kernel/{value}"] == [3, 3, 256, (3 + 1) * 6]


def test_installing_twice_is_installing_once(repaired):
    assert repaired[0]["finders_added_by_second_install"] == 0


def test_devices_can_be_configured_after_the_import(repaired):
    assert repaired[0]["devices"] == 2


def test_all_that_reaches_the_user_is_what_was_said_to_them(repaired):
    """A TensorFlow warning each before and after absl takes over the logging, and one of Python's; nothing else."""
    before, after, from_python = repaired[1].splitlines()
    assert before.endswith("before absl")
    assert after.endswith("after absl")
    assert from_python.endswith("UserWarning: from Python")


@pytest.fixture(scope="module")
def one_by_one() -> dict:
    """Every check first without its repair, then with it; in an order in which no check needs a later repair."""
    return answer(
        f"""{CHECKS}
from scripts.tfod import compat
compat.install(without={CHECKED!r})

def outcome(check):
    try:
        globals()[check]()
    except Exception as error:
        return f"{{type(error).__name__}}: {{error}}"

outcomes = {{}}
for check in {CHECKED!r}:
    before = outcome(check)
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorflow_io"]:
        del sys.modules[name]
    compat.REPAIRS[check]()
    outcomes[check] = before, outcome(check)
print(json.dumps(outcomes))
"""
    )[0]


@pytest.mark.parametrize(
    ("repair", "without"),
    [
        ("tensorflow_io", "undefined symbol"),
        ("dataset_map", "AssertionError"),
        ("control_flow", "has no attribute 'case'"),
        ("estimator", "cannot import name 'estimator'"),
        ("numpy_names", "has no attribute 'float'"),
        ("pillow_fonts", "has no attribute 'getsize'"),
    ],
)
def test_each_repair_is_needed_and_enough(one_by_one, repair, without):
    before, after = one_by_one[repair]
    assert without in (before or "")
    assert after is None


@pytest.fixture(scope="module")
def keras_3() -> tuple[dict, str]:
    return answer(
        """
        import json
        from scripts.tfod import compat
        compat.install(without=["keras", "quiet", "cuda_notice"])
        import tensorflow as tf
        tf.config.list_physical_devices()
        try:
            compat.install()
        except RuntimeError as error:
            refusal = str(error)
        print(json.dumps({"layer": tf.keras.layers.Layer.__module__, "refusal": refusal}))
        """
    )


def test_tf_keras_is_keras_3_without_the_repair_and_then_it_is_too_late(keras_3):
    facts, _ = keras_3
    assert facts["layer"].startswith("keras.")
    assert "before scripts.tfod.compat.install()" in facts["refusal"]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="these lines are for x86 processors")
def test_tensorflow_talks_at_its_start_without_the_repair(keras_3):
    assert "cpu_feature_guard" in keras_3[1]


def test_a_missing_driver_is_an_error_without_the_repair(keras_3):
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        assert cuda_notice.NOTICE in keras_3[1]
    else:
        pytest.skip("this machine has a CUDA driver")


def test_old_generated_modules_do_not_import_without_the_repair():
    done = python(
        "-c",
        "from scripts.tfod import compat; compat.install(without=['protos']);"
        "from object_detection.protos import pipeline_pb2",
    )
    assert "Descriptors cannot be created directly" in done.stderr


def test_every_generated_module_is_rebuilt_without_tensorflow():
    facts, _ = answer(
        """
        import importlib, json, pkgutil, sys
        from scripts.tfod import compat
        compat.install()
        import object_detection.protos
        names = [module.name for module in pkgutil.iter_modules(object_detection.protos.__path__)]
        modules = {name: importlib.import_module(f"object_detection.protos.{name}") for name in names}

        from google.protobuf import text_format
        pipeline = modules["pipeline_pb2"].TrainEvalPipelineConfig()
        text = 'model { ssd { num_classes: 3 } } train_config { batch_size: 2 } eval_config { metrics_set: "x" }'
        text_format.Parse(text, pipeline)
        again = type(pipeline).FromString(pipeline.SerializeToString())
        print(json.dumps({
            "modules": len(modules), "model": again.model.WhichOneof("model"), "classes": again.model.ssd.num_classes,
            "boxes": again.train_config.max_number_of_boxes, "enum": modules["hyperparams_pb2"].Hyperparams.RELU_6,
            "module": type(pipeline).__module__, "tensorflow": "tensorflow" in sys.modules,
        }))
        """
    )
    assert facts == {
        "modules": 34,
        "model": "ssd",
        "classes": 3,
        "boxes": 100,
        "enum": 2,
        "module": "object_detection.protos.pipeline_pb2",
        "tensorflow": False,
    }


def test_descriptors_are_read_and_not_executed():
    old = "exit('executed')\nDESCRIPTOR = _descriptor.FileDescriptor(name='a', serialized_pb=b'\\n\\x01' b'a')\n"
    assert protos.serialized_descriptor(old) == b"\n\x01a"
    assert protos.serialized_descriptor("DESCRIPTOR = pool.Default().AddSerializedFile(b'a')\n") is None
    with pytest.raises(ValueError, match="malformed node"):
        protos.serialized_descriptor("DESCRIPTOR = F(serialized_pb=open('x').read())\n")


def test_the_apis_programs_run_with_their_own_flags():
    done = python("-m", "scripts.tfod.compat", "object_detection.exporter_main_v2", "--help")
    assert "--trained_checkpoint_dir" in done.stdout and "Traceback" not in done.stderr


DEPRECATED = (
    "%s:7: to_float (from tensorflow.python.ops.math_ops) is deprecated and will be removed in a future version."
)


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        (f"From {DEPRECATED % '/a b/.venv/lib/python3.12/site-packages/object_detection/eval_util.py'}", False),
        (f"From {DEPRECATED % '/v/lib/python3.12/site-packages/tensorflow/python/util/dispatch.py'}", False),
        (f"From {DEPRECATED % '/home/me/tensorflow/scripts/tfod/training.py'}", True),
        (f"From {DEPRECATED % '/v/lib/python3.12/site-packages/my_plugin/a.py'}", True),
        ("Sharding callback duration: 6 microseconds", False),
        ("A checkpoint was restored but Sharding callback duration: 6", True),
        ("num_readers has been reduced to 1 to match input file shards.", True),
        ("Gradients do not exist for variables ['a'] when minimizing the loss.", True),
    ],
)
def test_only_messages_known_to_be_harmless_are_dropped(message, wanted):
    record = logging.LogRecord("tensorflow", logging.WARNING, "deprecation.py", 50, "%s", (message,), None)
    assert quiet.wanted(record) is wanted


def test_an_action_follows_its_modules_execution_once(tmp_path, monkeypatch):
    (tmp_path / "imported_by_a_test.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    seen = []

    def action(module):
        seen.append(module.value)

    imports.after("imported_by_a_test", action)
    imports.after("imported_by_a_test", action)
    assert seen == []
    module = __import__("imported_by_a_test")
    assert seen == [1]
    assert not type(module.__spec__.loader).__module__.startswith("scripts."), "its own loader, as before"
    imports.after("imported_by_a_test", lambda module: seen.append(module.value + 1))
    assert seen == [1, 2], "an action that comes late is run at once"
    monkeypatch.delitem(sys.modules, "imported_by_a_test")
