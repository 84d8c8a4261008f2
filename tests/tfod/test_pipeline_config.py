import dataclasses
from pathlib import Path

import pytest
import standin

from facemask.core.errors import UserError
from facemask.data.manifest import Manifest, Split
from facemask.tfod import model_zoo, pipeline_config, training_runs

CONFIGS = Path(__file__).parents[2] / "configs"
TEMPLATE = CONFIGS / "ssd_resnet50_v1_fpn_640x640.config.j2"


@pytest.fixture(autouse=True)
def records(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with record files, which nothing here reads."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "annotations").mkdir()
    for split in ("train", "val", "test"):
        (folder / "annotations" / f"{split}.record").touch()
    monkeypatch.chdir(folder)


def settings(**changes: object) -> pipeline_config.Settings:
    made = training_runs.make_settings(
        manifest(max_boxes=115), Path("annotations"), Path("run"), size=320, steps=1000, batch=16
    )
    return dataclasses.replace(made, **changes)


def manifest(max_boxes: int, train: int = 10) -> Manifest:
    def split(name: str, images: int) -> Split:
        return Split((f"{name}.record",), images, 3 * images, {"a": images, "b": 2 * images}, max_boxes)

    return Manifest(("a", "b"), {"train": split("train", train), "val": split("val", 2), "test": split("test", 2)}, "")


@pytest.mark.parametrize("model", model_zoo.read_models(CONFIGS / "models.yaml").values(), ids=lambda model: model.name)
def test_every_models_template_renders_to_a_config_of_the_api(model: model_zoo.ZooModel) -> None:
    config = pipeline_config.make_config(model.template, settings())
    assert config.model.ssd.num_classes == 2
    assert config.train_config.batch_size == 16
    assert config.train_config.num_steps == 1000
    assert config.train_config.max_number_of_boxes == 115
    assert config.train_input_reader.max_number_of_boxes == 115
    assert config.model.ssd.post_processing.batch_non_max_suppression.max_total_detections == 115
    assert list(config.eval_input_reader[0].tf_record_input_reader.input_path) == ["annotations/val.record"]


@pytest.mark.parametrize("model", model_zoo.read_models(CONFIGS / "models.yaml").values(), ids=lambda model: model.name)
def test_every_model_may_have_other_heads(model: model_zoo.ZooModel) -> None:
    zoo = {"ssd_resnet50_v1_fpn_640x640": (256, 4), "efficientdet_d0_512x512": (64, 3)}.get(model.name, (128, 4))
    assert pipeline_config.head_of(pipeline_config.make_config(model.template, settings())) == zoo
    narrow = pipeline_config.make_config(model.template, settings(head_depth=96, head_layers=2))
    assert pipeline_config.head_of(narrow) == (96, 2)


def test_a_template_with_heads_of_its_own_takes_no_others(tmp_path: Path) -> None:
    template = tmp_path / "t.config.j2"
    template.write_text(
        "model { ssd { box_predictor { weight_shared_convolutional_box_predictor { depth: {{ head_depth or 9 }} } } } }"
    )
    assert pipeline_config.head_of(pipeline_config.make_config(template, settings(head_depth=8))) == (8, 0)
    with pytest.raises(UserError, match=r"HEAD_LAYERS=2: .*t\.config\.j2"):
        pipeline_config.make_config(template, settings(head_depth=8, head_layers=2))
    template.write_text("model { ssd { box_predictor { convolutional_box_predictor { } } } }")
    assert pipeline_config.head_of(pipeline_config.make_config(template, settings())) is None


@pytest.mark.parametrize("augment", ["none", "flip", "light", "strong", "zoom"])
def test_every_preset_of_augmentations_renders(augment: str) -> None:
    config = pipeline_config.make_config(TEMPLATE, settings(augment=augment))
    assert bool(config.train_config.data_augmentation_options) == (augment != "none")


def test_the_optimizer_and_its_schedule() -> None:
    momentum = pipeline_config.make_config(TEMPLATE, settings())
    optimizer = momentum.train_config.optimizer.momentum_optimizer
    assert optimizer.momentum_optimizer_value == pytest.approx(0.9)
    rate = optimizer.learning_rate.cosine_decay_learning_rate
    assert rate.learning_rate_base == pytest.approx(0.04 * 16 / 64)
    assert (rate.total_steps, rate.warmup_steps) == (1000, 40)
    adam = pipeline_config.make_config(TEMPLATE, settings(optimizer="adam"))
    assert adam.train_config.optimizer.HasField("adam_optimizer")


def test_a_path_is_not_a_pattern() -> None:
    text = pipeline_config.render_template(TEMPLATE, settings(train_records=("a[1]*?/é \"'\\.record",)))
    (path,) = pipeline_config.parse_config(text, TEMPLATE).train_input_reader.tf_record_input_reader.input_path
    assert path == "a\\[1\\]\\*\\?/é \"'\\\\.record"


def test_a_template_that_asks_for_an_unknown_value_is_named(tmp_path: Path) -> None:
    template = tmp_path / "t.config.j2"
    template.write_text("model { ssd { num_classes: {{ num_clases }} } }")
    with pytest.raises(UserError, match=r"t\.config\.j2: .*num_clases"):
        pipeline_config.render_template(template, settings())


def test_a_template_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.config\.j2"):
        pipeline_config.render_template(tmp_path / "none.config.j2", settings())
    template = tmp_path / "t.config.j2"
    template.write_text("model { {% if %} }")
    with pytest.raises(UserError, match=r"t\.config\.j2: .*line 1"):
        pipeline_config.render_template(template, settings())


def test_a_field_that_the_api_does_not_know_is_named() -> None:
    with pytest.raises(UserError, match="no_such_field"):
        pipeline_config.parse_config("model { ssd { no_such_field: 1 } }", Path("pipeline.config"))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"size": 128}, "SIZE=128"),
        ({"size": 330}, "SIZE=330"),
        ({"steps": 0}, "STEPS=0"),
        ({"batch": 0}, "BATCH=0"),
        ({"learning_rate": float("nan")}, "LEARNING_RATE=nan"),
        ({"learning_rate": 0.0}, "LEARNING_RATE=0.0"),
        ({"anchor_scale": -1.0}, "ANCHOR_SCALE=-1.0"),
        ({"weight_decay": -1.0}, "WEIGHT_DECAY=-1.0"),
        ({"batch_norm_decay": 1.0}, "BATCH_NORM_DECAY=1.0"),
        ({"clip_gradients": -1.0}, "CLIP_GRADIENTS=-1.0"),
        ({"optimizer": "sgd"}, "OPTIMIZER=sgd"),
        ({"warmup_steps": 1001}, "WARMUP_STEPS=1001"),
        ({"head_depth": 0}, "HEAD_DEPTH=0"),
        ({"head_layers": -1}, "HEAD_LAYERS=-1"),
    ],
)
def test_values_that_cannot_be_are_refused(changes: dict[str, object], named: str) -> None:
    with pytest.raises(UserError, match=named):
        settings(**changes)


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match=r"AUGMENT=wild: must be one of flip, light, none, strong"):
        pipeline_config.render_template(TEMPLATE, settings(augment="wild"))


def test_the_rate_follows_from_the_batch_and_the_decay_from_the_steps() -> None:
    assert pipeline_config.base_learning_rate(64, "momentum") == 0.04
    assert pipeline_config.base_learning_rate(8, "momentum") == 0.005
    assert pipeline_config.usual_warm_up(25_000, 0.04) == (1000, pytest.approx(0.013333, abs=1e-6))
    assert training_runs.usual_batch_norm_decay(100_000) == 0.997
    # What is left of the initial averages after the run: 0.01%.
    assert training_runs.usual_batch_norm_decay(400) ** 400 == pytest.approx(0.0001, rel=0.2)


def test_nothing_to_train_on_is_refused() -> None:
    empty = manifest(max_boxes=0, train=0)
    with pytest.raises(UserError, match="annotations"):
        training_runs.make_settings(empty, Path("annotations"), Path("run"), size=320, steps=10, batch=1)


def test_what_makes_a_checkpoint_useless_is_named() -> None:
    def parsed(**changes: object) -> object:
        return pipeline_config.make_config(TEMPLATE, settings(**changes))

    before = parsed()
    later = parsed(steps=2000, batch=4, max_detections=200, batch_norm_decay=0.9, weight_decay=0.1)
    assert pipeline_config.model_differences(before, later) == []
    assert pipeline_config.model_differences(before, parsed(num_classes=3)) == ["model.ssd.num_classes: 2 -> 3"]
    assert pipeline_config.model_differences(before, parsed(size=640)) == [
        "model.ssd.image_resizer.fixed_shape_resizer.height: 320 -> 640",
        "model.ssd.image_resizer.fixed_shape_resizer.width: 320 -> 640",
    ]


def test_the_stand_in_for_tests_has_every_setting() -> None:
    assert "num_classes: 90" in standin.config_text(90, 640)
