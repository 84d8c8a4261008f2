import re
from pathlib import Path

import pytest

from facemask.classifier import classifier_training, exported_classifier
from facemask.cli import report_command
from facemask.core import exported_model
from facemask.core.errors import UserError
from facemask.core.run_names import run_folder
from facemask.detect import detector_choice
from facemask.tfod import training_runs


@pytest.mark.parametrize("name", ["", ".", "..", "../other", "/root", "a/b", "a\0b"])
def test_every_step_refuses_a_run_name_that_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="RUN="):
        run_folder(tmp_path, name)
    with pytest.raises(UserError, match="RUN="):
        detector_choice.choose_detector(
            detector_choice.DetectorChoice(exported=tmp_path, run=name)
        )  # infer, eval, prelabel, serve
    with pytest.raises(UserError, match="RUN="):
        report_command.main(run=name, reports=tmp_path)


@pytest.mark.parametrize(
    ("file", "use"),
    [
        (exported_classifier.NAME, "CLASSIFIER=mine"),
        (classifier_training.NAME, "`make classifier`"),
        ("faces.json", "`make faces`.*FACES_MODEL="),
    ],
)
def test_a_folder_of_another_kind_gets_advice_for_its_kind(tmp_path: Path, file: str, use: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / file).write_text("{}")
    for read in (exported_model.read_exported_model, training_runs.read_run):
        with pytest.raises(UserError, match=f"{re.escape(str(folder))}: is a .*{use}"):
            read(folder)


@pytest.mark.parametrize("name", ["default", "masks-2", "größe 2", "..."])
def test_other_names_are_folders(tmp_path: Path, name: str) -> None:
    assert run_folder(tmp_path, name) == tmp_path / name
