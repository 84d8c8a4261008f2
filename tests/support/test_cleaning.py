from pathlib import Path

import pytest

from scripts.support import cleaning

GOES = [
    "annotations/label_map.pbtxt",
    "annotations/records.json",
    "annotations/train.record",
    "annotations/val.record-00000-of-00002",
    "workspace/demo/pictures/1.png",
    "workspace/reports/default/metrics.json",
    "workspace/predictions/default/1.png",
    "workspace/exported/default/saved_model/saved_model.pb",
    ".ruff_cache/x",
    "scripts/tfod/__pycache__/zoo.pyc",
]
STAYS = [
    ".venv/lib/__pycache__/x.pyc",
    "annotations/.gitignore",
    "annotations/boxes.csv",
    "scripts/clean.py",
    "workspace/.gitignore",
    "workspace/images/1.png",
    "workspace/images/1.xml",
    "workspace/sample/1.png",
    "workspace/pretrained/zoo.tar.gz",
    "workspace/models/default/ckpt-1.index",
    "workspace/models/gone/pipeline.config",
    "workspace/exported/gone/saved_model/saved_model.pb",
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in GOES + STAYS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")
    return tmp_path


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_what_can_be_made_again_goes_and_the_rest_stays(project: Path) -> None:
    freed = cleaning.remove(cleaning.find(project))
    assert files(project) == set(STAYS)
    assert freed == 5 * len(GOES)
    assert cleaning.remove(cleaning.find(project)) == 0


def test_finding_removes_nothing(project: Path) -> None:
    before = files(project)
    found = cleaning.find(project)
    assert files(project) == before
    kept = {str(item.path.relative_to(project)): item.kept for item in found if item.kept}
    assert list(kept) == ["workspace/exported/gone"]
    assert "workspace/models/gone" in kept["workspace/exported/gone"]


def test_nothing_behind_a_symbolic_link_is_touched(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "precious").write_text("x")
    (project / "workspace" / "predictions" / "link").symlink_to(elsewhere)
    (project / "workspace" / "reports" / "default" / "link").symlink_to(elsewhere)
    (project / "workspace" / "demo" / "pictures" / "link").symlink_to(elsewhere / "precious")
    cleaning.remove(cleaning.find(project))
    assert (elsewhere / "precious").read_text() == "x"
    assert (project / "workspace" / "predictions" / "link").is_symlink()
    assert not (project / "workspace" / "demo").exists()


def test_a_whole_folder_that_is_a_link_is_left_alone(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("disk")
    (elsewhere / "default").mkdir()
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "exported").symlink_to(elsewhere)
    cleaning.remove(cleaning.find(tmp_path))
    assert (tmp_path / "workspace" / "exported" / "default").is_dir()
