import hashlib
from pathlib import Path
from typing import Any

import made_data
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facemask.data import tfexample
from facemask.data.discovery import DiscoveredPicture
from facemask.data.labelled_picture import LabelledPicture
from facemask.data.voc import Box

IMAGE = made_data.encoded(made_data.picture())
BOXES = (
    Box("without_mask", 0, 12, 16, 48, difficult=True),
    Box("mask_weared_incorrect", 32, 0, 64, 24, truncated=True, pose="Left"),
)


def encode(boxes: tuple[Box, ...] = BOXES, width: int = 64, height: int = 48, name: str = "train/é.jpg") -> bytes:
    picture = LabelledPicture(
        source=DiscoveredPicture(name, "xml"),
        usable=True,
        findings=(),
        boxes=boxes,
        width=width,
        height=height,
        image_format="jpeg",
        stored_sha256=hashlib.sha256(IMAGE).hexdigest(),
    )
    return tfexample.encode_example(picture, IMAGE, made_data.CLASSES)


def test_bytes_are_tensorflows():
    import tensorflow as tf

    example = tf.train.Example.FromString(encode())
    assert example.SerializeToString(deterministic=True) == encode()
    feature = example.features.feature
    assert list(feature["image/object/difficult"].int64_list.value) == [1, 0]
    assert list(feature["image/object/truncated"].int64_list.value) == [0, 1]
    assert list(feature["image/object/view"].bytes_list.value) == [b"Unspecified", b"Left"]
    assert feature["image/format"].bytes_list.value[0] == b"jpeg"
    assert feature["image/key/sha256"].bytes_list.value[0] == hashlib.sha256(IMAGE).hexdigest().encode()


def test_the_api_reads_every_field(tmp_path: Path):
    from object_detection.data_decoders.tf_example_decoder import TfExampleDecoder

    (tmp_path / "label_map.pbtxt").write_text(made_data.CLASSES.to_pbtxt())
    decoder = TfExampleDecoder(label_map_proto_file=str(tmp_path / "label_map.pbtxt"))
    assert set(decoder.keys_to_features) <= set(tfexample._KINDS)
    decoded = {key: tensor.numpy() for key, tensor in decoder.decode(encode()).items()}
    assert np.allclose(decoded["groundtruth_boxes"], [[0.25, 0, 1, 0.25], [0, 0.5, 0.5, 1]])
    assert decoded["groundtruth_classes"].tolist() == [2, 3]
    assert decoded["groundtruth_difficult"].tolist() == [1, 0]
    assert decoded["groundtruth_area"].tolist() == [16 * 36, 32 * 24]
    assert decoded["groundtruth_weights"].tolist() == [1, 1]
    assert decoded["groundtruth_is_crowd"].tolist() == [False, False]
    assert decoded["groundtruth_image_classes"].tolist() == [1, 2, 3]
    assert decoded["groundtruth_image_confidences"].tolist() == [0, 1, 1]
    assert decoded["groundtruth_verified_neg_classes"].tolist() == [1]
    assert decoded["filename"].decode() == decoded["source_id"].decode() == "train/é.jpg"
    assert decoded["image"].shape == (48, 64, 3)
    empty = decoder.decode(encode(()))
    assert empty["groundtruth_boxes"].shape == (0, 4)
    assert empty["groundtruth_verified_neg_classes"].numpy().tolist() == [1, 2, 3]


CORNER = st.floats(0, 1, width=32)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(made_data.CLASSES.names), CORNER, CORNER, CORNER, CORNER, st.booleans())),
    st.integers(1, 20_000),
    st.integers(1, 20_000),
    st.text(st.characters(codec="utf-8"), max_size=20),
)
def test_encoded_is_read_back(objects: list[Any], width: int, height: int, name: str):
    boxes = tuple(Box(label, a * width, b * height, c * width, d * height, hard) for label, a, b, c, d, hard in objects)
    decoded, encoded = tfexample.decode_example(encode(boxes, width, height, name), image_id=3)
    assert (decoded.image_id, decoded.name, decoded.width, decoded.height) == (3, name, width, height)
    assert encoded == IMAGE
    assert decoded.boxes.shape == (len(boxes), 4)
    expected = np.array([(box.xmin, box.ymin, box.xmax, box.ymax) for box in boxes]).reshape(-1, 4)
    assert np.abs(decoded.boxes - expected).max(initial=0) <= max(width, height) * 1e-7
    assert [made_data.CLASSES.name_of(i) for i in decoded.class_ids] == [box.label for box in boxes]
    assert decoded.difficult.tolist() == [box.difficult for box in boxes]


@pytest.mark.parametrize("data", [b"", b"\x00\xff", b"hello", encode()[:-5]])
def test_what_is_no_example_is_said(data: bytes):
    with pytest.raises(ValueError):
        tfexample.decode_example(data)
