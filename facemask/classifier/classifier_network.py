"""The classifier's network: a backbone from Keras applications, and a head of pooling, dense layer, dropout, softmax.

It is built with Keras 2 (tf-keras), as the Object Detection API needs it. Its SavedModel needs no Keras.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facemask.classifier.exported_classifier import ExportedClassifier
from facemask.core import downloads, hardware
from facemask.core.downloads import PRETRAINED
from facemask.core.errors import UserError
from facemask.core.files import expand_home
from facemask.ready import shipped_detector
from facemask.tfod import compact_checkpoint, compat, detection_model
from facemask.tfod.pretrained_backbone import KERAS as _KERAS

HIDDEN = 128
"""Units of the head's dense layer."""

_MOBILENET_SIZES = (96, 128, 160, 192, 224)


@dataclass(frozen=True)
class Backbone:
    """One of Keras applications' networks.

    Attributes:
        application: Its name in `tf_keras.applications`.
        preprocessing: The module there whose `preprocess_input` its ImageNet weights expect.
        weights: Maps the side of the input to the address of those weights, relative to Keras's base address.
        md5: The digest that Keras publishes for them; None if it publishes none.
        fast_in_bf16: Whether it trains faster in bfloat16 than in float32 on a processor with native bfloat16.
            MobileNetV2 does not, because of its depthwise convolutions (measured with AMX: half as fast again).
    """

    application: str
    preprocessing: str
    weights: Callable[[int], str]
    md5: str | None
    fast_in_bf16: bool


def _mobilenet_weights(size: int) -> str:
    # The weights were trained at five sizes; for any other size Keras uses those of 224.
    rows = size if size in _MOBILENET_SIZES else 224
    return f"mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{rows}_no_top.h5"


BACKBONES = {
    "mobilenet_v2": Backbone("MobileNetV2", "mobilenet_v2", _mobilenet_weights, None, fast_in_bf16=False),
    "resnet50": Backbone(
        "ResNet50",
        "resnet50",
        lambda size: "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "4d473c1dd8becc155b73f8504c6f6626",  # keras/applications/resnet.py, WEIGHTS_HASHES
        fast_in_bf16=True,
    ),
}
"""The backbones by the name that `BACKBONE=` takes."""


@dataclass(frozen=True)
class Network:
    """A classifier's network for training.

    Attributes:
        backbone: Maps prepared pictures to (n, C) pooled features.
        hidden: The head's dense layer.
        last: The layer that returns the logits, in float32.
        prepare: Converts RGB pictures in 0..255 to the backbone's input range.
        dropout: Share of the hidden units that a training step drops.
    """

    backbone: Any
    hidden: Any
    last: Any
    prepare: Callable[[Any], Any]
    dropout: float

    def logits(self, pictures: Any, *, batch_statistics: bool = False, dropout_seed: Any = None) -> Any:
        """The logits of a batch of pictures.

        Args:
            pictures: (n, size, size, 3) RGB in 0..255, float32.
            batch_statistics: Normalise by the batch's own statistics, and update the moving averages.
            dropout_seed: (2,) ints that determine the dropped units; None drops nothing.

        Returns:
            (n, K) float32.
        """
        import tensorflow as tf

        hidden = self.hidden(self.backbone(self.prepare(pictures), training=batch_statistics))
        if dropout_seed is not None and self.dropout:
            # Dropout depends on the seed alone, not on a generator's state, so that a resumed run has the same result.
            hidden = tf.nn.experimental.stateless_dropout(hidden, self.dropout, seed=dropout_seed)
        return self.last(hidden)

    def probabilities(self, pictures: Any, classes: int) -> Any:
        """The probabilities of the classes for a batch of pictures, as exported classifiers give them.

        Args:
            pictures: (n, size, size, 3) RGB in 0..255, float32.
            classes: Number of classes, K.

        Returns:
            (n, K) float32. If the network has an output for boxes without a labelled face, its probability is what a
            row lacks to 1.
        """
        import tensorflow as tf

        of_all = tf.nn.softmax(self.logits(pictures))
        # A product instead of a slice: `make page` and `make small` convert networks without slices.
        return of_all if of_all.shape[1] == classes else tf.matmul(of_all, np.eye(of_all.shape[1], classes, dtype="f4"))

    @property
    def head_variables(self) -> list[Any]:
        """The variables that are trained while the backbone is frozen."""
        return [*self.hidden.trainable_variables, *self.last.trainable_variables]

    @property
    def variables(self) -> list[Any]:
        """All trainable variables."""
        return [*self.backbone.trainable_variables, *self.head_variables]

    @property
    def all_variables(self) -> list[Any]:
        """All variables, with batch normalisation's moving averages."""
        return [*self.backbone.variables, *self.head_variables]

    def as_checkpoint(self) -> Any:
        """The parts of the network that a checkpoint holds."""
        import tensorflow as tf

        return tf.train.Checkpoint(backbone=self.backbone, hidden=self.hidden, last=self.last)


def build_network(
    backbone: str,
    size: int,
    outputs: int,
    *,
    dropout: float = 0.0,
    weights: Path | None = None,
    seed: int = 0,
    bf16: bool = False,
    alpha: float = 1.0,
) -> Network:
    """Build a network.

    Args:
        backbone: One of `BACKBONES`.
        size: Side of the input in pixels, 32 or more.
        outputs: See `FaceSet.outputs`.
        dropout: See `Network`.
        weights: Keras's file (.h5) with the backbone's weights, or a file of `compact_checkpoint` (.npz) with those of
            a whole network; None starts from random weights.
        seed: Seed of the random weights.
        bf16: Compute in bfloat16; the variables stay float32.
        alpha: MobileNetV2's width. Below 1 the network is smaller, and `find_weights` has no weights for it.

    Raises:
        UserError: The weights are not those of this backbone.
    """
    compat.install()
    import tensorflow as tf
    import tf_keras

    row = BACKBONES[backbone]
    tf_keras.utils.set_random_seed(seed)
    options = {"alpha": alpha} if backbone == "mobilenet_v2" else {}
    with detection_model.precision(bf16):
        body = getattr(tf_keras.applications, row.application)(
            input_shape=(size, size, 3), include_top=False, weights=None, pooling="avg", **options
        )
        hidden = tf_keras.layers.Dense(HIDDEN, activation="relu", name="hidden")
        last = tf_keras.layers.Dense(outputs, dtype="float32", name="logits")
        hidden.build((None, body.output_shape[-1]))
        last.build((None, HIDDEN))
    preprocess = getattr(tf_keras.applications, row.preprocessing).preprocess_input
    network = Network(body, hidden, last, lambda pictures: preprocess(tf.cast(pictures, tf.float32)), dropout)
    if weights is not None and weights.suffix == ".npz":
        _restore_whole_network(network, weights)
    elif weights is not None:
        try:
            body.load_weights(str(weights))
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{weights}: not the weights of {backbone} without its top, as Keras saves them in .h5 ({reason})."
            ) from None
    return network


def _restore_whole_network(network: Network, file: Path) -> None:
    """Give a network the values of a `compact_checkpoint`; its last layer only where both have as many classes."""
    import tensorflow as tf

    parts = {"backbone": network.backbone, "hidden": network.hidden, "last": network.last}
    total = sum(len(part.weights) for part in parts.values())
    with tempfile.TemporaryDirectory() as folder:
        prefix = str(compact_checkpoint.unpack_checkpoint(file, Path(folder)))
        shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
        if shapes["last/kernel/.ATTRIBUTES/VARIABLE_VALUE"] != list(network.last.kernel.shape):
            del parts["last"]
        tf.train.Checkpoint(**parts).read(prefix).assert_existing_objects_matched().expect_partial()
    held = sum(len(part.weights) for part in parts.values())
    print(f"{file}: {held} of the network's {total} variables hold its values", flush=True)


def write_checkpoint(model: ExportedClassifier, folder: Path) -> Path:
    """Write the variables of an exported classifier's SavedModel as a checkpoint of its network, and give its prefix.

    Raises:
        UserError: The classifier was exported without a SavedModel.
    """
    variables = model.saved_model / "variables" / "variables"
    if not variables.with_name("variables.index").is_file():
        raise UserError(
            f"{model.saved_model}: no variables in it. Run `make classifier RUN={model.folder.name}` again."
        )
    network = build_network(model.backbone, model.size, model.outputs or len(model.label_map)).as_checkpoint()
    import tensorflow as tf

    # The SavedModel's module holds the network under this name: `classifier_export`.
    restored = tf.train.Checkpoint(network=network).read(str(variables))
    restored.assert_existing_objects_matched().expect_partial()
    return Path(network.write(str(folder / "ckpt-0")))


def choose_bf16(precision: str, backbone: str) -> bool:
    """Whether to compute in bfloat16. `precision` is "bf16", "fp32" or "auto"; "auto" uses bfloat16 if it is faster."""
    if precision == "auto":
        return BACKBONES[backbone].fast_in_bf16 and hardware.cpu_has_bf16()
    return precision == "bf16"


def set_batch_norm_momentum(network: Network, momentum: float) -> None:
    """Set the momentum of the backbone's moving averages.

    With Keras's 0.999 the averages need more steps to settle than a training from scratch may have.
    """
    import tf_keras

    for layer in network.backbone.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.momentum = momentum


def find_weights(weights: str, backbone: str, size: int, into: Path = PRETRAINED) -> Path | None:
    """The file that `WEIGHTS=` names; it is downloaded if it is not there.

    Args:
        weights: "none" for random weights (returns None), "imagenet" for those of Keras applications, "ready" for those
            of the classifier that comes with facemask, else a path.
        backbone: One of `BACKBONES`.
        size: Side of the input in pixels.
        into: The folder of downloads. If the user has put the file there by hand, no network is needed.

    Raises:
        UserError: The file does not exist, cannot be downloaded, or has the wrong digest.
    """
    if weights == "none":
        return None
    if weights == "ready":
        path = shipped_detector.training_weights(shipped_detector.CLASSIFIER)
        about = compact_checkpoint.read_about(path)
        if about["backbone"] != backbone:
            raise UserError(f"WEIGHTS=ready: is a {about['backbone']}, not BACKBONE={backbone}. Leave BACKBONE out.")
        return path
    if weights != "imagenet":
        path = expand_home(weights)
        if not path.is_file():
            raise UserError(
                f"{path}: no such file. WEIGHTS= takes imagenet, ready, none, or a file of Keras weights (.h5)."
            )
        return path
    row = BACKBONES[backbone]
    address = _KERAS + row.weights(size)
    path = into / address.rpartition("/")[2]
    otherwise = (
        f"Put the file at {path} by hand, or use WEIGHTS=<path>; or take WEIGHTS=ready (leave BACKBONE out) or "
        "WEIGHTS=none, which need no network."
    )
    return downloads.fetch_file(downloads.RemoteFile(address, path, otherwise), f"md5:{row.md5}" if row.md5 else None)
