import http.server
import threading
from pathlib import Path

import numpy as np
import pytest
import standin

from facemask.core.errors import UserError
from facemask.tfod import model_zoo, pretrained_backbone
from facemask.tfod.restoring import compare_with_checkpoint

CONFIGS = Path(__file__).parents[2] / "configs"
MODEL = model_zoo.find_model("ssd_mobilenet_v2_fpnlite_320x320", CONFIGS / "models.yaml")
BLOCKS = ("block_2_add", "block_5_add", "block_12_add", "out_relu")
"""Keras's layers whose outputs the API's FPN takes (ssd_mobilenet_v2_fpn_keras_feature_extractor.py)."""


def keras_network(alpha=1.0):
    """Keras's own MobileNetV2 with random weights, batch normalisation's among them."""
    import tf_keras

    network = tf_keras.applications.MobileNetV2((96, 96, 3), alpha=alpha, include_top=False, weights=None)
    random = np.random.default_rng(0)
    for variable in network.weights:
        if "normalization" in variable.name or "BN" in variable.name or "bn" in variable.name:
            low = 0.5 if "gamma" in variable.name or "variance" in variable.name else -0.5
            variable.assign(random.uniform(low, 1.5 if low > 0 else 0.5, variable.shape))
    return network


@pytest.fixture(scope="module")
def network():
    return keras_network()


@pytest.fixture(scope="module")
def file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("keras") / "mobilenet.h5"
    network.save_weights(str(path))
    return path


@pytest.fixture(scope="module")
def prefix(file):
    return model_zoo.resolve_checkpoint(str(file), MODEL, file.parent / "pretrained")


@pytest.fixture(scope="module")
def model():
    """The API's model of the table's row. Each test gives it the weights that it needs."""
    from facemask.tfod import detection_model, pipeline_config

    settings = standin.settings(batch_norm_decay=0.9, weight_decay=0.0, augment="none")
    config = pipeline_config.make_config(MODEL.template, settings)
    return detection_model.build_detection_model(config.model, is_training=False)


def load(model, prefix):
    from object_detection import model_lib_v2
    from object_detection.protos import train_pb2

    model_lib_v2.load_fine_tune_checkpoint(
        model, str(prefix), "classification", train_pb2.CheckpointVersion.V2, False, None, True
    )


def refused(*arguments, **options):
    with pytest.raises(UserError) as error:
        pretrained_backbone.find_backbone_weights(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_model_computes_keras_features_from_the_file(model, network, prefix):
    import tensorflow as tf
    import tf_keras

    for variable in model.variables:
        variable.assign(variable * 0 + 7)  # nowhere in the file
    assert compare_with_checkpoint(model, prefix).matching == 0
    load(model, prefix)
    restored = compare_with_checkpoint(model, prefix)
    assert (restored.matching, restored.total, restored.backbone_and_fpn_missing) == (260, 260, ())

    picture = np.random.default_rng(1).uniform(0, 255, (2, 96, 96, 3)).astype(np.float32)
    wanted = tf_keras.Model(network.input, [network.get_layer(block).output for block in BLOCKS])(
        tf_keras.applications.mobilenet_v2.preprocess_input(picture.copy()), training=False
    )
    extractor = model.feature_extractor
    for found, keras in zip(extractor.classification_backbone(extractor.preprocess(picture)), wanted, strict=True):
        np.testing.assert_allclose(found, keras, rtol=1e-4, atol=1e-4)
        assert tf.math.reduce_std(keras) > 0.01


def export_classifier(network, folder):
    """What `classifier_export` writes, as far as it matters here."""
    import tensorflow as tf

    module = tf.Module()
    module.network = tf.train.Checkpoint(backbone=network)
    tf.saved_model.save(module, str(folder / "saved_model"))
    (folder / "classifier.json").write_text("{}")


def test_a_classifiers_backbone_is_taken_over(model, network, tmp_path):
    folder = tmp_path / "classifier"
    export_classifier(network, folder)
    prefix = model_zoo.resolve_checkpoint(str(folder), MODEL, tmp_path / "pretrained")
    load(model, prefix)
    backbone = model.feature_extractor.classification_backbone
    for layer in filter(lambda one: one.weights, backbone.layers):
        for found, wanted in zip(layer.weights, network.get_layer(layer.name).weights, strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert len(backbone.weights) == 260


def test_other_classifiers_are_refused(tmp_path):
    export_classifier(keras_network(alpha=0.35), tmp_path / "narrow")
    assert f"{tmp_path / 'narrow'}: is not a MobileNetV2 1.0" in refused(
        str(tmp_path / "narrow"), MODEL.name, MODEL.template, tmp_path / "pretrained"
    )
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "classifier.json").write_text("{}")
    assert f"{bare / 'saved_model'}" in refused(str(bare), MODEL.name, MODEL.template, tmp_path / "pretrained")
    assert not list(tmp_path.glob("pretrained/*/checkpoint"))


def test_the_backbone_alone_is_what_a_model_can_take_over(prefix):
    from facemask.tfod.restoring import checkpoint_type

    assert checkpoint_type(prefix, 3) == "classification"


def test_a_changed_weight_is_found(model, prefix):
    load(model, prefix)
    variable = model.feature_extractor.classification_backbone.weights[0]
    variable.assign(variable + 1e-3)
    restored = compare_with_checkpoint(model, prefix)
    assert restored.matching == 259
    assert restored.backbone_and_fpn_missing[0].startswith("feature_extractor/")


def test_a_file_of_another_network_is_refused_by_name(tmp_path):
    narrow = tmp_path / "narrow.h5"
    keras_network(alpha=0.35).save_weights(str(narrow))
    assert f"{narrow}: has " in refused(str(narrow), MODEL.name, MODEL.template, tmp_path)
    junk = tmp_path / "junk.h5"
    junk.write_bytes(b"junk")
    assert f"{junk}: cannot be read as a file of Keras weights" in refused(
        str(junk), MODEL.name, MODEL.template, tmp_path
    )
    gone = tmp_path / "gone.h5"
    assert f"{gone}: no such file" in refused(str(gone), MODEL.name, MODEL.template, tmp_path)
    assert not list(tmp_path.glob("*/checkpoint"))


def test_weights_that_are_not_finite_are_refused(network, tmp_path):
    first = network.weights[0].numpy()
    network.weights[0].assign(np.full(first.shape, np.nan))
    network.save_weights(str(tmp_path / "nan.h5"))
    network.weights[0].assign(first)
    assert "Conv1 are not finite" in refused(str(tmp_path / "nan.h5"), MODEL.name, MODEL.template, tmp_path)


@pytest.mark.parametrize("name", ["ssd_resnet50_v1_fpn_640x640", "efficientdet_d0_512x512"])
def test_models_without_such_weights_are_refused_before_a_download(tmp_path, name):
    model = model_zoo.find_model(name, CONFIGS / "models.yaml")
    message = refused("imagenet", name, model.template, tmp_path, server="http://127.0.0.1:9/")
    assert f"MODEL={name}" in message
    assert not list(tmp_path.iterdir())


def test_imagenet_is_fetched_once_and_held_to_its_first_digest(file, tmp_path):
    body = [file.read_bytes()]
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body[0])))
            self.end_headers()
            self.wfile.write(body[0])

        def log_message(self, *args):
            pass

    lines = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"

        def find():
            return pretrained_backbone.find_backbone_weights(
                "imagenet", MODEL.name, MODEL.template, tmp_path, server=address, report=lines.append
            )

        first = find()
        assert first.with_name("ckpt-0.index").is_file()
        assert any("all 260 variables" in line for line in lines)
        assert find() == first
        assert asked == ["/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"]

        [download] = tmp_path.glob("*.h5")
        download.unlink()
        body[0] = body[0][:-1] + b"x"
        with pytest.raises(UserError, match=r"no_top\.h5"):
            find()
        assert not download.exists()
        server.shutdown()


def test_without_a_network_one_line_says_what_to_do(tmp_path):
    message = refused("imagenet", MODEL.name, MODEL.template, tmp_path, server="http://127.0.0.1:9/")
    assert "by hand" in message
    assert "CHECKPOINT=ready" in message


def test_frozen_layers_end_at_stride_8(model):
    from facemask.tfod.detector_training import freeze_layers

    backbone = model.feature_extractor.classification_backbone
    freeze_layers(backbone, "none")
    assert all(layer.trainable for layer in backbone.layers)
    freeze_layers(backbone, "early")
    frozen = [layer.name for layer in backbone.layers if not layer.trainable]
    last = next(layer.name for layer in backbone.layers if layer.output is backbone.outputs[-3])
    assert last in frozen
    kept = [layer.name for layer in backbone.layers if layer.trainable and layer.weights]
    assert all(int(name.split("_")[1]) >= 6 for name in kept if name.startswith("block_"))
    assert not [name for name in frozen if name.startswith("block_") and int(name.split("_")[1]) >= 6]
    freeze_layers(backbone, "backbone")
    assert not backbone.trainable_variables
