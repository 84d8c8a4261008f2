"""Convert a backbone's weights, of Keras's file or a classifier, to a checkpoint from which the API can start a model.

The API's MobileNetV2 calls Keras's function with replaced layers (models/keras_models/mobilenet_v2.py), so both
networks have the same layers with the same names. Input scaling (2/255 x - 1), epsilon (0.001) and ReLU6 are
also the same, and for even sides `padding="same"` pads like Keras's explicit padding. The same weights therefore give
the same features.

The backbone of a classifier that `make classifier` trained is that network too, and has learned faces.

The checkpoint contains the backbone alone. The API reads it with `fine_tune_checkpoint_type: "classification"`.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from facemask.core import downloads
from facemask.core.downloads import PRETRAINED, RemoteFile
from facemask.core.errors import UserError
from facemask.core.files import expand_home, replacing_folder, sha256

KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/"
"""The address of Keras's weights (BASE_WEIGHT_PATH in keras/applications)."""

WEIGHTS = {
    "ssd_mobilenet_v2_fpn_keras": "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
}
"""The file below `KERAS` for the backbone of each feature extractor, by the API's name."""

_WHY_NOT = {
    "ssd_resnet50_v1_fpn_keras": (
        "Keras's ResNet50 expects BGR pictures and has convolution biases, ReLU and another epsilon; the API's does not"
    ),
}
_VARIABLES = "saved_model/variables/variables.data-00000-of-00001"
"""The weights in the folder of an exported classifier."""

_NEXT = "Use MODEL=ssd_mobilenet_v2_fpnlite_640x640, CHECKPOINT=ready (leave MODEL out), zoo or none."


def find_backbone_weights(
    checkpoint: str,
    model: str,
    template: Path,
    into: Path = PRETRAINED,
    *,
    server: str = KERAS,
    report: Callable[[str], None] = print,
) -> Path:
    """Provide the weights of CHECKPOINT=imagenet, <file>.h5 or <exported classifier> as a checkpoint of the backbone.

    Args:
        checkpoint: "imagenet" for Keras's weights, which are downloaded once; else the path of a Keras file (.h5), or
            the folder of an exported classifier (`is_classifier`).
        model: The model's name, for messages.
        template: The template of the model's pipeline config, which names its backbone.
        into: The folder of downloads. The checkpoint is written there, into a folder named after the file's digest.
        server: The address of Keras's files. Plain HTTP is allowed only for 127.0.0.1.
        report: Called with each line for the user.

    Returns:
        The checkpoint's prefix.

    Raises:
        UserError: The file is missing, damaged or of another network, or there are no weights for the model's backbone.
    """
    extractor = _extractor(template)
    if extractor not in WEIGHTS:
        why = _WHY_NOT.get(extractor, "no weights of Keras are known to fit its backbone")
        raise UserError(f"CHECKPOINT={checkpoint}: not possible with MODEL={model}: {why}. {_NEXT}")
    if checkpoint == "imagenet":
        address = server + WEIGHTS[extractor]
        target = into / address.rpartition("/")[2]
        otherwise = f"Put the file at {target} by hand, or use CHECKPOINT=<path>.h5. {_NEXT}"
        loopback = server.startswith("http://127.0.0.1:")
        file = downloads.fetch_file(RemoteFile(address, target, otherwise, loopback, report=report), None)
    else:
        file = expand_home(checkpoint)
        if not file.exists():
            raise UserError(f"{file}: no such file. CHECKPOINT= takes imagenet or a file of Keras weights (.h5).")
    weights = file / _VARIABLES if file.is_dir() else file
    if not weights.is_file():
        raise UserError(f"{weights}: no such file, so this classifier cannot be trained on. {_NEXT}")
    folder = into / f"{file.stem}-{sha256(weights)[:12]}"
    prefix = folder / "checkpoint" / "ckpt-0"
    if not prefix.with_name("ckpt-0.index").is_file():
        with replacing_folder(folder) as beside:
            count = _convert(file, beside / "checkpoint")
        report(f"{file}: all {count} variables of the backbone have the file's values")
    return prefix


def is_classifier(checkpoint: str) -> bool:
    """Whether a path is the folder of an exported classifier."""
    return (expand_home(checkpoint) / "classifier.json").is_file()


def _extractor(template: Path) -> str:
    """The type of the feature extractor in a template of a pipeline config; empty if there is none."""
    try:
        found = re.search(r'feature_extractor\s*{\s*type:\s*"([^"]+)"', template.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{template}: cannot be read ({error}).") from None
    return found[1] if found else ""


def _convert(file: Path, folder: Path) -> int:
    """Write a MobileNetV2, of a Keras file or a classifier's SavedModel, as checkpoint `ckpt-0` into `folder`.

    Returns the number of variables.
    """
    from facemask.tfod import compat

    compat.install()
    import tensorflow as tf

    backbone = _mobilenet_v2()
    if file.is_dir():
        _restore(file, backbone)
    else:
        _assign(file, backbone)
    # The manager also writes its save counter, which the API requires.
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(feature_extractor=backbone), str(folder), max_to_keep=1)
    manager.save(checkpoint_number=0)
    return len(backbone.weights)


def _restore(classifier: Path, backbone: Any) -> None:
    """Give a backbone the values in the variables of a classifier's SavedModel (`classifier_export`)."""
    import tensorflow as tf

    saved = tf.train.Checkpoint(network=tf.train.Checkpoint(backbone=backbone))
    try:
        prefix = str((classifier / _VARIABLES).with_suffix(""))
        saved.read(prefix).assert_existing_objects_matched().expect_partial()
    except (AssertionError, ValueError, tf.errors.OpError):
        raise UserError(
            f"{classifier}: is not a MobileNetV2 1.0 of `make classifier`. Give another CHECKPOINT=, or "
            "CHECKPOINT=none."
        ) from None


def _assign(file: Path, backbone: Any) -> None:
    """Give a backbone the values of a Keras file."""
    values = _read(file)
    variables = [
        (layer.name, number, variable) for layer in backbone.layers for number, variable in enumerate(layer.weights)
    ]
    wrong = [
        f"{layer} needs {tuple(variable.shape)}, the file has "
        + (f"{values[layer][number].shape}" if number < len(values.get(layer, ())) else "none")
        for layer, number, variable in variables
        if number >= len(values.get(layer, ())) or tuple(variable.shape) != values[layer][number].shape
    ]
    if wrong:
        raise UserError(
            f"{file}: has {len(variables) - len(wrong)} of the backbone's {len(variables)} variables ({wrong[0]}), "
            "so it is not MobileNetV2 1.0. Give another CHECKPOINT=<path>.h5, or CHECKPOINT=none."
        )
    for layer, number, variable in variables:
        variable.assign(values[layer][number])


def _mobilenet_v2() -> Any:
    """Build MobileNetV2 with the outputs for the FPN, using the API's feature extractor."""
    from google.protobuf import text_format
    from object_detection.builders import hyperparams_builder
    from object_detection.models.ssd_mobilenet_v2_fpn_keras_feature_extractor import (
        SSDMobileNetV2FpnKerasFeatureExtractor,
    )
    from object_detection.protos import hyperparams_pb2

    text = (
        "regularizer { l2_regularizer { } } initializer { truncated_normal_initializer { } } batch_norm { scale: true }"
    )
    extractor = SSDMobileNetV2FpnKerasFeatureExtractor(
        is_training=False,
        depth_multiplier=1.0,
        min_depth=16,
        pad_to_multiple=1,
        conv_hyperparams=hyperparams_builder.KerasLayerHyperparams(
            text_format.Parse(text, hyperparams_pb2.Hyperparams())
        ),
        freeze_batchnorm=False,
        inplace_batchnorm_update=True,
        use_depthwise=True,
        override_base_feature_extractor_hyperparams=True,
    )
    extractor.build((None, None, None, 3))
    return extractor.classification_backbone


def _read(file: Path) -> dict[str, list[Any]]:
    """Read the arrays of a Keras file by layer, in the layer's order (kernel; or gamma, beta, mean, variance)."""
    import h5py
    import numpy as np

    try:
        with h5py.File(file, "r") as opened:
            weights = opened.get("model_weights", opened)
            found = {}
            for layer in weights.attrs["layer_names"]:
                group = weights[layer]
                found[_text(layer)] = [np.asarray(group[name], np.float32) for name in group.attrs["weight_names"]]
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{file}: cannot be read as a file of Keras weights (.h5) ({reason}).") from None
    for layer, arrays in found.items():
        if not all(np.isfinite(array).all() for array in arrays):
            raise UserError(f"{file}: the weights of {layer} are not finite. Download the file again.")
    return found


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
