import errno
import json
import re
from pathlib import Path

import pytest

from facemask.tfod import checkpoint_saving


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_only_what_a_killed_save_wrote_is_removed(tmp_path: Path) -> None:
    """Killed while ckpt-9 was being written and ckpt-2 removed; a user has put copies beside."""
    users = [f"ckpt-{name}.{kind}" for name in ("5", "4-mine") for kind in ("index", "data-00000-of-00001")]
    whole = ["ckpt-8.index", "ckpt-8.data-00000-of-00001", "checkpoint", *users]
    write(tmp_path, *whole)
    state = (
        'model_checkpoint_path: "ckpt-8"\nall_model_checkpoint_paths: "ckpt-2"\nall_model_checkpoint_paths: "ckpt-8"\n'
    )
    (tmp_path / "checkpoint").write_text(state)
    write(tmp_path, "ckpt-9.data-00000-of-00001", "ckpt-9_temp/part-00000", "ckpt-2.data-00000-of-00001")
    (tmp_path / checkpoint_saving.SAVING).write_text(json.dumps(["ckpt-9", "ckpt-2", "ckpt-8"]))
    checkpoint_saving.remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(whole)
    write(tmp_path, "ckpt-9_temp/part-00000")
    checkpoint_saving.remove_unfinished(tmp_path)
    assert (tmp_path / "ckpt-9_temp").exists(), "no save of ours was under way"


def test_a_best_folder_that_was_being_replaced_comes_back(tmp_path: Path) -> None:
    write(tmp_path, ".best.old/best.json", ".best.0badcafe/ckpt-9.index", "temp_worker_001/ckpt-9.index")
    checkpoint_saving.remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    assert (tmp_path / "best" / "best.json").exists()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), r"the disk is full \(\d+ MB free\)"),
        (RuntimeError("ckpt-8_temp/part-0; No space left on device\nmore"), r"the disk is full \(\d+ MB free\)"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), r"the disk is full \(\d+ MB free\)"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (RuntimeError("{{function_node x}} a/ckpt-8; File too large [Op:SaveV2]"), "a/ckpt-8; File too large"),
    ],
)
def test_the_reason_why_a_checkpoint_cannot_be_written(tmp_path: Path, error: Exception, reason: str) -> None:
    assert re.search(f"^{reason}$|^.*] {reason}$", checkpoint_saving.why_not_written(error, tmp_path))
