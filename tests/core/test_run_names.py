import re
from pathlib import Path

import pytest

from facemask.classifier import classifier_training, exported_classifier
from facemask.cli import compare_command, crossval_command, eval_command, report_command, small_command
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


def test_a_name_that_leads_out_of_the_folder_is_refused_by_its_variable(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^REPORT=\.\./x: "):
        eval_command.main(run="ready-ssd", report="../x", reports=tmp_path, images=tmp_path, exported=tmp_path)
    with pytest.raises(UserError, match=r"^OUT=default/report: "):
        compare_command.main(runs="a,b", out="default/report", reports=tmp_path)
    with pytest.raises(UserError, match=r"^RUNS=\.\./b: "):
        compare_command.main(runs="a,../b", reports=tmp_path)
    with pytest.raises(UserError, match=r"^NAME=\.\./x: "):
        small_command.main(name="../x", exported=tmp_path)
    with pytest.raises(UserError, match=r"^NAME=\.\./x: "):
        crossval_command.main(name="../x", reports=tmp_path)
    with pytest.raises(UserError, match=r"^CLASSIFIER=a/b: "):
        eval_command.main(detector="two_stage", classifier="a/b", reports=tmp_path, exported=tmp_path)
    assert not list(tmp_path.iterdir())


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
