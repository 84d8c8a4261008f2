import json
from pathlib import Path

import numpy as np
import pytest
import tiny_model

from facemask.core import exported_model
from facemask.core.errors import UserError
from facemask.core.files import sha256
from facemask.tfod import pipeline_config, saved_model_export, training_runs


def test_exports_what_the_contract_says(tiny_exported: Path, tiny_run: Path) -> None:
    assert {path.name for path in tiny_exported.iterdir()} - {"openvino"} == {
        "saved_model", "checkpoint", "pipeline.config", "label_map.pbtxt", "model.json",
    }  # fmt: skip
    value = json.loads((tiny_exported / "model.json").read_text())
    made = value.pop("made")
    assert made["step"] == "export" and made["started_from"] is None
    assert value == {
        "format": 1,
        "model": "tiny",
        "classes": tiny_model.CLASSES,
        "input": {"height": 128, "width": 128},
        "run": "tiny",
        "steps": 7,
        "config_sha256": sha256(tiny_run / "pipeline.config"),
        "thresholds": {},
    }
    assert exported_model.read_exported_model(tiny_exported).label_map.names == tuple(tiny_model.CLASSES)
    assert list(tiny_exported.parent.iterdir()) == [tiny_exported]  # nothing of the making is left


def test_the_exported_checkpoint_has_the_runs_values(tiny_exported: Path, tiny_run: Path) -> None:
    import tensorflow as tf

    before = tf.train.load_checkpoint(str(tiny_run))
    after = tf.train.load_checkpoint(str(tiny_exported / "checkpoint"))
    names = [name for name in after.get_variable_to_shape_map() if name.startswith("model/")]
    assert len(names) > 100
    for name in names:
        np.testing.assert_array_equal(after.get_tensor(name), before.get_tensor(name))


def test_refuses_a_checkpoint_without_the_models_variables(tmp_path: Path) -> None:
    """As model_main_tf2 saves one before its first step."""
    run = tmp_path / "models" / "fresh"
    tiny_model.write_run(run)
    tiny_model.save_checkpoint(run, tiny_model.build(called=False), steps=0)
    with pytest.raises(UserError, match=r"ckpt-1: .* (\d+) of the model's \1 variables") as error:
        saved_model_export.export_run(saved_model_export.find_run_checkpoint(run), tmp_path / "exported" / "fresh")
    assert "model/_box_predictor" in str(error.value) and "missing" in str(error.value)
    assert not list((tmp_path / "exported").iterdir())


def test_refuses_a_checkpoint_of_another_model(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "two"
    tiny_model.write_run(run, tiny_model.CONFIG.replace("num_classes: 3", "num_classes: 2"), tiny_model.CLASSES[:2])
    for file in tiny_run.glob("*ckpt*"):
        (run / file.name).symlink_to(file)
    (run / "checkpoint").write_bytes((tiny_run / "checkpoint").read_bytes())
    with pytest.raises(UserError, match=r" 2 of the model's 187 .*\n.*bias: shape \[4\], the model's is \[3\]\n"):
        saved_model_export.export_run(saved_model_export.find_run_checkpoint(run), tmp_path / "exported")


def test_refuses_classes_that_the_config_does_not_have(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "two"
    tiny_model.write_run(run, classes=tiny_model.CLASSES[:2])
    source = saved_model_export.ExportSource(training_runs.read_run(run), tiny_run / "ckpt-1")
    with pytest.raises(UserError, match=r"3 classes, but run\.json names 2"):
        saved_model_export.export_run(source, tmp_path / "exported")


def test_refuses_a_model_that_diverged(tmp_path: Path) -> None:
    run = tmp_path / "nan"
    tiny_model.write_run(run)
    model = tiny_model.build()
    bias = model.trainable_variables[-1]
    bias.assign(np.full(bias.shape, np.nan, dtype=np.float32))
    tiny_model.save_checkpoint(run, model, steps=3)
    with pytest.raises(UserError, match="ckpt-1"):
        saved_model_export.export_run(saved_model_export.find_run_checkpoint(run), tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def test_the_check_sees_a_saved_model_with_other_weights(tiny_exported: Path) -> None:
    picture = saved_model_export._picture(128, 128)
    other = tiny_model.build()
    for variable in other.trainable_variables:
        variable.assign_add(0.05 * np.ones(variable.shape, dtype=np.float32))
    wanted = other.postprocess(*saved_model_export._predict(other, picture))
    with pytest.raises(RuntimeError, match="saved_model"):
        saved_model_export._check(tiny_exported / "saved_model", picture, wanted)


def test_the_input_of_an_export_may_have_another_size(tiny_run: Path, tmp_path: Path) -> None:
    source = saved_model_export.find_run_checkpoint(tiny_run)
    with pytest.raises(UserError, match="SIZE=100"):
        saved_model_export.export_run(source, tmp_path / "exported", 100)
    model = saved_model_export.export_run(source, tmp_path / "exported", 192)
    assert (model.width, model.height) == (192, 192)
    config = pipeline_config.read_config(model.folder / "pipeline.config")
    assert saved_model_export.input_size(config) == (192, 192)


def test_best_is_taken_where_there_is_one(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    tiny_model.write_run(run)
    state = 'model_checkpoint_path: "ckpt-1"\n'
    for folder in (run, run / "best"):
        folder.mkdir(exist_ok=True)
        (folder / "checkpoint").write_text(state)
        for file in tiny_run.glob("ckpt-1.*"):
            (folder / file.name).symlink_to(file)
    assert saved_model_export.find_run_checkpoint(run, "best").checkpoint == run / "best" / "ckpt-1"
    assert saved_model_export.find_run_checkpoint(run, "latest").checkpoint == run / "ckpt-1"
    (run / "best" / "checkpoint").unlink()
    assert saved_model_export.find_run_checkpoint(run, "best").checkpoint == run / "ckpt-1"


def test_bad_runs_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing: no such run. `make train RUN=nothing`"):
        saved_model_export.find_run_checkpoint(tmp_path / "nothing")
    run = tmp_path / "run"
    tiny_model.write_run(run)
    with pytest.raises(UserError, match="run: no checkpoint in it yet"):
        saved_model_export.find_run_checkpoint(run)
    with pytest.raises(UserError, match="CKPT=newest"):
        saved_model_export.find_run_checkpoint(run, "newest")
    (run / "run.json").write_text("[]")
    with pytest.raises(UserError, match=r"run.json: not what `make train` writes"):
        saved_model_export.find_run_checkpoint(run)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("{}", "not what `make export` writes"),
        ('{"format": 2}', "format 2, this version reads 1"),
    ],
)
def test_model_json_that_is_not_ours(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(UserError, match=message):
        exported_model.read_exported_model(tmp_path)


def test_no_exported_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mine: no exported model. `make export RUN=mine`"):
        exported_model.read_exported_model(tmp_path / "mine")
