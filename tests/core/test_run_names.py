from pathlib import Path

import pytest

from facemask.cli import report_command
from facemask.core.errors import UserError
from facemask.core.run_names import run_folder
from facemask.detect import detector_choice


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


@pytest.mark.parametrize("name", ["default", "masks-2", "größe 2", "..."])
def test_other_names_are_folders(tmp_path: Path, name: str) -> None:
    assert run_folder(tmp_path, name) == tmp_path / name
