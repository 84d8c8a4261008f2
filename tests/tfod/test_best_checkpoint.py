"""Which checkpoint is a run's best, and which one `CKPT=` takes; the checkpoints are files that nothing reads."""

import dataclasses
from pathlib import Path

import pytest

from facemask.core.errors import UserError
from facemask.tfod.best_checkpoint import BestCheckpoint, find_checkpoint, read_best


def save(run: Path, step: int) -> Path:
    """A checkpoint that holds its step; TensorFlow's state file names it as the latest."""
    run.mkdir(exist_ok=True)
    for kind in ("index", "data-00000-of-00001"):
        (run / f"ckpt-{step}.{kind}").write_text(str(step))
    (run / "checkpoint").write_text(f'model_checkpoint_path: "ckpt-{step}"\n')
    return run / f"ckpt-{step}"


def validated(run: Path, *scores: float, digest: str = "digest") -> BestCheckpoint:
    """A run that was validated every 10 steps."""
    best = BestCheckpoint(records_digest=digest)
    for number, score in enumerate(scores, start=1):
        best = best.after_validation(10 * number, score, save(run, 10 * number), every=10)
    return best


def find(run: Path, which: str = "best", digest: str = "digest") -> tuple[Path | None, list[str]]:
    told: list[str] = []
    return find_checkpoint(run, which, digest, told.append), told


@pytest.mark.parametrize(
    ("scores", "step", "waited"),
    [
        ((0.1, 0.3, 0.2), 20, 1),
        ((0.3, 0.2, 0.1), 10, 2),
        ((0.1, 0.2, 0.3), 30, 0),
        ((0.3, 0.3), 10, 1),
        ((0.0,), 10, 0),
    ],
)
def test_the_checkpoint_of_the_highest_score_is_kept(
    tmp_path: Path, scores: tuple[float, ...], step: int, waited: int
) -> None:
    run = tmp_path / "run"
    best = validated(run, *scores)
    assert (best.step, best.map, best.waited, best.latest) == (step, max(scores), waited, scores[-1])
    assert read_best(run, "digest") == best
    assert {path.name for path in (run / "best").iterdir()} == {
        "best.json", "checkpoint", f"ckpt-{step}.index", f"ckpt-{step}.data-00000-of-00001",
    }  # fmt: skip
    assert (run / "best" / f"ckpt-{step}.index").read_text() == str(step)
    assert find(run) == (run / "best" / f"ckpt-{step}", [])


def test_validations_on_other_records_do_not_compete(tmp_path: Path) -> None:
    run = tmp_path / "run"
    validated(run, 0.9, digest="other")
    best = read_best(run, "digest")
    assert (best.step, best.map) == (None, None)
    best = best.after_validation(20, 0.1, save(run, 20), every=10)
    assert (best.step, read_best(run, "digest")) == (20, best)


def test_without_validation_the_best_is_the_latest(tmp_path: Path) -> None:
    save(tmp_path, 7)
    assert find(tmp_path) == (tmp_path / "ckpt-7", [])
    assert find_checkpoint(tmp_path / "none", "best", "digest") is None


def test_a_run_that_was_stopped_between_validations_gives_its_best_and_says_so(tmp_path: Path) -> None:
    run = tmp_path / "run"
    validated(run, 0.3, 0.2)
    save(run, 29)
    prefix, told = find(run)
    assert prefix == run / "best" / "ckpt-10"
    assert len(told) == 1 and "ckpt-29" in told[0]


def test_a_best_checkpoint_without_the_validations_that_were_due_is_refused(tmp_path: Path) -> None:
    """As after EVAL_EVERY=0; both checkpoints can be named."""
    run = tmp_path / "run"
    validated(run, 0.3, 0.2)
    save(run, 30)
    with pytest.raises(UserError, match=r"CKPT=latest .*CKPT=best/ckpt-10"):
        find(run)
    assert find(run, "latest") == (run / "ckpt-30", [])
    assert find(run, "best/ckpt-10") == (run / "best" / "ckpt-10", [])


def test_a_best_checkpoint_of_other_records_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    validated(run, 0.3)
    with pytest.raises(UserError, match="records"):
        find(run, digest="other")


@pytest.mark.parametrize("which", ["newest", "ckpt-8", "../run/ckpt-7", ""])
def test_a_checkpoint_that_is_none_is_refused(tmp_path: Path, which: str) -> None:
    save(tmp_path, 7)
    with pytest.raises(UserError, match="CKPT="):
        find(tmp_path, which)


def test_a_damaged_record_counts_as_none(tmp_path: Path) -> None:
    run = tmp_path / "run"
    validated(run, 0.3)
    for text in ("{", "[]", '{"step": 1, "other": 2}'):
        (run / "best" / "best.json").write_text(text)
        assert dataclasses.replace(read_best(run), records_digest=None) == BestCheckpoint()
