"""The network: a backbone of Keras applications, and a head of pooling, a dense layer, dropout and softmax.

It is built with Keras 2 (tf-keras), whatever `tf.keras` is in this process; its SavedModel needs no Keras.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.support import downloads, hardware
from scripts.support.downloads import PRETRAINED
from scripts.support.errors import UserError
from scripts.support.files import sha256, write_json
from scripts.tfod import compat

HIDDEN = 128
"""Units of the head's dense layer."""

_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/"
_MOBILENET_SIZES = (96, 128, 160, 192, 224)


@dataclass(frozen=True)
class Backbone:
    """One of Keras applications' networks.

    Attributes:
        application: Its name in `tf_keras.applications`.
        preprocessing: The module there whose `preprocess_input` its ImageNet weights expect.
        weights: From the side of the input to the address of those weights, below Keras's.
        md5: Keras's own digest of them; None where Keras has none.
        fast_in_bf16: Whether it trains faster in bfloat16 than in float32 on a processor that has it. MobileNetV2's
            depthwise convolutions do not (measured with AMX: half as fast again).
    """

    application: str
    preprocessing: str
    weights: Callable[[int], str]
    md5: str | None
    fast_in_bf16: bool


def _mobilenet_weights(size: int) -> str:
    # Trained at five sizes; Keras takes those of 224 for any other.
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
"""The backbones by the name that BACKBONE= takes."""


@dataclass(frozen=True)
class Network:
    """A classifier to train.

    Attributes:
        backbone: From prepared pictures to (n, C) features, pooled.
        hidden: The head's dense layer.
        last: The layer that gives the logits, in float32.
        prepare: From RGB pictures in 0..255 to what the backbone expects.
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
            batch_statistics: Normalise by the batch's own statistics, and note them.
            dropout_seed: (2,) ints that decide what is dropped; None drops nothing.

        Returns:
            (n, K) float32.
        """
        import tensorflow as tf

        hidden = self.hidden(self.backbone(self.prepare(pictures), training=batch_statistics))
        if dropout_seed is not None and self.dropout:
            # Of the seed alone, not of a generator's state: a run that was stopped goes on as if it had not been.
            hidden = tf.nn.experimental.stateless_dropout(hidden, self.dropout, seed=dropout_seed)
        return self.last(hidden)

    @property
    def head_variables(self) -> list[Any]:
        """What is trained while the backbone is frozen."""
        return [*self.hidden.trainable_variables, *self.last.trainable_variables]

    @property
    def variables(self) -> list[Any]:
        """Everything that can be trained."""
        return [*self.backbone.trainable_variables, *self.head_variables]

    def as_checkpoint(self) -> Any:
        """What of it a checkpoint holds."""
        import tensorflow as tf

        return tf.train.Checkpoint(backbone=self.backbone, hidden=self.hidden, last=self.last)


def build(
    backbone: str,
    size: int,
    classes: int,
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
        classes: How many.
        dropout: See `Network`.
        weights: Keras's file (.h5) with the backbone's weights; None starts from random ones.
        seed: Of the random weights.
        bf16: Compute in bfloat16; the variables stay float32.
        alpha: MobileNetV2's width; with less than 1 it is smaller and there are no weights of Keras for it here.

    Raises:
        UserError: The weights are not those of this backbone.
    """
    compat.install()
    import tensorflow as tf
    import tf_keras

    row = BACKBONES[backbone]
    tf_keras.utils.set_random_seed(seed)
    options = {"alpha": alpha} if backbone == "mobilenet_v2" else {}
    with _policy(bf16):
        body = getattr(tf_keras.applications, row.application)(
            input_shape=(size, size, 3), include_top=False, weights=None, pooling="avg", **options
        )
        hidden = tf_keras.layers.Dense(HIDDEN, activation="relu", name="hidden")
        last = tf_keras.layers.Dense(classes, dtype="float32", name="logits")
        hidden.build((None, body.output_shape[-1]))
        last.build((None, HIDDEN))
    if weights is not None:
        try:
            body.load_weights(str(weights))
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{weights}: not the weights of {backbone} without its top, as Keras saves them in .h5 ({reason})."
            ) from None
    preprocess = getattr(tf_keras.applications, row.preprocessing).preprocess_input
    return Network(body, hidden, last, lambda pictures: preprocess(tf.cast(pictures, tf.float32)), dropout)


def choose_bf16(precision: str, backbone: str) -> bool:
    """Whether to compute in bfloat16 for "bf16", "fp32" or "auto", which takes it where it is faster."""
    if precision == "auto":
        return BACKBONES[backbone].fast_in_bf16 and hardware.cpu_has_bf16()
    return precision == "bf16"


def set_batch_norm_momentum(network: Network, momentum: float) -> None:
    """Set the momentum of the backbone's moving averages.

    Keras's 0.999 needs more steps than training from scratch may have; before that they are not what was trained with.
    """
    import tf_keras

    for layer in network.backbone.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.momentum = momentum


def find_weights(weights: str, backbone: str, size: int, into: Path = PRETRAINED) -> Path | None:
    """The file that WEIGHTS= means, downloaded if need be.

    Args:
        weights: "none" for random weights (returns None), "imagenet" for those of Keras applications, else a path.
        backbone: One of `BACKBONES`.
        size: Side of the input in pixels.
        into: The folder of downloads. A file that was put there by hand is used without a network.

    Raises:
        UserError: There is no such file, it cannot be had, or it is not the one that it was.
    """
    if weights == "none":
        return None
    if weights != "imagenet":
        path = Path(weights).expanduser()
        if not path.is_file():
            raise UserError(f"{path}: no such file. WEIGHTS= takes imagenet, none, or a file of Keras weights (.h5).")
        return path
    row = BACKBONES[backbone]
    address = _KERAS + row.weights(size)
    path = into / address.rpartition("/")[2]
    record = path.with_suffix(".json")
    transfer = downloads.Transfer(
        address,
        path,
        otherwise=f"Put the file at {path} by hand, or use WEIGHTS=<path>, or train from scratch with WEIGHTS=none.",
        begins=b"\x89HDF\r\n\x1a\n",
    )
    digest = f"md5:{row.md5}" if row.md5 else _recorded(record)
    if digest:
        return downloads.fetch(transfer, digest)
    try:
        with downloads.locked(path.with_name(f".{path.name}.lock"), path, transfer.say):
            if not path.exists():
                downloads.download(transfer).replace(path)
            write_json(record, {"format": 1, "address": address, "sha256": sha256(path)})
    except OSError as error:
        raise downloads.from_os(error, path) from None
    transfer.say(f"Keras publishes no digest of {path.name}: recorded this one's in {record}.")
    return path


def _recorded(record: Path) -> str | None:
    """The digest of the first download, where there was one."""
    try:
        return f"sha256:{json.loads(record.read_text(encoding='utf-8'))['sha256']}"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{record}: is not the digest that was recorded here. Remove it to record one anew.") from None


@contextlib.contextmanager
def _policy(bf16: bool) -> Iterator[None]:
    """What layers that are built in this block compute in."""
    import tf_keras

    before = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16" if bf16 else "float32")
    try:
        yield
    finally:
        tf_keras.mixed_precision.set_global_policy(before)
