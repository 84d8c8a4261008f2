"""Send pictures through the API's training input pipeline, with augmentation, to show what the model trains on."""

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facemask.core.errors import UserError
from facemask.data import ground_truth, tfrecord
from facemask.data.manifest import Manifest


@dataclass(frozen=True)
class AugmentedPicture:
    """A picture after augmentation and resizing.

    Attributes:
        image: uint8 array of shape (size, size, 3), RGB.
        boxes: (n, 4) float32, xyxy in pixels of `image`.
        class_ids: (n,) ids of the label map.
    """

    image: np.ndarray
    boxes: np.ndarray
    class_ids: np.ndarray


def choose_varied_examples(records: Manifest, annotations: Path, count: int) -> list[bytes]:
    """Choose the serialised examples of the train split with the most classes, in the order of the records.

    Of examples with as many classes, the first are chosen.

    Raises:
        UserError: The train split is empty, or its records cannot be read.
    """
    found: list[tuple[int, int, bytes]] = []
    files = [annotations / file for file in records.splits["train"].files]
    for number, (serialised, _, truth) in enumerate(ground_truth.read_examples(files)):
        found.append((-len(set(truth.class_ids.tolist())), number, serialised))
        # Keep only candidates in memory, not all pictures of the split.
        found = sorted(found)[:count]
    if not found:
        raise UserError(f"{annotations}: no image in the train split. `make records` says which image went where.")
    return [serialised for _, _, serialised in sorted(found, key=lambda one: one[1])]


def draw_augmented(
    examples: Sequence[bytes],
    config: Any,
    count: int,
    seed: int,
) -> list[list[AugmentedPicture]]:
    """Send pictures through `inputs.train_input` several times.

    Args:
        examples: Serialised examples, one per picture.
        config: The `TrainEvalPipelineConfig` with the model and the augmentation. Its reader and its batch size are
            changed.
        count: How often each picture is sent.
        seed: The seed of the augmentation.

    Returns:
        For each picture, in the order of the examples, its `count` augmented forms.
    """
    from facemask.tfod import compat

    compat.install()
    import tensorflow as tf
    from object_detection import inputs
    from object_detection.builders import model_builder
    from object_detection.core.standard_fields import InputDataFields

    tf.keras.utils.set_random_seed(seed)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "examples.record"
        file.write_bytes(b"".join(map(tfrecord.frame_record, examples)))
        reader, training = config.train_input_reader, config.train_config
        reader.tf_record_input_reader.input_path[:] = [str(file)]
        # The pictures in order, `count` times.
        reader.shuffle, reader.num_readers, reader.num_epochs, training.batch_size = False, 1, count, 1
        model = model_builder.build(config.model, is_training=True)
        black, white = (_as_model_sees(model, value) for value in (0.0, 255.0))
        seen: dict[int, list[AugmentedPicture]] = defaultdict(list)
        for features, labels in inputs.train_input(training, reader, config.model, model=model):
            image = features[InputDataFields.image][0].numpy()
            number = int(labels[InputDataFields.num_groundtruth_boxes][0])
            height, width = image.shape[:2]
            normalised = labels[InputDataFields.groundtruth_boxes][0].numpy()[:number]
            one_hot = labels[InputDataFields.groundtruth_classes][0].numpy()[:number]
            pixels = np.clip(np.rint((image - black) / (white - black) * 255), 0, 255).astype(np.uint8)
            boxes = normalised[:, [1, 0, 3, 2]] * np.array([width, height, width, height], np.float32)
            seen[int(features[inputs.HASH_KEY][0])].append(AugmentedPicture(pixels, boxes, one_hot.argmax(axis=1) + 1))
    return list(seen.values())


def _as_model_sees(model: object, value: float) -> np.ndarray:
    """The channels, (3,), of a pixel of this value after the model's normalisation, which is linear."""
    import tensorflow as tf

    plain = tf.fill((1, 8, 8, 3), value)
    normalised: np.ndarray = model._feature_extractor.preprocess(plain)[0, 0, 0].numpy()  # type: ignore[attr-defined]
    return normalised
