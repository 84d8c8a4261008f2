import dataclasses

import numpy as np
import pytest
from PIL import Image

from facemask.core.errors import UserError
from facemask.core.label_map import LabelMap
from facemask.data import ground_truth, manifest, tfexample, tfrecord
from facemask.media import picture_grid
from facemask.tfod import augmented_examples, model_zoo, pipeline_config, training_runs


def seen(tiny_records, preset, count, seed=0):
    records = manifest.read_manifest(tiny_records)
    examples = augmented_examples.choose_varied_examples(records, tiny_records, 2)
    template = model_zoo.find_model("ssd_resnet50_v1_fpn_640x640").template
    settings = training_runs.make_settings(
        records, tiny_records, tiny_records, size=160, steps=1, batch=1, augment=preset
    )
    return examples, augmented_examples.draw_augmented(
        examples, pipeline_config.make_config(template, settings), count, seed
    )


def test_the_model_sees_the_pictures_and_their_mirror_images(tiny_records):
    examples, (flipped, others) = seen(tiny_records, "flip", 8)
    assert len(flipped) == len(others) == 8
    first, _ = tfexample.decode_example(examples[0])
    images = {held.name: image for image, held in ground_truth.read_records(tiny_records, "train")}
    height, width = images[first.name].shape[:2]
    boxes = first.boxes * 160 / np.array([width, height] * 2)
    picture = np.asarray(Image.fromarray(images[first.name]).resize((160, 160), Image.Resampling.BILINEAR), int)
    mirrored = []
    for one in flipped:
        assert one.image.shape == (160, 160, 3)
        assert one.class_ids.tolist() == first.class_ids.tolist()
        # The same colours, whatever the model subtracts from them.
        apart = [np.abs(picture - image).mean() for image in (one.image, one.image[:, ::-1])]
        assert min(apart) < 6 < max(apart)
        mirrored.append(apart[1] < apart[0])
        expected = 160 - boxes[:, [2, 0]] if mirrored[-1] else boxes[:, [0, 2]]
        np.testing.assert_allclose(one.boxes[:, [0, 2]], expected, atol=0.01)
        np.testing.assert_allclose(one.boxes[:, [1, 3]], boxes[:, [1, 3]], atol=0.01)
    assert 0 < sum(mirrored) < 8


def test_a_preset_that_is_none_is_refused(tiny_records):
    with pytest.raises(UserError, match=r"AUGMENT=wild: must be one of .*strong"):
        seen(tiny_records, "wild", 1)


def test_the_varied_examples_are_the_pictures_with_most_classes_in_order(tiny_records):
    records = manifest.read_manifest(tiny_records)
    chosen = [
        tfexample.decode_example(one)[0] for one in augmented_examples.choose_varied_examples(records, tiny_records, 3)
    ]
    all_of_them = [held for _, held in ground_truth.read_records(tiny_records, "train")]
    most = sorted((len(set(held.class_ids.tolist())) for held in all_of_them), reverse=True)[:3]
    assert sorted((len(set(one.class_ids.tolist())) for one in chosen), reverse=True) == most
    order = [held.name for held in all_of_them]
    assert [order.index(one.name) for one in chosen] == sorted(order.index(one.name) for one in chosen)
    empty = dataclasses.replace(records.splits["train"], files=())
    with pytest.raises(UserError, match="no image in the train split"):
        augmented_examples.choose_varied_examples(
            dataclasses.replace(records, splits={"train": empty}), tiny_records, 3
        )


@pytest.mark.parametrize("count", [1, 2])
def test_of_pictures_with_as_many_classes_the_first_are_chosen(tiny_records, tmp_path, count):
    records = manifest.read_manifest(tiny_records)
    files = [tiny_records / file for file in records.splits["train"].files]
    by_classes = {}
    for serialised, _, held in ground_truth.read_examples(files):
        by_classes.setdefault(len(set(held.class_ids.tolist())), []).append(serialised)
    few, most = by_classes[min(by_classes)], sorted(by_classes[max(by_classes)], reverse=True)
    assert len(few) >= 1 and len(most) >= 2
    (tmp_path / "train.record").write_bytes(b"".join(map(tfrecord.frame_record, [*few[:2], *most])))
    train = dataclasses.replace(records.splits["train"], files=("train.record",))
    records = dataclasses.replace(records, splits={"train": train})
    assert augmented_examples.choose_varied_examples(records, tmp_path, count) == most[:count]


def test_a_damaged_example_is_one_line_that_names_its_file(tiny_records, tmp_path):
    (tmp_path / "train.record").write_bytes(tfrecord.frame_record(b"no example"))
    records = manifest.read_manifest(tiny_records)
    train = dataclasses.replace(records.splits["train"], files=("train.record",))
    with pytest.raises(UserError, match=r"train\.record: record 0 cannot be read .* Make the records again"):
        augmented_examples.choose_varied_examples(
            dataclasses.replace(records, splits={"train": train}), tmp_path, count=1
        )


def test_the_grid_shows_each_picture_with_its_boxes_in_their_colours():
    red = np.zeros((40, 40, 3), np.uint8) + np.array([200, 0, 0], np.uint8)
    boxes = np.array([[10.0, 10, 30, 30]])
    sheet = picture_grid.draw_picture_grid([[(red, boxes, np.array([2]))] * 2], "two", LabelMap(("a", "b")), side=80)
    assert sheet.shape == (34 + 6 + 80 + 6, 6 + 2 * 86, 3)
    for left in (6, 92):
        cell = sheet[40:120, left : left + 80]
        assert cell[5, 5].tolist() == [200, 0, 0]
        assert cell[20, 40].tolist() == [0xD5, 0x5E, 0x00]
