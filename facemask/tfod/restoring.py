"""Check what a model restored from a checkpoint: compare its variables with the checkpoint's values one by one."""

import collections
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_VARIABLE = "VARIABLE_VALUE"
_SLOT = "/.OPTIMIZER_SLOT/"
"""Part of the keys of the optimizer's values in a training checkpoint."""
_FEATURES = ("model/_feature_extractor/", "feature_extractor/")
"""Prefixes of the feature extractor's keys in a detection checkpoint, and of the backbone's in a classification one."""
_PREDICTOR = "model/_box_predictor/"
_BOX_KERNEL = re.compile(_PREDICTOR + r".*/_box_encoder_layers/\d+/(?:depthwise_)?kernel/")
_HEAD_LAYER = re.compile(_PREDICTOR + r"_head_scope_conv_layers/\w+/(\d+)/")


@dataclass(frozen=True)
class Restored:
    """How many of a model's variables have a checkpoint's values.

    Attributes:
        matching: Number of the model's variables whose counterpart in the checkpoint's object graph has the same shape
            and exactly the same values.
        total: Number of the model's variables.
        backbone_and_fpn_missing: The differences in the feature extractor (backbone and FPN): the paths of the model's
            variables without equal values, and of the checkpoint's variables without a counterpart in the model. It is
            empty only if the whole feature extractor was restored.
    """

    matching: int
    total: int
    backbone_and_fpn_missing: tuple[str, ...]


def compare_with_checkpoint(model: Any, checkpoint_prefix: Path | str) -> Restored:
    """Compare a detection model's variables with an object-based checkpoint that contains a detection model as `model`.

    A checkpoint of a backbone alone, which the API restores with `fine_tune_checkpoint_type: "classification"`, is
    compared with the model's backbone alone.

    Variables are paired like in TensorFlow's own restore, by their path in the object graph. A pair matches only if its
    values are equal.

    With `fine_tune_checkpoint_type: "detection"` the API restores only the feature extractor
    (SSDMetaArch.restore_from_objects). The box predictor's variables then do not match.

    Args:
        model: The API's DetectionModel with its variables.
        checkpoint_prefix: Path of the checkpoint without ".index".

    Example:
        >>> compare_with_checkpoint(model, "workspace/pretrained/ssd_.../checkpoint/ckpt-0")
        Restored(matching=287, total=463, backbone_and_fpn_missing=())
    """
    import numpy as np
    import tensorflow as tf
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    reader = tf.train.load_checkpoint(str(checkpoint_prefix))
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
        reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
    )
    keys = {
        node_id: attribute.checkpoint_key
        for node_id, node in enumerate(graph.nodes)
        for attribute in node.attributes
        if attribute.name == _VARIABLE and _SLOT not in attribute.checkpoint_key
    }
    backbone_only = checkpoint_type(checkpoint_prefix, model.num_classes) == "classification"
    if backbone_only:
        root = tf.train.Checkpoint(feature_extractor=model.feature_extractor.classification_backbone)
    else:
        root = tf.train.Checkpoint(model=model)
    paired = tf.train.CheckpointView(str(checkpoint_prefix)).match(root)
    key_of = {id(paired[node_id]): key for node_id, key in keys.items() if node_id in paired}

    matching, total, missing, met = 0, 0, [], set()
    for path, variable in _variables(root):
        key = key_of.get(id(variable))
        if key is not None:
            met.add(key)
        total += 1
        if key is not None and np.array_equal(variable.numpy(), reader.get_tensor(key)):
            matching += 1
        elif path.startswith(_FEATURES):
            missing.append(path)
    unmet = sorted(key for key in set(keys.values()) - met if key.startswith(_FEATURES))
    missing += [key.removesuffix(f"/.ATTRIBUTES/{_VARIABLE}") for key in unmet]
    return Restored(matching, total, tuple(dict.fromkeys(missing)))


def checkpoint_type(checkpoint_prefix: Path | str, num_classes: int, head: tuple[int, int] | None = None) -> str:
    """The API's `fine_tune_checkpoint_type` for a model with these classes and heads: what it can restore.

    "full" is everything: the checkpoint's heads have the same number of classes, the same depth and as many layers.
    "detection" is the feature extractor (backbone and FPN). "classification" is the backbone, from a checkpoint that
    contains nothing else.

    The class head has one output per anchor and class, including the background. The box head has four outputs per
    anchor (predictors/heads/keras_class_head.py and keras_box_head.py). The convolutions before them are in
    `_head_scope_conv_layers` (predictors/convolutional_keras_box_predictor.py).

    Args:
        checkpoint_prefix: Path of the checkpoint without ".index".
        num_classes: The model's number of classes.
        head: The depth and the number of layers of its heads, `pipeline_config.head_of`; None compares the classes
            alone.
    """
    import tensorflow as tf

    shapes = tf.train.load_checkpoint(str(checkpoint_prefix)).get_variable_to_shape_map()
    heads = [(name, shape[0]) for name, shape in shapes.items() if "/bias/" in name and name.startswith(_PREDICTOR)]
    classes = {size for name, size in heads if "_class_predictor_layers" in name}
    boxes = {size for name, size in heads if "_box_encoder_layers" in name}
    # The third axis of a kernel, and of a depthwise one, is its input's channels.
    depths = {shape[2] for name, shape in shapes.items() if _BOX_KERNEL.match(name)}
    layers = {int(found[1]) for name in shapes if (found := _HEAD_LAYER.match(name))}
    same_head = head is None or (depths, layers) == ({head[0]}, set(range(head[1])))
    if same_head and classes == {size // 4 * (num_classes + 1) for size in boxes} != set():
        return "full"
    return "detection" if any(name.startswith("model/") for name in shapes) else "classification"


def _variables(root: Any) -> Iterator[tuple[str, Any]]:
    """Yield each variable below `root` once, with its shortest path in a checkpoint's notation, breadth first."""
    import tensorflow as tf

    seen = {id(root)}
    waiting = collections.deque([("", root)])
    while waiting:
        path, node = waiting.popleft()
        if isinstance(node, tf.Variable):
            yield path, node
            continue
        for name, child in tf.train.TrackableView.children(node).items():
            if id(child) not in seen:
                seen.add(id(child))
                waiting.append((f"{path}/{name}".lstrip("/"), child))
