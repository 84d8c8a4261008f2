"""What a model really took from a checkpoint: its variables compared with the checkpoint's values, one by one."""

import collections
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_VARIABLE = "VARIABLE_VALUE"
_SLOT = "/.OPTIMIZER_SLOT/"
"""What a training checkpoint holds of the optimizer beside a variable."""
_FEATURES = "model/_feature_extractor/"
_PREDICTOR = "model/_box_predictor/"


@dataclass(frozen=True)
class Restored:
    """How much of a checkpoint a model holds.

    Attributes:
        matching: Number of the model's variables that have a counterpart at their place in the checkpoint's object
            graph, of the same shape and with exactly the same values.
        total: Number of the model's variables.
        backbone_and_fpn_missing: What keeps the feature extractor (backbone and FPN) from being the checkpoint's: the
            paths of its variables that do not match, and of the checkpoint's that the model has no variable for. A
            model whose variables are not built yet lacks them all, so this is empty only for a whole feature extractor.
    """

    matching: int
    total: int
    backbone_and_fpn_missing: tuple[str, ...]


def compare_with_checkpoint(model: Any, checkpoint_prefix: Path | str) -> Restored:
    """Compare a detection model's variables with those of an object-based checkpoint that holds one as `model`.

    A variable and its counterpart are paired as TensorFlow's own restore pairs them, by the path in the object graph,
    and count only if the values are equal: equal values elsewhere, or a mere name, do not.

    With `fine_tune_checkpoint_type: "detection"` the API restores the feature extractor and nothing else
    (SSDMetaArch.restore_from_objects), so there the box predictor's variables are expected not to match.

    Args:
        model: The API's DetectionModel, its variables built.
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
    root = tf.train.Checkpoint(model=model)
    paired = tf.train.CheckpointView(str(checkpoint_prefix)).match(root)
    key_of = {id(paired[node_id]): key for node_id, key in keys.items() if node_id in paired}

    matching, total, missing, met = 0, 0, [], set()
    for path, variable in _variables(root.model):
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


def has_head_for(checkpoint_prefix: Path | str, num_classes: int) -> bool:
    """Whether a checkpoint's class head is one for so many classes, so that the whole of it can be taken over.

    The class head has one output for each anchor and class, the background among them, the box head four for each
    anchor (predictors/heads/keras_class_head.py and keras_box_head.py).
    """
    import tensorflow as tf

    shapes = tf.train.load_checkpoint(str(checkpoint_prefix)).get_variable_to_shape_map()
    heads = [(name, shape[0]) for name, shape in shapes.items() if "/bias/" in name and name.startswith(_PREDICTOR)]
    classes = {size for name, size in heads if "_class_predictor_layers" in name}
    boxes = {size for name, size in heads if "_box_encoder_layers" in name}
    return classes == {size // 4 * (num_classes + 1) for size in boxes} != set()


def _variables(model: Any) -> Iterator[tuple[str, Any]]:
    """Each variable of the model once, with its shortest path as a checkpoint names it, breadth first."""
    import tensorflow as tf

    seen = {id(model)}
    waiting = collections.deque([("model", model)])
    while waiting:
        path, node = waiting.popleft()
        if isinstance(node, tf.Variable):
            yield path, node
            continue
        for name, child in tf.train.TrackableView.children(node).items():
            if id(child) not in seen:
                seen.add(id(child))
                waiting.append((f"{path}/{name}", child))
