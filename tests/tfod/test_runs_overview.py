import json
import os
import re
from pathlib import Path

from facemask.cli import runs_command
from facemask.tfod import runs_overview


def made_run(folder, steps=(100, 250)):
    folder.mkdir(parents=True)
    about = {"format": 1, "model": "ssd", "classes": ["a", "b"], "records_digest": "0"}
    (folder / "run.json").write_text(json.dumps(about))
    resizer = "image_resizer { fixed_shape_resizer { height: 320 width: 320 } }"
    (folder / "pipeline.config").write_text(f"model {{ ssd {{ {resizer} }} }} train_config {{ num_steps: 900 }}")
    for step in steps:
        (folder / f"ckpt-{step}.index").write_bytes(b"")
        (folder / f"ckpt-{step}.data-00000-of-00001").write_bytes(b"0" * 1000)
    return folder


def test_a_run_says_how_far_and_how_good_it_is(tmp_path):
    folder = made_run(tmp_path / "one")
    (folder / "best").mkdir()
    (folder / "best" / "best.json").write_text(json.dumps({"map": 0.625, "step": 100}))
    os.link(folder / "ckpt-100.data-00000-of-00001", folder / "best" / "ckpt-100.data-00000-of-00001")
    [found] = runs_overview.list_runs(tmp_path)
    assert (found.name, found.model, found.size, found.step, found.steps) == ("one", "ssd", 320, 250, 900)
    assert (found.best_map, found.best_step) == (0.625, 100)
    assert 2000 < found.bytes < 3000, "a file with two names counts once"
    assert found.row()[:3] == ("one\nssd, 320 px", "250 of 900", "0.625 at 100")


def test_what_cannot_be_read_is_said_and_hides_no_other_run(tmp_path):
    made_run(tmp_path / "one")
    broken = made_run(tmp_path / "two", steps=())
    (broken / "run.json").write_text("{")
    (broken / "pipeline.config").unlink()
    (tmp_path / "notes").mkdir()
    one, two = runs_overview.list_runs(tmp_path)
    assert one.model == "ssd"
    assert "cannot be read" in two.model
    assert (two.size, two.step, two.steps, two.saved) == (None, 0, None, None)
    assert two.row()[1] == "0"


def test_a_copy_of_a_checkpoint_is_no_step_and_hides_no_run(tmp_path):
    folder = made_run(tmp_path / "one")
    for suffix in ("index", "data-00000-of-00001"):
        (folder / f"ckpt-500-copy.{suffix}").write_bytes((folder / f"ckpt-250.{suffix}").read_bytes())
    [found] = runs_overview.list_runs(tmp_path)
    assert found.step == 250
    assert 3000 < found.bytes < 4000


def test_a_checkpoint_that_a_training_removes_meanwhile_counts_nothing(tmp_path, monkeypatch):
    folder, stat = made_run(tmp_path / "one"), Path.stat

    def removed_meanwhile(path, **options):
        if path.name.startswith("ckpt-250."):
            path.unlink(missing_ok=True)
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", removed_meanwhile)
    [found] = runs_overview.list_runs(tmp_path)
    assert not list(folder.glob("ckpt-250.*"))
    assert (found.step, found.saved) == (250, None)
    assert 1000 < found.bytes < 2000


def test_a_narrow_terminal_cuts_no_name(tmp_path, monkeypatch, capsys):
    name = "mobilenet-at-320-pixels-with-[strong]-augmentation"
    made_run(tmp_path / name)
    monkeypatch.setenv("COLUMNS", "60")
    runs_command.main(models=tmp_path)
    assert name in "".join(re.findall(r"^│ (\S*)", capsys.readouterr().out, re.MULTILINE))
