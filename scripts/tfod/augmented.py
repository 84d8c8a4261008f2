"""What the model sees in training: pictures through the API's own input pipeline, augmentation and all."""

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.dataset import tfexample, tfrecord
from scripts.dataset.manifest import Manifest
from scripts.support.errors import UserError
from scripts.tfod import pipeline_config, runs


@dataclass(frozen=True)
class Seen:
    """A picture as the model gets it.

    Attributes:
        image: uint8 array of shape (size, size, 3), RGB.
        boxes: (n, 4) float32, xyxy in pixels of `image`.
        class_ids: (n,) ids of the label map.
    """

    image: np.ndarray
    boxes: np.ndarray
    class_ids: np.ndarray


def most_varied(records: Manifest, annotations: Path, count: int) -> list[bytes]:
    """The serialised examples of the train split that show most classes, in the order of the records.

    Raises:
        UserError: The train split is empty, or its records cannot be read.
    """
    found: list[tuple[int, int, bytes]] = []
    names: set[str] = set()
    for file in records.splits["train"].files:
        for serialised in tfrecord.read(annotations / file):
            example = tfexample.decode(serialised)
            if example.name not in names:
                names.add(example.name)
                found.append((-len(set(example.class_ids.tolist())), len(found), serialised))
                # Of thousands of pictures only those that may be shown are kept.
                found = sorted(found)[:count]
    if not found:
        raise UserError(f"{annotations}: no image in the train split. `make records` says which image went where.")
    return [serialised for _, _, serialised in sorted(found, key=lambda one: one[1])]


def draws(
    examples: Sequence[bytes],
    template: Path,
    choices: runs.Choices,
    records: Manifest,
    annotations: Path,
    count: int,
    seed: int,
) -> list[list[Seen]]:
    """Send pictures through `inputs.train_input` again and again.

    Args:
        examples: Serialised examples, one a picture.
        template: The model's pipeline config template.
        choices: Size and augmentation; what else they say has no effect here.
        records: The contents of the records' `records.json`.
        annotations: The records' folder.
        count: How often each picture is sent.
        seed: Seeds the augmentation.

    Returns:
        For each picture `count` that the model might see.

    Raises:
        UserError: The template or a choice is wrong.
    """
    from scripts.tfod import compat

    compat.install()
    import tensorflow as tf
    from object_detection import inputs
    from object_detection.builders import model_builder
    from object_detection.core.standard_fields import InputDataFields

    tf.keras.utils.set_random_seed(seed)
    with tempfile.TemporaryDirectory() as scratch:
        settings = runs.settings(choices, records, annotations, Path(scratch), None)
        config = pipeline_config.parse(pipeline_config.render(template, settings), template)
        file = Path(scratch) / "examples.record"
        file.write_bytes(b"".join(map(tfrecord.frame, examples)))
        reader, training = config.train_input_reader, config.train_config
        reader.label_map_path = str(annotations / "label_map.pbtxt")
        reader.tf_record_input_reader.input_path[:] = [str(file)]
        # One picture after the other, each as often as any.
        reader.shuffle, reader.num_readers, reader.num_epochs, training.batch_size = False, 1, count, 1
        model = model_builder.build(config.model, is_training=True)
        black, white = (_as_model_sees(model, value) for value in (0.0, 255.0))
        seen: dict[int, list[Seen]] = defaultdict(list)
        for features, labels in inputs.train_input(training, reader, config.model, model=model):
            image = features[InputDataFields.image][0].numpy()
            number = int(labels[InputDataFields.num_groundtruth_boxes][0])
            height, width = image.shape[:2]
            normalised = labels[InputDataFields.groundtruth_boxes][0].numpy()[:number]
            one_hot = labels[InputDataFields.groundtruth_classes][0].numpy()[:number]
            pixels = np.clip(np.rint((image - black) / (white - black) * 255), 0, 255).astype(np.uint8)
            boxes = normalised[:, [1, 0, 3, 2]] * np.array([width, height, width, height], np.float32)
            seen[int(features[inputs.HASH_KEY][0])].append(Seen(pixels, boxes, one_hot.argmax(axis=1) + 1))
    return list(seen.values())


def _as_model_sees(model: object, value: float) -> np.ndarray:
    """A picture of one value after the model's own normalisation, which is linear in each channel: (3,)."""
    import tensorflow as tf

    plain = tf.fill((1, 8, 8, 3), value)
    normalised: np.ndarray = model._feature_extractor.preprocess(plain)[0, 0, 0].numpy()  # type: ignore[attr-defined]
    return normalised
