import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_trainings import latest, train_here

from facemask.core.errors import UserError
from facemask.data import manifest
from facemask.tfod import detector_training
from facemask.tfod.averaged_weights import AveragedWeights


@pytest.fixture
def model():
    import tensorflow as tf

    module = tf.Module()
    module.weight = tf.Variable([1.0, 2.0])
    module.statistic = tf.Variable([0.5], trainable=False)
    module.counter = tf.Variable(7, trainable=False)
    return module


def test_averages_are_the_exponential_ones_of_every_number(model):
    averages = AveragedWeights(model.variables, 0.5)
    expected = model.weight.numpy(), model.statistic.numpy()
    for step in range(1, 30):
        model.weight.assign_add([1.0, -step])
        model.statistic.assign([step])
        decay = min(0.5, (1 + step) / (10 + step))
        expected = tuple(
            decay * old + (1 - decay) * new.numpy()
            for old, new in zip(expected, (model.weight, model.statistic), strict=True)
        )
        averages.update(step)
    raw = model.weight.numpy(), model.statistic.numpy()
    with averages.as_model():
        np.testing.assert_allclose(model.weight, expected[0], rtol=1e-5)
        np.testing.assert_allclose(model.statistic, expected[1], rtol=1e-5)
        assert int(model.counter) == 7
    np.testing.assert_array_equal(model.weight, raw[0])
    np.testing.assert_array_equal(model.statistic, raw[1])


def saved(model, averages, path: Path) -> str:
    import tensorflow as tf

    with averages.as_model():
        return tf.train.Checkpoint(model=model, **averages.parts()).save(str(path / "ckpt"))


def restored(model, decay, prefix):
    import tensorflow as tf

    averages = AveragedWeights(model.variables, decay)
    averages.restore(tf.train.Checkpoint(model=model, **averages.parts()), prefix)
    return averages


def another(model):
    import copy

    new = copy.deepcopy(model)
    for variable in new.variables:
        variable.assign(variable * 0)
    return new


def test_a_checkpoint_holds_the_averages_as_the_model_and_goes_on_from_the_raw_weights(model, tmp_path):
    import tensorflow as tf

    averages = AveragedWeights(model.variables, 0.9)
    model.weight.assign([5.0, 6.0])
    averages.update(1000)
    prefix = saved(model, averages, tmp_path)
    np.testing.assert_allclose(tf.train.load_variable(prefix, "model/weight/.ATTRIBUTES/VARIABLE_VALUE"), [1.4, 2.4])

    new = another(model)
    again = restored(new, 0.9, prefix)
    np.testing.assert_array_equal(new.weight, [5.0, 6.0])
    with again.as_model():
        np.testing.assert_allclose(new.weight, [1.4, 2.4])


def test_a_run_without_averages_starts_them_at_its_weights(model, tmp_path):
    model.weight.assign([5.0, 6.0])
    prefix = saved(model, AveragedWeights(model.variables, 0.0), tmp_path)
    new = another(model)
    averages = restored(new, 0.9, prefix)
    np.testing.assert_array_equal(new.weight, [5.0, 6.0])
    with averages.as_model():
        np.testing.assert_array_equal(new.weight, [5.0, 6.0])


def test_a_run_with_averages_does_not_go_on_without_them(model, tmp_path):
    prefix = saved(model, AveragedWeights(model.variables, 0.9), tmp_path)
    with pytest.raises(UserError, match="AVERAGE="):
        restored(another(model), 0.0, prefix)


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_that_cannot_be_is_refused(decay):
    with pytest.raises(UserError, match=f"AVERAGE={decay}"):
        detector_training.Options(average=decay)


def test_a_training_saves_averages_and_a_resumed_one_ends_as_one_that_ran_through(small_model, tmp_path, tiny_records):
    import tensorflow as tf

    through, stopped = tmp_path / "through", tmp_path / "stopped"
    # Each step takes all images, so that it does not matter for the resumed run which it begins with.
    batch = manifest.read_manifest(tiny_records).splits["train"].images
    options = {"average": 0.9, "save_every": 1, "batch": batch}
    train_here(through, tiny_records, 4, rate=0.5, **options)

    def read(folder, step):
        reader = tf.train.load_checkpoint(str(folder / f"ckpt-{step}"))
        return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map() if "OPTIMIZER" not in name}

    model = {step: read(through, step) for step in (3, 4)}
    raw = {value.shape: value for name, value in model[4].items() if name.startswith("raw/")}
    kernels = [name for name in model[4] if name.startswith("model/") and "/kernel/" in name]
    assert len(kernels) == 3
    decay = (1 + 4) / (10 + 4)
    for name in kernels:
        # Each kernel has a shape of its own.
        wanted, value = model[4][name], raw[model[4][name].shape]
        np.testing.assert_allclose(wanted, decay * model[3][name] + (1 - decay) * value, rtol=1e-4, atol=1e-7)
        assert np.abs(wanted - value).max() > 1e-3, name

    # The same schedule of the learning rate, and a stop after two of its steps.
    shutil.copytree(through, stopped)
    for file in stopped.glob("ckpt-[34].*"):
        file.unlink()
    (stopped / "checkpoint").write_text('model_checkpoint_path: "ckpt-2"\nall_model_checkpoint_paths: "ckpt-2"\n')
    train_here(stopped, tiny_records, 4, rate=0.5, **options)
    assert latest(stopped) == 4
    resumed = read(stopped, 4)
    assert set(resumed) == set(model[4])
    for name, value in model[4].items():
        if not name.startswith(("_CHECKPOINTABLE", "save_counter")):
            np.testing.assert_allclose(resumed[name], value, rtol=1e-3, atol=1e-6, err_msg=name)
