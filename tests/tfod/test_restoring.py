import shutil
from pathlib import Path

import numpy as np
import pytest
import standin

from facemask.tfod import model_zoo
from facemask.tfod.restoring import compare_with_checkpoint

ENTRIES = Path(__file__).with_name("zoo_entries.txt")


@pytest.fixture(scope="module")
def prefix(zoo_archive, tmp_path_factory):
    into = tmp_path_factory.mktemp("pretrained")
    shutil.copy(zoo_archive.archive, into)
    # The archive lies where a hand would put it: nothing is asked of the network.
    yield model_zoo.fetch_archive(f"https://127.0.0.1:1/{zoo_archive.archive.name}", zoo_archive.index_sha256, into)
    shutil.rmtree(into)


@pytest.fixture(scope="module")
def model():
    return standin.detection_model(num_classes=3)


def load(model, prefix, kind="detection"):
    from object_detection import model_lib_v2
    from object_detection.protos import train_pb2

    model_lib_v2.load_fine_tune_checkpoint(model, str(prefix), kind, train_pb2.CheckpointVersion.V2, False, None, True)


def feature_variables(model):
    return list(model._feature_extractor.variables)


def test_standin_has_the_names_and_shapes_of_the_zoos_checkpoint(prefix):
    import tensorflow as tf

    # The list was made from the index in the zoo's archive: each entry but the object graph, "name [shape]".
    expected = dict(line.split(" ") for line in ENTRIES.read_text().splitlines())
    shapes = tf.train.load_checkpoint(str(prefix)).get_variable_to_shape_map()
    del shapes["_CHECKPOINTABLE_OBJECT_GRAPH"]
    found = {name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE"): shape for name, shape in shapes.items()}
    assert {name: str(shape).replace(" ", "") for name, shape in found.items()} == expected
    assert len(expected) == 464


def test_apis_restore_brings_the_whole_feature_extractor_and_no_box_predictor(model, prefix):
    for variable in model.variables:
        variable.assign(variable * 0 + 7)  # nowhere in the checkpoint
    fresh = compare_with_checkpoint(model, prefix)
    assert (fresh.matching, fresh.total) == (0, 463)
    assert len(fresh.backbone_and_fpn_missing) == len(feature_variables(model)) == 291
    load(model, prefix)
    restored = compare_with_checkpoint(model, prefix)
    assert (restored.matching, restored.total, restored.backbone_and_fpn_missing) == (291, 463, ())


def test_one_changed_number_is_found_and_named(model, prefix):
    load(model, prefix)
    variable = next(v for v in feature_variables(model) if v.shape.rank == 4)
    values = variable.numpy()
    values[0, 0, 0, 0] = np.nextafter(values[0, 0, 0, 0], np.float32(9))
    variable.assign(values)
    restored = compare_with_checkpoint(model, prefix)
    assert restored.matching == len(feature_variables(model)) - 1
    assert len(restored.backbone_and_fpn_missing) == 1
    assert restored.backbone_and_fpn_missing[0].startswith("model/_feature_extractor/")
    assert restored.backbone_and_fpn_missing[0].endswith("/kernel")


def test_equal_values_at_another_place_do_not_count(model, prefix):
    load(model, prefix)
    gammas = [v for v in feature_variables(model) if "gamma" in v.name and v.shape == (64,)][:2]
    first, second = (gamma.numpy() for gamma in gammas)
    gammas[0].assign(second)
    gammas[1].assign(first)
    restored = compare_with_checkpoint(model, prefix)
    assert restored.matching == len(feature_variables(model)) - 2
    assert len(restored.backbone_and_fpn_missing) == 2


def test_model_without_variables_lacks_the_whole_feature_extractor(prefix):
    from object_detection.builders import model_builder

    from facemask.tfod import pipeline_config

    config = pipeline_config.parse_config(standin.config_text(3, 192), standin.CONFIGS)
    unbuilt = model_builder.build(config.model, is_training=True)
    restored = compare_with_checkpoint(unbuilt, prefix)
    assert restored.matching == 0
    assert len(restored.backbone_and_fpn_missing) >= 287


def test_full_restore_matches_every_variable_in_bfloat16_too(prefix):
    import tensorflow as tf

    # The policy wraps each variable in one that casts on reading; what it stores stays float32.
    policy = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = standin.detection_model(num_classes=90)
    finally:
        tf.keras.mixed_precision.set_global_policy(policy)
    load(model, prefix, "full")
    restored = compare_with_checkpoint(model, prefix)
    assert (restored.matching, restored.total, restored.backbone_and_fpn_missing) == (463, 463, ())
