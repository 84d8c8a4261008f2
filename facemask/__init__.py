"""Find faces in pictures and tell whether each wears a mask.

Example:
    >>> import facemask
    >>> detector = facemask.load()  # the detector that comes with facemask, or your own in workspace/exported/default
    >>> [detections] = detector.detect(["street.jpg"])  # or [image], a uint8 RGB array of shape (height, width, 3)
    >>> detections = detector.above_thresholds(detections)
    >>> for xyxy, score, name in zip(detections.xyxy, detections.confidence, detections["class_name"]):
    ...     print(name, round(float(score), 2), xyxy)  # xmin, ymin, xmax, ymax in pixels
    with_mask 0.97 [412.6  88.1 471.9 160.3]
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facemask.detect.opened_detector import OpenedDetector

__all__ = ["load"]
__version__ = "0.2.0"


def load(model: str | Path | None = None, runtime: str = "auto", precision: str = "auto") -> "OpenedDetector":
    """Load a detector.

    Args:
        model: The folder of an exported model, of `make small` or of a classifier, `workspace/exported/<RUN>`; or
            "ready", "ready-fast" or "ready-ssd", which come with facemask. A classifier gets the faces that the
            published YuNet finds. None: your own in `workspace/exported/default`, or "ready" where there is none.
        runtime: See `facemask.detect.opened_detector.open_detector`.
        precision: See `facemask.detect.opened_detector.open_detector`.

    Returns:
        A detector; `detect(images)` gives a `supervision.Detections` for each picture.

    Raises:
        facemask.core.errors.UserError: There is no such model, or it cannot be loaded.
    """
    from facemask.classifier import exported_classifier
    from facemask.detect import detector_choice, opened_detector, small_folder
    from facemask.ready import shipped_detector

    folder = Path(model or "").absolute()
    choice = detector_choice.DetectorChoice(
        Path("workspace/exported"), runtime=runtime, precision=precision, run_was_named=False
    )
    if model is not None and small_folder.is_small(folder):
        choice = replace(choice, exported=folder.parent, run=folder.name, run_was_named=True)
    elif model is not None and (folder / exported_classifier.NAME).is_file():
        # The name of the run decides nothing here, but it must not be that of a folder of `make small`.
        choice = replace(choice, exported=folder.parent, run=folder.name, detector="two_stage", classifier=folder.name)
    elif str(model) in shipped_detector.FORMS:
        choice = replace(choice, run=str(model), run_was_named=True)
    elif model is not None:
        return opened_detector.open_detector(model, runtime, precision)
    return detector_choice.choose_detector(choice, report=lambda line: print(line, file=sys.stderr)).open()
