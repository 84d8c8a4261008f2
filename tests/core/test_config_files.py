from pathlib import Path

import pytest

from facemask.core.config_files import find_config, search_path
from facemask.core.errors import UserError
from facemask.core.label_map import read_classes
from facemask.tfod import model_zoo

ROOT = Path(__file__).resolve().parents[2]


def test_the_users_config_wins_over_the_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config("classes.txt") == ROOT / "configs" / "classes.txt"
    assert "with_mask" in read_classes().names

    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "classes.txt").write_text("cat\n")
    assert find_config("classes.txt") == Path("configs/classes.txt")
    assert read_classes().names == ("cat",)
    assert find_config("models.yaml") == ROOT / "configs" / "models.yaml"


def test_a_users_template_replaces_the_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = Path("configs/ssd_resnet50_v1_fpn_640x640.config.j2")
    assert model_zoo.find_model("ssd_resnet50_v1_fpn_640x640").template == ROOT / own
    own.parent.mkdir()
    own.write_text("")
    assert model_zoo.find_model("ssd_resnet50_v1_fpn_640x640").template == own


def test_a_file_elsewhere_finds_its_neighbours_first(tmp_path: Path) -> None:
    assert search_path(tmp_path)[0] == tmp_path
    assert search_path(Path("configs"))[0] == Path("configs")


def test_a_config_that_nobody_has_is_an_error() -> None:
    with pytest.raises(UserError, match=r"none\.txt"):
        find_config("none.txt")


def test_a_byte_order_mark_is_no_part_of_the_first_class(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("with_mask\nwithout_mask\n", encoding="utf-8-sig")
    assert read_classes(tmp_path / "classes.txt").names == ("with_mask", "without_mask")
