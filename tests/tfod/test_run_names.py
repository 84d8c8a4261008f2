from pathlib import Path

import pytest

from scripts import report
from scripts.detect import choosing
from scripts.support.errors import UserError
from scripts.tfod import runs


@pytest.mark.parametrize("name", ["", ".", "..", "../other", "/root", "a/b", "a\0b"])
def test_a_runs_name_that_leads_elsewhere_is_refused_by_all_that_take_one(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="a run's name is the name of one folder"):
        runs.folder_of(tmp_path, name)
    with pytest.raises(UserError, match="a run's name is the name of one folder"):
        choosing.choose(choosing.Choice(exported=tmp_path, run=name))  # infer, eval, prelabel, serve
    with pytest.raises(UserError, match="a run's name is the name of one folder"):
        report.main(run=name, reports=tmp_path)


@pytest.mark.parametrize("name", ["default", "masks-2", "größe 2", "..."])
def test_other_names_are_folders(tmp_path: Path, name: str) -> None:
    assert runs.folder_of(tmp_path, name) == tmp_path / name
