"""Encode a labelled image as a tf.train.Example, with every field that the API's TfExampleDecoder reads, and decode it.

TensorFlow is not imported, since it needs seconds and hundreds of megabytes in every process. The messages are defined
here as in tensorflow/core/example/{example,feature}.proto, so the bytes are the same.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from facemask.core.label_map import LabelMap
from facemask.data.labelled_picture import GroundTruth, LabelledPicture


def encode_example(picture: LabelledPicture, encoded: bytes, label_map: LabelMap) -> bytes:
    """Serialise a labelled picture.

    Args:
        picture: A usable picture from `read_labelled_picture`.
        encoded: The image's bytes, from the same call.
        label_map: The classes.

    Returns:
        A `tf.train.Example`; the same bytes for the same arguments.
    """
    name, width, height, boxes = picture.name, picture.width, picture.height, picture.boxes
    ids = [label_map.id_of(box.label) for box in boxes]
    present = set(ids)
    every = range(1, len(label_map) + 1)
    features: dict[str, Iterable[Any]] = {
        "image/encoded": [encoded],
        "image/format": [picture.image_format.encode()],
        "image/filename": [name.encode()],
        "image/source_id": [name.encode()],
        "image/key/sha256": [picture.stored_sha256.encode()],
        "image/width": [width],
        "image/height": [height],
        # Labels of the whole image: every class was looked for, and is present or absent.
        "image/class/text": [label_map.name_of(i).encode() for i in every],
        "image/class/label": list(every),
        "image/class/confidence": [float(i in present) for i in every],
        "image/neg_category_ids": [i for i in every if i not in present],
        "image/not_exhaustive_category_ids": [],
        "image/object/bbox/xmin": [box.xmin / width for box in boxes],
        "image/object/bbox/xmax": [box.xmax / width for box in boxes],
        "image/object/bbox/ymin": [box.ymin / height for box in boxes],
        "image/object/bbox/ymax": [box.ymax / height for box in boxes],
        "image/object/class/text": [box.label.encode() for box in boxes],
        "image/object/class/label": ids,
        # In square pixels of the image, for COCO's sizes small, medium and large.
        "image/object/area": [box.width * box.height for box in boxes],
        "image/object/is_crowd": [0] * len(boxes),
        "image/object/group_of": [0] * len(boxes),
        "image/object/weight": [1.0] * len(boxes),
        "image/object/difficult": [int(box.difficult) for box in boxes],
        # The API's decoder does not read these two; its own Pascal VOC converter writes them.
        "image/object/truncated": [int(box.truncated) for box in boxes],
        "image/object/view": [box.pose.encode() for box in boxes],
    }
    example = _example_class()()
    for key, values in features.items():
        getattr(example.features.feature[key], _KINDS[key]).value.extend(values)
    serialized: bytes = example.SerializeToString(deterministic=True)
    return serialized


def decode_example(serialised: bytes, image_id: int = 0) -> tuple[GroundTruth, bytes]:
    """Decode an example.

    Args:
        serialised: A `tf.train.Example` that `encode_example` wrote.
        image_id: The number for the ground truth.

    Returns:
        The ground truth, and the image file's bytes.

    Raises:
        ValueError: The bytes are not a tf.train.Example, or lack the fields that `encode_example` writes.
    """
    try:
        feature = _example_class().FromString(serialised).features.feature
    except DecodeError as error:
        raise ValueError(f"not a tf.train.Example ({error})") from None

    def values(key: str) -> list[Any]:
        return list(getattr(feature[key], _KINDS[key]).value)

    try:
        [name], [encoded] = values("image/filename"), values("image/encoded")
        [width], [height] = values("image/width"), values("image/height")
    except ValueError:
        raise ValueError("an example without an image") from None
    edges = [
        np.array(values(f"image/object/bbox/{edge}"), dtype=np.float64) * side
        for edge, side in (("xmin", width), ("ymin", height), ("xmax", width), ("ymax", height))
    ]
    class_ids = np.array(values("image/object/class/label"), dtype=np.int64)
    difficult = values("image/object/difficult") or [0] * len(class_ids)
    if {len(edge) for edge in edges} != {len(class_ids)} or len(difficult) != len(class_ids):
        raise ValueError(f"the example of {name.decode(errors='replace')!r} has fields of different lengths")
    truth = GroundTruth(
        image_id=image_id,
        name=name.decode(errors="replace"),
        width=width,
        height=height,
        boxes=np.stack(edges, axis=1),
        class_ids=class_ids,
        difficult=np.array(difficult, dtype=bool),
    )
    return truth, encoded


_BYTES, _FLOAT, _INT = "bytes_list", "float_list", "int64_list"

_KINDS = {
    "image/encoded": _BYTES,
    "image/format": _BYTES,
    "image/filename": _BYTES,
    "image/source_id": _BYTES,
    "image/key/sha256": _BYTES,
    "image/width": _INT,
    "image/height": _INT,
    "image/class/text": _BYTES,
    "image/class/label": _INT,
    "image/class/confidence": _FLOAT,
    "image/neg_category_ids": _INT,
    "image/not_exhaustive_category_ids": _INT,
    "image/object/bbox/xmin": _FLOAT,
    "image/object/bbox/xmax": _FLOAT,
    "image/object/bbox/ymin": _FLOAT,
    "image/object/bbox/ymax": _FLOAT,
    "image/object/class/text": _BYTES,
    "image/object/class/label": _INT,
    "image/object/area": _FLOAT,
    "image/object/is_crowd": _INT,
    "image/object/group_of": _INT,
    "image/object/weight": _FLOAT,
    "image/object/difficult": _INT,
    "image/object/truncated": _INT,
    "image/object/view": _BYTES,
}
"""The type of each field in the API's decoder (object_detection/data_decoders/tf_example_decoder.py)."""


@cache
def _example_class() -> Any:
    """The message class of tf.train.Example. Its own descriptor pool keeps it apart from TensorFlow's definition."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="tensorflow", syntax="proto3")

    def message(name: str) -> descriptor_pb2.DescriptorProto:
        return file.message_type.add(name=name)

    for name, kind in (
        ("BytesList", field.TYPE_BYTES),
        ("FloatList", field.TYPE_FLOAT),
        ("Int64List", field.TYPE_INT64),
    ):
        message(name).field.add(name="value", number=1, type=kind, label=field.LABEL_REPEATED)
    feature = message("Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("BytesList", "FloatList", "Int64List"), start=1):
        feature.field.add(
            name=f"{name[:-4].lower()}_list",
            number=number,
            type=field.TYPE_MESSAGE,
            type_name=f".tensorflow.{name}",
            label=field.LABEL_OPTIONAL,
            oneof_index=0,
        )
    features = message("Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    link = {"type": field.TYPE_MESSAGE}
    entry.field.add(name="value", number=2, type_name=".tensorflow.Feature", label=field.LABEL_OPTIONAL, **link)
    entry_type = ".tensorflow.Features.FeatureEntry"
    features.field.add(name="feature", number=1, type_name=entry_type, label=field.LABEL_REPEATED, **link)
    example = message("Example")
    example.field.add(name="features", number=1, type_name=".tensorflow.Features", label=field.LABEL_OPTIONAL, **link)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))
