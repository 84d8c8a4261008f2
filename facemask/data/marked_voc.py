"""Pascal VOC files that a step writes and may write again, unless a person has changed them.

Such a file has the mark of the step and a digest of its contents in <source><database>. While the digest matches,
nobody has changed the file. labelImg drops the mark when it saves, and any other change makes the digest wrong. The
file then belongs to a person and is never changed or removed.
"""

import glob
import hashlib
from dataclasses import replace
from pathlib import Path

from facemask.core.errors import UserError
from facemask.data import voc
from facemask.data.voc import Annotation

INFERRED = "infer"
"""The mark of `make infer`."""


def write_marked_voc(path: Path, annotation: Annotation, mark: str) -> None:
    """Write an annotation with the mark of a step, by which `is_untouched` knows it."""
    voc.write_voc(path, replace(annotation, source=f"{mark} {_digest(annotation)}"))


def is_untouched(annotation: Annotation, mark: str) -> bool:
    """Whether an annotation is unchanged since `write_marked_voc` wrote it with this mark."""
    return annotation.source == f"{mark} {_digest(annotation)}"


def belongs_to_a_person(path: Path, mark: str) -> bool:
    """Whether there is an XML of this name, with a suffix in whatever case, that is not untouched."""
    named = path.parent.glob(f"{glob.escape(path.stem)}.*")
    others = [file for file in named if file.stem == path.stem and file.suffix.lower() == ".xml"]
    if not others:
        return False
    if others != [path] or path.is_symlink():
        return True
    try:
        return not is_untouched(voc.read_voc(path), mark)
    except UserError:
        # An unreadable XML was not written here.
        return True


def _digest(annotation: Annotation) -> str:
    # `voc.read_voc` strips spaces.
    content = (annotation.filename.strip(), annotation.width, annotation.height, annotation.boxes)
    return hashlib.sha256(repr(content).encode()).hexdigest()
