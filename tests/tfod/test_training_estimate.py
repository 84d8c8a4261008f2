import os
import shutil
from pathlib import Path

import pytest

from facemask.core.errors import UserError
from facemask.tfod import training_estimate


def test_a_checkpoint_takes_what_the_models_variables_take(tiny_run: Path) -> None:
    import tiny_model

    model = tiny_model.build()
    momentum = training_estimate.bytes_of_variables(model.trainable_variables)
    expected = training_estimate.bytes_of_variables(model.variables) + momentum
    written = next(tiny_run.glob("ckpt-1.data-*")).stat().st_size
    assert expected <= written < expected + 100_000, "beside the variables there is a description of the objects"


def test_a_file_with_two_names_counts_once(tmp_path: Path) -> None:
    (tmp_path / "ckpt-1.data").write_bytes(b"x" * 1000)
    (tmp_path / "best").mkdir()
    os.link(tmp_path / "ckpt-1.data", tmp_path / "best" / "ckpt-1.data")
    assert training_estimate.bytes_of_files(tmp_path.rglob("ckpt-*.*")) == 1000


def test_a_disk_that_is_too_small_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ckpt-1.data").write_bytes(b"x" * 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9000, 7000, 2000))
    training_estimate.refuse_too_little_disk(1000, 3, tmp_path)
    with pytest.raises(UserError, match=str(tmp_path)):
        training_estimate.refuse_too_little_disk(1001, 3, tmp_path)
