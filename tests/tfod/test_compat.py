"""Each repair of `facemask.tfod.compat`: what fails without it, and that it works with it.

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

import numpy as np
import pytest
import tiny_model

from facemask.tfod import compat
from facemask.tfod.compat import cuda_notice, imports, protos, quiet

ROOT = Path(compat.__file__).parents[3]

x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="of x86 processors alone")


def python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the project's folder, with no TensorFlow setting of the caller's but these."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "PYTHONWARNINGS"))}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, env=environment | variables
    )


def answer(code: str, **variables: str) -> tuple[dict, str]:
    """What the code prints last, as JSON, and its stderr."""
    done = python("-c", textwrap.dedent(code), **variables)
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

GRADIENTS = textwrap.dedent(
    """
    def save_gradients(path):
        import numpy as np
        import tensorflow as tf
        from tensorflow.python.util import _pywrap_util_port

        random = np.random.default_rng(0)
        image = tf.constant(random.normal(size=(4, 32, 32, 24)), tf.float32)
        weights = [
            tf.constant(random.normal(size=shape) / 8, tf.float32)
            for shape in ((1, 1, 24, 48), (3, 3, 48, 1), (48,), (48,), (1, 1, 48, 24), (3, 3, 24, 24))
        ]

        @tf.function
        def gradients():
            with tf.GradientTape() as tape:
                tape.watch([image, *weights])
                expand, depthwise, scale, offset, project, wide = weights
                features = tf.nn.conv2d(image, expand, 1, "SAME")
                features = tf.nn.depthwise_conv2d(features, depthwise, (1, 2, 2, 1), "SAME")
                features, *_ = tf.compat.v1.nn.fused_batch_norm(features, 1 + scale, offset, is_training=True)
                features = tf.nn.conv2d(tf.nn.conv2d(tf.nn.relu6(features), project, 1, "SAME"), wide, 2, "SAME")
                loss = tf.reduce_mean(features**2)
            return [loss, *tape.gradient(loss, [image, *weights])]

        np.savez(path, *(value.numpy() for value in gradients()), onednn=_pywrap_util_port.IsMklEnabled())
    """
)
"""A function that saves the gradients of a small network, and whether TensorFlow computes with oneDNN."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes leave their gradients."""
    return tmp_path_factory.mktemp("gradients")


@pytest.fixture(scope="module")
def repaired(folder: Path) -> tuple[dict, str]:
    """One process with all repairs in which everything is used, the way a training would."""
    return answer(
        f"""{CHECKS}{GRADIENTS}
from facemask.tfod import compat
compat.install()
finders = len(sys.meta_path)
compat.install()
facts = {{"finders_added_by_second_install": len(sys.meta_path) - finders}}

import tensorflow as tf
# Devices can still be configured although they have been listed.
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import object_detection.model_lib_v2, object_detection.exporter_lib_v2, object_detection.metrics.coco_evaluation
from google.protobuf import text_format
from object_detection.builders import model_builder
from object_detection.protos import pipeline_pb2
config = text_format.Parse({tiny_model.CONFIG!r}, pipeline_pb2.TrainEvalPipelineConfig())
model = model_builder.build(config.model, is_training=True)
images, shapes = model.preprocess(tf.zeros([1, 128, 128, 3]))
found = model.postprocess(model.predict(images, shapes), shapes)
facts["boxes"] = found["detection_boxes"].shape.as_list()
facts["raw_scores"] = found["raw_detection_scores"].shape.as_list()
facts["finite"] = bool(tf.reduce_all(tf.math.is_finite(found["raw_detection_boxes"])))
facts["scores"] = [float(found["detection_scores"][0, 0])]
facts["layer"] = tf.keras.layers.Layer.__module__
facts["devices"] = len(tf.config.list_logical_devices("CPU"))
save_gradients({str(folder / "on.npz")!r})

for check in {CHECKED!r}:
    globals()[check]()

from absl import flags, logging
flags.FLAGS(sys.argv[:1])
tf.get_logger().warning("before absl")
logging.use_absl_handler()
tf.get_logger().warning("after absl")
warnings.warn("from Python")

# As `python -m facemask.tfod.compat object_detection.exporter_main_v2 --help`.
import contextlib, runpy
sys.argv[:] = ["compat", "object_detection.exporter_main_v2", "--help"]
with contextlib.redirect_stdout(io.StringIO()) as help, contextlib.suppress(SystemExit):
    runpy.run_module("facemask.tfod.compat", run_name="__main__", alter_sys=True)
facts["help"] = help.getvalue()
print(json.dumps(facts))
"""
    )


def test_the_model_is_built_from_its_config_and_runs(repaired):
    facts, _ = repaired
    # 128 px: 16² + 8² + 4² cells with one anchor each; 3 classes and the background.
    assert facts["raw_scores"] == [1, 256 + 64 + 16, 4]
    assert facts["boxes"] == [1, 20, 4] and facts["finite"] and 0 < facts["scores"][0] < 1
    assert facts["layer"].startswith("tf_keras.")


def test_installing_twice_is_installing_once(repaired):
    assert repaired[0]["finders_added_by_second_install"] == 0


def test_devices_can_be_configured_after_the_import(repaired):
    assert repaired[0]["devices"] == 2


def test_all_that_reaches_the_user_is_what_was_said_to_them(repaired):
    """A TensorFlow warning each before and after absl takes over the logging, and one of Python's; nothing else."""
    before, after, from_python, *source = repaired[1].splitlines()
    assert before.endswith("before absl")
    assert after.endswith("after absl")
    assert from_python.endswith("UserWarning: from Python")
    assert source in ([], ['  warnings.warn("from Python")']), "the second from Python 3.13 on"


@pytest.fixture(scope="module")
def one_by_one() -> dict:
    """Every check first without its repair, then with it; in an order in which no check needs a later repair."""
    return answer(
        f"""{CHECKS}
from facemask.tfod import compat
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


@pytest.mark.long  # the answer changes with the lock alone
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
def keras_3(folder: Path) -> tuple[dict, str]:
    """A process without the repairs of Keras and of what TensorFlow prints, in which the user turns oneDNN off."""
    return answer(
        f"""{GRADIENTS}
import json
from facemask.tfod import compat
compat.install(without=["keras", "quiet", "cuda_notice"])
import tensorflow as tf
tf.config.list_physical_devices()
try:
    compat.install()
except RuntimeError as error:
    refusal = str(error)
save_gradients({str(folder / "off.npz")!r})
print(json.dumps({{"layer": tf.keras.layers.Layer.__module__, "refusal": refusal}}))
""",
        TF_ENABLE_ONEDNN_OPTS="0",
    )


def test_tf_keras_is_keras_3_without_the_repair_and_then_it_is_too_late(keras_3):
    facts, _ = keras_3
    assert facts["layer"].startswith("keras.")
    assert "before facemask.tfod.compat.install()" in facts["refusal"]


@x86
def test_tensorflow_talks_at_its_start_without_the_repair(keras_3):
    assert "cpu_feature_guard" in keras_3[1]


def test_a_missing_driver_is_an_error_without_the_repair(keras_3):
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        assert cuda_notice.NOTICE in keras_3[1]
    else:
        pytest.skip("this machine has a CUDA driver")


@x86
def test_onednn_is_on_unless_the_user_turns_it_off_and_changes_no_gradient(repaired, keras_3, folder):
    on, off = (dict(np.load(folder / name)) for name in ("on.npz", "off.npz"))
    assert (bool(on.pop("onednn")), bool(off.pop("onednn"))) == (True, False)
    assert len(on) == 8
    for name, expected in off.items():
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(on[name], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max(), err_msg=name)


def test_old_generated_modules_do_not_import_without_the_repair():
    done = python(
        "-c",
        "from facemask.tfod import compat; compat.install(without=['protos']);"
        "from object_detection.protos import pipeline_pb2",
    )
    assert "Descriptors cannot be created directly" in done.stderr


def test_every_generated_module_is_rebuilt_without_tensorflow():
    facts, _ = answer(
        """
        import importlib, json, pkgutil, sys
        from facemask.tfod import compat
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


def test_the_apis_programs_run_with_their_own_flags(repaired):
    assert "--trained_checkpoint_dir" in repaired[0]["help"]


DEPRECATED = (
    "%s:7: to_float (from tensorflow.python.ops.math_ops) is deprecated and will be removed in a future version."
)


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        (f"From {DEPRECATED % '/a b/.venv/lib/python3.12/site-packages/object_detection/eval_util.py'}", False),
        (f"From {DEPRECATED % '/v/lib/python3.12/site-packages/tensorflow/python/util/dispatch.py'}", False),
        (f"From {DEPRECATED % '/home/me/tensorflow/facemask/tfod/detector_training.py'}", True),
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

    imports.after_import("imported_by_a_test", action)
    imports.after_import("imported_by_a_test", action)
    assert seen == []
    module = __import__("imported_by_a_test")
    assert seen == [1]
    assert not type(module.__spec__.loader).__module__.startswith("scripts."), "its own loader, as before"
    imports.after_import("imported_by_a_test", lambda module: seen.append(module.value + 1))
    assert seen == [1, 2], "an action that comes late is run at once"
    monkeypatch.delitem(sys.modules, "imported_by_a_test")
