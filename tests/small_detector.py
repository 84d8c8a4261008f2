"""A detection model of two small layers behind the API's interface, for the tests of the train loop.

The loop needs a model that learns, with a backbone, batch normalisation, regularisation and checkpoints; what it finds
does not matter. To build and to trace an SSD takes a processor half a minute; this takes about a second. Importing the
module imports TensorFlow.
"""

from typing import Any

import tensorflow as tf
from object_detection.builders import image_resizer_builder
from object_detection.core import model, standard_fields
from object_detection.utils import shape_utils

CELL = 32
"""Side of a cell in pixels: each has one box and a score for each class."""


class CellMeans(tf.keras.layers.Layer):
    """Features of the mean colours of an image's cells; its place in a checkpoint is that of an SSD's backbone."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        regularizer = tf.keras.regularizers.l2(1e-3)
        self.classification_backbone = tf.keras.Sequential(
            [
                tf.keras.layers.AveragePooling2D(CELL),
                tf.keras.layers.Conv2D(width, 1, kernel_regularizer=regularizer),
                tf.keras.layers.BatchNormalization(momentum=0.9),
                # Some 260 kB: a checkpoint is larger than whatever else a training writes.
                tf.keras.layers.Conv2D(width, 1, activation="relu", kernel_regularizer=regularizer),
            ]
        )

    def call(self, images: Any, training: bool) -> Any:
        return self.classification_backbone(images, training=training)


class SmallDetector(model.DetectionModel):
    """Finds one box in each cell. Its loss moves the mean box to the mean true box, and the mean scores likewise."""

    def __init__(self, config: Any, is_training: bool) -> None:
        super().__init__(num_classes=config.num_classes)
        self._is_training = is_training
        self._resize = image_resizer_builder.build(config.image_resizer)
        self._feature_extractor = CellMeans()
        self._box_predictor = tf.keras.layers.Dense(4 + self.num_classes)

    @property
    def feature_extractor(self) -> CellMeans:
        return self._feature_extractor

    def preprocess(self, inputs: Any) -> tuple[Any, Any]:
        images, shapes = shape_utils.resize_images_and_return_shapes(inputs, self._resize)
        return images / 127.5 - 1, shapes

    def predict(self, preprocessed_inputs: Any, true_image_shapes: Any, **side_inputs: Any) -> dict[str, Any]:
        cells = self._box_predictor(self._feature_extractor(preprocessed_inputs, training=self._is_training))
        return {"cells": tf.reshape(cells, [tf.shape(cells)[0], -1, 4 + self.num_classes])}

    def loss(self, prediction_dict: dict[str, Any], true_image_shapes: Any) -> dict[str, Any]:
        found = tf.reduce_mean(prediction_dict["cells"], axis=1)
        boxes = self.groundtruth_lists(standard_fields.BoxListFields.boxes)
        classes = self.groundtruth_lists(standard_fields.BoxListFields.classes)
        mean_boxes = tf.stack([tf.reduce_sum(one, 0) / tf.maximum(1.0, _count(one)) for one in boxes])
        any_of_class = tf.stack([tf.minimum(tf.reduce_sum(one, 0), 1.0) for one in classes])
        scores = tf.nn.sigmoid_cross_entropy_with_logits(any_of_class, found[:, 4:])
        return {
            "Loss/localization_loss": tf.reduce_mean((found[:, :4] - mean_boxes) ** 2),
            "Loss/classification_loss": tf.reduce_mean(scores),
        }

    def postprocess(self, prediction_dict: dict[str, Any], true_image_shapes: Any, **params: Any) -> dict[str, Any]:
        cells = prediction_dict["cells"]
        corners, scores = tf.clip_by_value(cells[..., :4], 0, 1), tf.sigmoid(cells[..., 4:])
        low, high = tf.minimum(corners[..., :2], corners[..., 2:]), tf.maximum(corners[..., :2], corners[..., 2:])
        return {
            "detection_boxes": tf.concat([low, high], axis=-1),
            "detection_classes": tf.cast(tf.argmax(scores, axis=-1), tf.float32),
            "detection_scores": tf.reduce_max(scores, axis=-1),
            "num_detections": tf.fill([tf.shape(cells)[0]], tf.cast(tf.shape(cells)[1], tf.float32)),
        }

    def regularization_losses(self) -> list[Any]:
        return self._feature_extractor.losses

    def restore_from_objects(self, fine_tune_checkpoint_type: str = "full") -> dict[str, Any]:
        assert fine_tune_checkpoint_type == "full"
        return {"model": self}

    def restore_map(self, *arguments: Any, **options: Any) -> Any:
        raise NotImplementedError  # of TensorFlow 1

    def updates(self) -> list[Any]:
        return []


def _count(rows: Any) -> Any:
    return tf.cast(tf.shape(rows)[0], tf.float32)


def build(config: Any, is_training: bool, add_summaries: bool) -> SmallDetector:
    """In the place of the builder of SSDs in `model_builder.META_ARCH_BUILDER_MAP`."""
    return SmallDetector(config, is_training)
