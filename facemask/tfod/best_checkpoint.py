"""Keep the best checkpoint of a run by validation mAP in `<run>/best/`, and choose the checkpoint to export.

best/ckpt-N.*     the checkpoint of step N
best/checkpoint   TensorFlow's state file
best/best.json    the results of the run's validations (`BestCheckpoint`)
"""

import dataclasses
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from facemask.core.errors import UserError
from facemask.core.files import link_or_copy, recover_folder, replacing_folder, write_json

BEST = "best"
LATEST = "latest"
_RECORD = "best.json"


@dataclass(frozen=True)
class BestCheckpoint:
    """The best and the last validation of a run.

    Attributes:
        step: Step of the best validation; None before the first.
        map: Its mAP@0.5, 0..1.
        latest: mAP@0.5 of the last validation, 0..1.
        latest_step: Its step.
        waited: Validations since the best one.
        records_digest: Digest of the records whose val split was used.
        every: Steps between two validations.
        ended_early_of: The value of STEPS when PATIENCE ended training; None if it did not.
    """

    step: int | None = None
    map: float | None = None
    latest: float | None = None
    latest_step: int | None = None
    waited: int = 0
    records_digest: str | None = None
    every: int | None = None
    ended_early_of: int | None = None

    def after_validation(self, step: int, score: float, prefix: Path, *, every: int) -> "BestCheckpoint":
        """Record a validation, and copy its checkpoint to `best/` if it is the best one so far.

        Args:
            step: The step that was validated.
            score: Its mAP@0.5.
            prefix: Its checkpoint in the run's folder, `<run>/ckpt-<step>`.
            every: Steps between two validations.

        Returns:
            The state with this validation.
        """
        now = dataclasses.replace(self, latest=score, latest_step=step, every=every, ended_early_of=None)
        if self.map is not None and score <= self.map:
            now = dataclasses.replace(now, waited=self.waited + 1)
            now.write(prefix.parent)
            return now
        now = dataclasses.replace(now, step=step, map=score, waited=0)
        with replacing_folder(prefix.parent / BEST) as beside:
            for file in prefix.parent.glob(f"{prefix.name}.*"):
                link_or_copy(file, beside / file.name)
            (beside / "checkpoint").write_text(f'model_checkpoint_path: "{prefix.name}"\n')
            write_json(beside / _RECORD, dataclasses.asdict(now))
        return now

    def write(self, folder: Path) -> None:
        """Write `best.json` of the run in `folder`."""
        write_json(folder / BEST / _RECORD, dataclasses.asdict(self))


def read_best(folder: Path, records_digest: str | None = None) -> BestCheckpoint:
    """Read a run's `best.json`. If the run was not validated on these records, the result has no best step.

    Args:
        folder: The run's folder.
        records_digest: Digest of the records that the run trains on now; None accepts any.
    """
    try:
        best = BestCheckpoint(**json.loads((folder / BEST / _RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return BestCheckpoint(records_digest=records_digest)
    if None not in (records_digest, best.records_digest) and best.records_digest != records_digest:
        return BestCheckpoint(records_digest=records_digest)
    return best


def find_checkpoint(
    folder: Path, which: str, records_digest: str, report: Callable[[str], None] = print
) -> Path | None:
    """Find the checkpoint of a run that CKPT= selects.

    Args:
        folder: The run's folder.
        which: "best" by validation mAP, or the latest if the run was never validated; "latest"; or the name of a
            checkpoint in the folder, such as "ckpt-500" or "best/ckpt-500".
        records_digest: Digest of the records that the run was last trained on.
        report: Called with a line for the user if the latest checkpoint was not validated.

    Returns:
        The checkpoint's prefix, `<run>/ckpt-<step>`; None if the run has no checkpoint.

    Raises:
        UserError: There is no such checkpoint, or the best one is out of date: afterwards the run was trained on other
            records, or past the next validation without one.
    """
    recover_folder(folder / BEST)
    latest = _prefix_in(folder)
    if re.fullmatch(rf"(?:{BEST}/)?ckpt-\d+", which):
        if not (folder / f"{which}.index").is_file():
            raise UserError(f"CKPT={which}: no such checkpoint in {folder}.")
        return folder / which
    if which not in (BEST, LATEST):
        raise UserError(f"CKPT={which}: must be {BEST}, {LATEST} or the name of a checkpoint in {folder}.")
    best = _prefix_in(folder / BEST)
    if which == LATEST or best is None or latest is None:
        return latest if which == LATEST else best or latest
    known = read_best(folder)
    validated = known.latest_step or _step_of(best)
    unvalidated = _step_of(latest) - validated
    ways = f"CKPT={LATEST} takes {latest.name}; CKPT={BEST}/{best.name} takes the best that was validated"
    if known.records_digest is not None and known.records_digest != records_digest:
        raise UserError(f"{best}: was the best on other records than those that the run was then trained on. {ways}.")
    if known.every and unvalidated >= known.every:
        raise UserError(f"{best}: the run was trained for {unvalidated} more steps without validation. {ways}.")
    if unvalidated > 0:
        report(f"{best.name} is the best up to step {validated}; {latest.name} was not validated ({ways})")
    return best


def _prefix_in(folder: Path) -> Path | None:
    import tensorflow as tf

    prefix = tf.train.latest_checkpoint(str(folder))
    return None if prefix is None else Path(prefix)


def _step_of(prefix: Path) -> int:
    return int(prefix.name.rpartition("-")[2])
